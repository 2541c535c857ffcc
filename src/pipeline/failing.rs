//! Whether so many distinct documents fail that going on would help nobody: then the pipeline pauses.
//!
//! ```text
//! each outcome ─▶ window of its index and side ─▶ at least `failing_documents_min` distinct ids failed,
//!                                                 more than `failing_percent` of all in it? ─▶ a failure that pauses
//! ```
//!
//! Sides are counted apart: calls that resolve, documents that the builder assembles, and documents that the sink takes; of the last
//! only those that it refuses for one and the same reason count together. A document that a builder *answers* to be rejected is an
//! answer, not a failure; a call that was only made smaller or tried again is none either.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::policy::FlowLimits;
use crate::edges::Failure;
use crate::model::BuilderVersion;

/// Who fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The builder, asked for ids.
    Resolve,
    /// The builder, asked for documents.
    Assemble,
    /// The sink, given documents.
    Sink,
}

/// Counts distinct documents by what became of them last.
#[derive(Debug)]
pub struct Failing {
    version: BuilderVersion,
    limits: FlowLimits,
    hasher: RandomState,
    windows: Mutex<HashMap<(Side, String), Window>>,
}

/// The outcomes of one index on one side, since a while.
#[derive(Debug)]
struct Window {
    began: Instant,
    /// By a hash of the id: why it failed, as a place in `reasons`, or [`WELL`]. Small, since idle pipelines keep it too.
    outcomes: HashMap<u64, u8>,
    /// Those besides that went well.
    nameless: usize,
    /// A reason, and how many documents failed for it.
    reasons: Vec<(String, usize)>,
}

/// Reasons that are told apart in one window; further ones count as the last of them.
const REASONS_MAX: usize = 16;
/// Of a document that went well.
const WELL: u8 = u8::MAX;

impl Failing {
    /// For one run of a flow.
    pub fn new(version: BuilderVersion, limits: FlowLimits) -> Self {
        Self { version, limits, hasher: RandomState::new(), windows: Mutex::default() }
    }

    /// Those went well.
    pub fn went_well<'i>(&self, side: Side, index: &str, ids: impl Iterator<Item = &'i str>) {
        if self.is_off() {
            return;
        }
        self.in_window(side, index, |window| {
            ids.for_each(|id| window.put(self.hasher.hash_one(id), WELL));
        });
    }

    /// So many went well of which the ids are not known: rows, which have none.
    pub fn so_many_went_well(&self, side: Side, index: &str, count: usize) {
        if !self.is_off() {
            self.in_window(side, index, |window| window.nameless += count);
        }
    }

    fn is_off(&self) -> bool {
        self.limits.failing_documents_min == usize::MAX
    }

    /// That one failed, for a reason that is a word to count by; `found` may be logged.
    ///
    /// # Errors
    ///
    /// `Fatal` and pausing when that is one too many.
    pub fn failed(&self, side: Side, index: &str, id: &str, reason: &str, found: &str) -> Result<(), Failure> {
        if self.is_off() {
            return Ok(());
        }
        // A version that fails fails, in however many ways.
        let reason = if side == Side::Sink { reason } else { "" };
        let (failed, of) = self.in_window(side, index, |window| {
            let place = window.place_of(reason);
            window.put(self.hasher.hash_one(id), place);
            (window.reasons[usize::from(place)].1, window.len())
        });
        let FlowLimits { failing_documents_min, failing_percent, failing_window, .. } = self.limits;
        if failed < failing_documents_min.max(1) || failed * 100 <= of * failing_percent {
            return Ok(());
        }
        let version = self.version.short();
        let (what, advice) = match side {
            Side::Resolve => (
                format!("builder {version} could not resolve {failed} of {of} distinct rows for index {index}"),
                "the pipeline is paused: give it a builder that works, or resume it to go on with this one",
            ),
            Side::Assemble => (
                format!("builder {version} failed on {failed} of {of} distinct documents of index {index}"),
                "the pipeline is paused: give it a builder that works, or resume it to go on with this one",
            ),
            Side::Sink => (
                format!("the sink rejected {failed} of {of} distinct documents of index {index} with {reason}"),
                "the pipeline is paused: mend the builder's mapping or its documents, or resume it to go on",
            ),
        };
        // Here a builder that worked before would be put back, once accepted versions are kept (hot reload).
        Err(Failure::fatal(format!("{what} within {failing_window:?}, at last: {found}")).with_advice(advice).pausing())
    }

    fn in_window<T>(&self, side: Side, index: &str, with: impl FnOnce(&mut Window) -> T) -> T {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let window = windows.entry((side, index.to_owned())).or_insert_with(Window::new);
        // At least so many that the two other limits can be met in it.
        let documents_max = self.limits.failing_documents_max.max(self.limits.failing_documents_min.saturating_mul(4));
        if window.began.elapsed() >= self.limits.failing_window || window.len() >= documents_max {
            *window = Window::new();
        }
        with(window)
    }
}

