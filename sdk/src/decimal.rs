//! Exact decimal numbers: what PostgreSQL's numeric is added up with, without the dust of binary floats.

use serde::{Serialize, Serializer, ser};
use serde_json::value::RawValue;
use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Mul};
use std::str::FromStr;

/// Digits that fit an `i128` whatever they are.
const DIGITS_MAX: usize = 38;

/// Digits that fit a `u64` whatever they are. WebAssembly has no instructions for 128 bits, so that the ordinary number,
/// which is short, takes a way of its own.
const DIGITS_SHORT: usize = 19;

/// An exact decimal number of at most 38 digits.
///
/// In a document that derives `Serialize` it is a JSON number with all its digits. Arithmetic that leaves 38 digits
/// panics, so that the document is quarantined rather than wrong.
///
/// ```
/// # use docmill_builder::Decimal;
/// let price: Decimal = "19.90".parse()?;
/// assert_eq!((price * Decimal::from(3) + "0.30".parse()?).to_string(), "60.00");
/// # Ok::<(), docmill_builder::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Decimal {
    units: i128,
    /// How many of the digits of `units` stand behind the point.
    scale: u32,
}

impl Decimal {
    fn units_at(self, scale: u32) -> Option<i128> {
        if scale == self.scale {
            return Some(self.units);
        }
        self.units
            .checked_mul(10_i128.checked_pow(scale.checked_sub(self.scale)?)?)
    }
}

impl From<i64> for Decimal {
    fn from(value: i64) -> Self {
        Self {
            units: value.into(),
            scale: 0,
        }
    }
}

impl FromStr for Decimal {
    type Err = crate::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || crate::Error::new("not a decimal number of at most 38 digits");
        let unsigned = text.strip_prefix('-').unwrap_or(text).as_bytes();
        let (mut short, mut long) = (0_u64, 0_i128);
        let (mut digits, mut point) = (0, None);
        for byte in unsigned {
            match byte {
                b'0'..=b'9' if digits < DIGITS_SHORT => short = short * 10 + u64::from(byte - b'0'),
                b'0'..=b'9' if digits < DIGITS_MAX => {
                    if digits == DIGITS_SHORT {
                        long = short.into();
                    }
                    long = long * 10 + i128::from(byte - b'0');
                }
                b'.' if point.is_none() && digits > 0 => {
                    point = Some(digits);
                    continue;
                }
                _ => return Err(refused()),
            }
            digits += 1;
        }
        if digits == 0 {
            return Err(refused());
        }
        let units = if digits <= DIGITS_SHORT { short.into() } else { long };
        Ok(Self {
            units: if unsigned.len() < text.len() { -units } else { units },
            // At most 38.
            scale: point.map_or(0, |point| (digits - point) as u32),
        })
    }
}

impl Decimal {
    /// Its text, in one allocation: documents of money are mostly this.
    fn text(self) -> String {
        let mut text = Vec::with_capacity(TEXT_USUAL);
        let mut units = self.units.unsigned_abs();
        let scale = self.scale as usize;
        let mut digits = 0;
        while units > 0 || digits <= scale {
            let digit = match u64::try_from(units) {
                Ok(short) => {
                    units = (short / 10).into();
                    short % 10
                }
                Err(_) => {
                    let digit = units % 10;
                    units /= 10;
                    digit as u64
                }
            };
            if digits == scale && scale > 0 {
                text.push(b'.');
            }
            text.push(b'0' + digit as u8);
            digits += 1;
        }
        if self.units < 0 {
            text.push(b'-');
        }
        // The last digit was found first.
        text.reverse();
        String::from_utf8(text).expect("digits are text")
    }
}

/// Bytes of the text of an ordinary number.
const TEXT_USUAL: usize = 24;

impl fmt::Display for Decimal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text())
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(self.text())
            .map_err(ser::Error::custom)?
            .serialize(serializer)
    }
}

impl Add for Decimal {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let scale = self.scale.max(other.scale);
        let sum = || self.units_at(scale)?.checked_add(other.units_at(scale)?);
        Self {
            units: sum().expect("a sum of decimals fits 38 digits"),
            scale,
        }
    }
}

impl AddAssign for Decimal {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Mul for Decimal {
    type Output = Self;

    fn mul(self, other: Self) -> Self {
        // What fits here takes one instruction; 128 bits with a check for overflow take a function.
        let small = self.scale.max(other.scale) <= DIGITS_SHORT as u32;
        if let (true, Ok(one), Ok(two)) = (small, i32::try_from(self.units), i32::try_from(other.units)) {
            return Self {
                units: (i64::from(one) * i64::from(two)).into(),
                scale: self.scale + other.scale,
            };
        }
        let product = || {
            Some((
                self.units.checked_mul(other.units)?,
                self.scale.checked_add(other.scale)?,
            ))
        };
        let (units, scale) = product().expect("a product of decimals fits 38 digits");
        Self { units, scale }
    }
}

impl Sum for Decimal {
    fn sum<I: Iterator<Item = Self>>(numbers: I) -> Self {
        numbers.fold(Self::default(), Add::add)
    }
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        let scale = self.scale.max(other.scale);
        match (self.units_at(scale), other.units_at(scale)) {
            (Some(one), Some(two)) => one == two,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    #[test]
    fn prints_what_it_read() {
        for text in [
            "0",
            "0.00",
            "-0.05",
            "19.90",
            "-12345678901234567890.123",
            "0.000000000000000001",
        ] {
            assert_eq!(decimal(text).to_string(), text);
        }
    }

    #[test]
    fn adds_and_multiplies_exactly_across_scales() {
        assert_eq!((decimal("0.1") + decimal("0.2")).to_string(), "0.3");
        assert_eq!((decimal("1") + decimal("-0.001")).to_string(), "0.999");
        assert_eq!(
            (decimal("9999999999.99") * Decimal::from(2147)).to_string(),
            "21469999999978.53"
        );
        assert_eq!(
            [decimal("1.10"), decimal("2.2")].into_iter().sum::<Decimal>(),
            decimal("3.3")
        );
    }

    #[test]
    fn refuses_what_is_no_finite_decimal_of_38_digits() {
        let long = "1".repeat(39);
        for text in [
            "",
            "-",
            ".5",
            "NaN",
            "Infinity",
            "1e5",
            "1.2.3",
            "+1",
            " 1",
            long.as_str(),
        ] {
            assert!(text.parse::<Decimal>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn is_a_json_number_with_all_its_digits() {
        assert_eq!(serde_json::to_string(&[decimal("1.50")]).unwrap(), "[1.50]");
    }
}
