//! A position: a location in PostgreSQL's write-ahead log (an LSN).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A WAL location in bytes from the beginning of the log. It prints, parses and serializes as PostgreSQL writes it:
/// two hexadecimal numbers, `16/B374D848`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position(u64);

impl Position {
    /// Before everything.
    pub const ZERO: Position = Position(0);

    /// The position that many bytes into the log.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// Bytes from the beginning of the log.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The text was not of the form `16/B374D848`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a position such as 16/B374D848, found {found:?}")]
pub struct ParsePositionError {
    found: String,
}

impl FromStr for Position {
    type Err = ParsePositionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let part = |part: &str| match part.len() {
            1..=8 if part.bytes().all(|byte| byte.is_ascii_hexdigit()) => u64::from_str_radix(part, 16).ok(),
            _ => None,
        };
        text.split_once('/')
            .and_then(|(high, low)| Some(Self(part(high)? << 32 | part(low)?)))
            .ok_or_else(|| ParsePositionError { found: text.chars().take(40).collect() })
    }
}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::Position;

    #[test]
    fn a_position_reads_back_what_it_prints() {
        for bytes in [0, 1, u64::from(u32::MAX), 0x16_B374_D848, u64::MAX] {
            assert_eq!(Position::new(bytes).to_string().parse(), Ok(Position::new(bytes)));
        }
    }

    #[test]
    fn what_is_no_position_is_refused() {
        for text in ["", "/", "1", "1/", "/1", "1/2/3", "+1/2", "1/123456789", "g/0"] {
            assert!(text.parse::<Position>().is_err(), "{text}");
        }
    }
}
