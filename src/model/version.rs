//! The version of a write: the order in which writes of one document win, whatever the order in which they arrive.
//!
//! ```text
//! version = history << 55 | read position            63 bits, as a search engine's external version must be
//! ```

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Position;

/// Which line of the source's past positions belong to. It goes up when positions may start over (another cluster,
/// another timeline, a restored backup), so that everything written before loses against everything written after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct History(u8);

impl History {
    /// The first history of a generation.
    pub const FIRST: History = History(0);

    /// The next one, or `None` after the last (255): then only a new generation helps.
    pub fn next(self) -> Option<History> {
        self.0.checked_add(1).map(History)
    }

    /// Its number.
    pub fn number(self) -> u8 {
        self.0
    }
}

/// The version of one write. Of all writes of one document the one with the highest version stays.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(u64);

impl Version {
    const POSITION_BITS: u32 = 55;
    const POSITION_MAX: u64 = (1 << Self::POSITION_BITS) - 1;

    /// The version of a document read when everything at or before `read_position` was visible.
    ///
    /// A position past 2^55 bytes (32 PiB of WAL) is cut to the last one that fits; no cluster has come near it.
    pub fn new(history: History, read_position: Position) -> Self {
        Self(u64::from(history.0) << Self::POSITION_BITS | read_position.bytes().min(Self::POSITION_MAX))
    }

    /// A version as a sink names it. Beyond 63 bits it cannot be one of ours and is `None`.
    pub fn from_number(number: u64) -> Option<Self> {
        (number < 1 << 63).then_some(Self(number))
    }

    /// The number that a sink is given.
    pub fn number(self) -> u64 {
        self.0
    }

    /// The history it was written under.
    pub fn history(self) -> History {
        // 63 bits less 55 leave 8, so the cast cannot lose any.
        History((self.0 >> Self::POSITION_BITS) as u8)
    }

    /// The read position it carries.
    pub fn position(self) -> Position {
        Position::new(self.0 & Self::POSITION_MAX)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (history {}, position {})", self.0, self.history().0, self.position())
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_gives_back_its_history_and_position() {
        let last = History(255);
        for (history, position) in [(History::FIRST, 0), (History(7), 0x16_B374_D848), (last, Version::POSITION_MAX)] {
            let version = Version::new(history, Position::new(position));
            assert_eq!((version.history(), version.position()), (history, Position::new(position)));
            assert_eq!(Version::from_number(version.number()), Some(version));
        }
        assert_eq!(last.next(), None);
    }

    #[test]
    fn a_later_history_beats_every_position_of_an_earlier_one() {
        assert!(Version::new(History(1), Position::ZERO) > Version::new(History(0), Position::new(u64::MAX)));
    }
}
