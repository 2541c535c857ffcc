//! Limits that were met without ending a call, counted until somebody asks.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// How often which limit was met.
#[derive(Debug, Default)]
pub(super) struct LimitsMet {
    any: AtomicBool,
    counts: Mutex<Vec<(&'static str, u64)>>,
}

impl LimitsMet {
    /// Once more.
    pub(super) fn count(&self, limit: &'static str) {
        let mut counts = self.counts.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        match counts.iter_mut().find(|(known, _)| *known == limit) {
            Some((_, times)) => *times += 1,
            None => counts.push((limit, 1)),
        }
        self.any.store(true, Ordering::Release);
    }

    /// What was counted since it was taken last.
    pub(super) fn take(&self) -> Vec<(&'static str, u64)> {
        // After every call, and nearly always nothing.
        match self.any.swap(false, Ordering::Acquire) {
            true => std::mem::take(&mut *self.counts.lock().unwrap_or_else(|poisoned| poisoned.into_inner())),
            false => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_met_is_told_once() {
        let met = LimitsMet::default();
        assert_eq!(met.take(), []);
        ["a", "b", "a"].into_iter().for_each(|limit| met.count(limit));
        assert_eq!(met.take(), [("a", 2), ("b", 1)]);
        assert_eq!(met.take(), []);
    }
}
