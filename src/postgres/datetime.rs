//! Dates and timestamps in the forms of `builder.wit`: from PostgreSQL's numbers (reads), from its text (the stream).
//!
//! Both ways lead to the same text: `2026-02-01`, `2026-02-01T09:30:00.250000`, the same with `Z` for timestamptz,
//! `infinity`, `-infinity`. Years follow ISO 8601: 1 BC is `0000`, 44 BC is `-0043`, and past 9999 a plus goes before.

use std::io::Write;

/// Days from 1970-01-01 to 2000-01-01.
const EPOCH_DAYS: i64 = 10_957;
const DAY_MICROS: i64 = 86_400_000_000;

/// A `date` as sent in binary: days since 2000-01-01.
pub(super) fn date(days: i32, text: &mut Vec<u8>) {
    match days {
        i32::MAX => text.extend_from_slice(b"infinity"),
        i32::MIN => text.extend_from_slice(b"-infinity"),
        days => push_date(i64::from(days), text),
    }
}

/// A `timestamp`, or with `zone` a `timestamptz`, as sent in binary: microseconds since 2000-01-01.
pub(super) fn timestamp(micros: i64, zone: bool, text: &mut Vec<u8>) {
    match micros {
        i64::MAX => return text.extend_from_slice(b"infinity"),
        i64::MIN => return text.extend_from_slice(b"-infinity"),
        _ => push_date(micros.div_euclid(DAY_MICROS), text),
    }
    let micros = micros.rem_euclid(DAY_MICROS);
    let seconds = micros / 1_000_000;
    for (mark, number) in [(b'T', seconds / 3_600), (b':', seconds / 60 % 60), (b':', seconds % 60)] {
        text.push(mark);
        push_digits::<2>(number, text);
    }
    text.push(b'.');
    push_digits::<6>(micros % 1_000_000, text);
    if zone {
        text.push(b'Z');
    }
}

/// The last `COUNT` digits of a number that is not negative: the general formatting stood out in a backfill's profile.
fn push_digits<const COUNT: usize>(mut number: i64, text: &mut Vec<u8>) {
    let mut digits = [b'0'; COUNT];
    for digit in digits.iter_mut().rev() {
        *digit += (number % 10) as u8;
        number /= 10;
    }
    text.extend_from_slice(&digits);
}

fn push_date(days_since_2000: i64, text: &mut Vec<u8>) {
    // Days to a date of the proleptic Gregorian calendar, counted in eras of 400 years that begin on 1 March.
    let days = days_since_2000 + EPOCH_DAYS + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    push_year(year, text);
    for number in [month, day] {
        text.push(b'-');
        push_digits::<2>(number, text);
    }
}

fn push_year(year: i64, text: &mut Vec<u8>) {
    // Writing to a Vec cannot fail.
    let _ = match year {
        0..=9_999 => return push_digits::<4>(year, text),
        ..0 => write!(text, "-{:04}", -year),
        _ => write!(text, "+{year}"),
    };
}

/// A `date`, `timestamp` or `timestamptz` as PostgreSQL prints it with `DateStyle=ISO` and `TimeZone=UTC`, in our form.
/// What does not look like one is `None`.
pub(super) fn from_text(printed: &str) -> Option<String> {
    if printed.ends_with("infinity") {
        return Some(printed.to_owned());
    }
    let (printed, before_christ) = match printed.strip_suffix(" BC") {
        Some(rest) => (rest, true),
        None => (printed, false),
    };
    let (date, time) = match printed.split_once(' ') {
        Some((date, time)) => (date, Some(time)),
        None => (printed, None),
    };
    let (year, month_and_day) = date.split_once('-')?;
    let year: i64 = year.parse().ok()?;
    let mut text = Vec::with_capacity(32);
    push_year(if before_christ { 1 - year } else { year }, &mut text);
    text.push(b'-');
    text.extend_from_slice(month_and_day.as_bytes());
    if let Some(time) = time {
        let (time, zone) = match time.strip_suffix("+00") {
            Some(time) => (time, "Z"),
            None if time.contains(['+', '-']) => return None,
            None => (time, ""),
        };
        let (seconds, fraction) = time.split_once('.').unwrap_or((time, ""));
        let _ = write!(text, "T{seconds}.{fraction:0<6}{zone}");
    }
    String::from_utf8(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(micros: i64) -> String {
        let mut text = Vec::new();
        timestamp(micros, true, &mut text);
        String::from_utf8(text).expect("ASCII")
    }

    #[test]
    fn timestamps_are_iso_8601_with_six_digits() {
        assert_eq!(printed(0), "2000-01-01T00:00:00.000000Z");
        assert_eq!(printed(823_253_400_250_000), "2026-02-01T09:30:00.250000Z");
        assert_eq!(printed(-1), "1999-12-31T23:59:59.999999Z");
        assert_eq!(printed(i64::MAX), "infinity");
        assert_eq!(printed(i64::MIN), "-infinity");
    }

    #[test]
    fn years_beyond_four_digits_carry_their_sign() {
        let mut text = Vec::new();
        date(-730_119, &mut text);
        assert_eq!(text, b"0001-01-01");
        text.clear();
        date(-730_120, &mut text);
        assert_eq!(text, b"0000-12-31");
        text.clear();
        date(2_921_940, &mut text);
        assert_eq!(text, b"+10000-01-01");
    }

    #[test]
    fn leap_days_are_days() {
        for (days, expected) in [
            (59, "2000-02-29"),
            (60, "2000-03-01"),
            (1_520, "2004-02-29"),
            (36_583, "2100-02-28"),
            (36_584, "2100-03-01"),
        ] {
            let mut text = Vec::new();
            date(days, &mut text);
            assert_eq!(String::from_utf8(text).expect("ASCII"), expected);
        }
    }

    #[test]
    fn text_leads_to_the_same_forms() {
        for (printed, expected) in [
            ("2026-02-01 09:30:00.25+00", "2026-02-01T09:30:00.250000Z"),
            ("2026-02-01 09:30:00", "2026-02-01T09:30:00.000000"),
            ("2026-02-01", "2026-02-01"),
            ("infinity", "infinity"),
            ("-infinity", "-infinity"),
            ("0044-03-15 BC", "-0043-03-15"),
            ("0001-12-31 10:00:00+00 BC", "0000-12-31T10:00:00.000000Z"),
            ("10000-01-01", "+10000-01-01"),
        ] {
            assert_eq!(from_text(printed).as_deref(), Some(expected), "{printed}");
        }
        assert_eq!(from_text("2026-02-01 09:30:00+02"), None);
        assert_eq!(from_text("yesterday"), None);
    }
}
