//! [`Pace`]: lets something through a few times in a while, and counts what it held back.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Different texts that are remembered at most; past it everything is forgotten, and said again.
const TEXTS_MAX: usize = 1_000;

/// Says each text once in a while.
#[derive(Debug)]
pub(super) struct Pace {
    every: Duration,
    said: HashMap<String, (Instant, u64)>,
}

impl Pace {
    pub(super) fn new(every: Duration) -> Self {
        Self { every, said: HashMap::new() }
    }

    /// Whether to say `text` at `now`; then how often it was held back since it was said last.
    pub(super) fn admit(&mut self, text: &str, now: Instant) -> Option<u64> {
        if let Some((last, held)) = self.said.get_mut(text) {
            if now.duration_since(*last) < self.every {
                *held += 1;
                return None;
            }
            *last = now;
            return Some(std::mem::take(held));
        }
        if self.said.len() >= TEXTS_MAX {
            self.said.clear();
        }
        self.said.insert(text.to_owned(), (now, 0));
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_is_said_once_in_a_while_with_the_count_of_what_was_held_back() {
        let mut pace = Pace::new(Duration::from_secs(10));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(pace.admit("a", at(0)), Some(0));
        assert_eq!(pace.admit("a", at(1)), None);
        assert_eq!(pace.admit("b", at(2)), Some(0));
        assert_eq!(pace.admit("a", at(9)), None);
        assert_eq!(pace.admit("a", at(10)), Some(2));
    }
}
