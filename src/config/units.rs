//! Sizes and durations with their units: `64MiB`, `200ms`.

use std::time::Duration;

const SIZES: [(&str, u64); 9] = [
    ("B", 1),
    ("kB", 1_000),
    ("KB", 1_000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

const DURATIONS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// What a size must look like, for messages.
pub const SIZE_FORM: &str = "a size such as \"64MiB\", \"4MB\" or 65536";
/// What a duration must look like, for messages.
pub const DURATION_FORM: &str = "a duration such as \"200ms\", \"2s\" or \"5m\"";

/// The bytes that a text such as `64MiB`, `1.5GB` or `65536` means.
pub fn size(text: &str) -> Option<u64> {
    let (number, unit) = split(text);
    match unit {
        "" => number.parse().ok(),
        unit => times(number, factor(&SIZES, unit)?),
    }
}

/// The duration that a text such as `200ms`, `1.5s` or `5m` means; its unit must be there.
pub fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text);
    times(number, factor(&DURATIONS, unit)?).map(Duration::from_millis)
}

fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text
        .find(|character: char| !character.is_ascii_digit() && character != '.' && character != '_')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim_start())
}

fn factor(units: &[(&str, u64)], unit: &str) -> Option<u64> {
    units.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor)
}

/// A whole or decimal number times a factor; nothing where the product is no whole number of the smallest unit or too large.
fn times(number: &str, factor: u64) -> Option<u64> {
    let number = number.replace('_', "");
    let Some((whole, part)) = number.split_once('.') else {
        return number.parse::<u64>().ok()?.checked_mul(factor);
    };
    if part.is_empty() || part.len() > 9 {
        return None;
    }
    let scale = 10u64.pow(part.len() as u32);
    let part = u128::from(part.parse::<u64>().ok()?) * u128::from(factor);
    if part % u128::from(scale) != 0 {
        return None;
    }
    let part = u64::try_from(part / u128::from(scale)).ok()?;
    whole.parse::<u64>().ok()?.checked_mul(factor)?.checked_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_their_units() {
        for (text, bytes) in
            [("65536", 65_536), ("64MiB", 64 << 20), ("4MB", 4_000_000), ("1.5 GiB", 3 << 29), ("0B", 0)]
        {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for text in ["", "MiB", "64mib", "-1", "1.2.3MB", "1e3", "0.3B", "18446744073709551615KiB", "4 M B"] {
            assert_eq!(size(text), None, "{text}");
        }
    }

    #[test]
    fn durations_have_their_units() {
        for (text, ms) in
            [("200ms", 200), ("2s", 2_000), ("1.5s", 1_500), ("5m", 300_000), ("1h", 3_600_000), ("7d", 604_800_000)]
        {
            assert_eq!(duration(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "5", "s", "5 minutes", "-1s", "0.0001s"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