impl Window {
    fn new() -> Self {
        Self { began: Instant::now(), outcomes: HashMap::new(), nameless: 0, reasons: Vec::new() }
    }

    fn len(&self) -> usize {
        self.outcomes.len() + self.nameless
    }

    fn place_of(&mut self, reason: &str) -> u8 {
        let known = self.reasons.iter().position(|(known, _)| known == reason);
        let place = known.unwrap_or(self.reasons.len()).min(REASONS_MAX - 1);
        if place == self.reasons.len() {
            self.reasons.push((reason.to_owned(), 0));
        }
        // Less than REASONS_MAX.
        place as u8
    }

    /// What counts is the last outcome of each.
    fn put(&mut self, id: u64, outcome: u8) {
        if let Some((_, count)) =
            self.outcomes.insert(id, outcome).and_then(|before| self.reasons.get_mut(usize::from(before)))
        {
            *count -= 1;
        }
        if let Some((_, count)) = self.reasons.get_mut(usize::from(outcome)) {
            *count += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn failing(window: Duration) -> Failing {
        let limits = FlowLimits { failing_documents_min: 3, failing_window: window, ..FlowLimits::default() };
        Failing::new(BuilderVersion("abcdef".to_owned()), limits)
    }

    fn fails(failing: &Failing, side: Side, id: &str, reason: &str) -> bool {
        failing.failed(side, "things", id, reason, "why").is_err_and(|failure| failure.pauses())
    }

    #[test]
    fn many_distinct_documents_and_more_than_half_of_them_pause() {
        let failing = failing(Duration::from_secs(60));
        // The same one over and over is one.
        assert!((0..10).all(|_| !fails(&failing, Side::Assemble, "1", "trap")));
        failing.went_well(Side::Assemble, "things", ["4", "5", "6"].into_iter());
        assert!(!fails(&failing, Side::Assemble, "2", "trap"));
        assert!(!fails(&failing, Side::Assemble, "3", "json"), "3 of 6 are half");
        // Other indexes and sides do not count.
        assert!(!fails(&failing, Side::Resolve, "4", "trap"));
        let failure = failing.failed(Side::Assemble, "things", "7", "trap", "it trapped").unwrap_err();
        let said = "builder abcdef failed on 4 of 7 distinct documents of index things within 60s, at last: it trapped";
        assert_eq!(failure.message(), said);
    }

    #[test]
    fn a_document_that_went_well_afterwards_does_not_count_and_neither_does_what_is_long_ago() {
        let failing = failing(Duration::from_secs(60));
        assert!(!fails(&failing, Side::Assemble, "1", "trap") && !fails(&failing, Side::Assemble, "2", "trap"));
        failing.went_well(Side::Assemble, "things", ["1"].into_iter());
        assert!(!fails(&failing, Side::Assemble, "3", "trap"));
        assert!(fails(&failing, Side::Assemble, "4", "trap"), "3 of 4");
        let forgetful = self::failing(Duration::ZERO);
        assert!((0..10).all(|id| !fails(&forgetful, Side::Assemble, &id.to_string(), "trap")));
    }

    #[test]
    fn what_a_sink_rejects_counts_by_its_reason() {
        let failing = failing(Duration::from_secs(60));
        for (id, reason) in [("1", "mapper"), ("2", "strict"), ("3", "mapper"), ("4", "strict")] {
            assert!(!fails(&failing, Side::Sink, id, reason));
        }
        assert!(fails(&failing, Side::Sink, "5", "mapper"), "3 of 5");
    }
}
