//! A line for each document that a change touched, and how long it took from commit to durable.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use crate::edges::{Observer, PassReport, Written};
use crate::model::{Origin, Position};
use crate::telemetry::{Screen, since};

/// Documents of one write that get a line each; the others share one.
const LINES_MAX: usize = 4;
/// Changes whose description is kept until their documents are durable.
const CHANGES_MAX: usize = 10_000;
/// Samples kept for the percentiles: the last ones.
const SAMPLES_MAX: usize = 100_000;

/// Watches the demo's pipeline.
#[derive(Debug)]
pub(super) struct Touched {
    screen: Screen,
    changes: Mutex<VecDeque<(i64, &'static str)>>,
    seen: Mutex<Seen>,
    live: watch::Sender<bool>,
    confirmed: watch::Sender<Position>,
}

/// What was seen so far.
#[derive(Debug, Default)]
struct Seen {
    filled: u64,
    documents: u64,
    deleted: u64,
    took: VecDeque<Duration>,
}

/// What changes led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tally {
    /// Documents that the backfill wrote.
    pub filled: u64,
    /// Documents that changes wrote; one written twice counts twice.
    pub documents: u64,
    /// Documents that changes deleted.
    pub deleted: u64,
    /// Half of them took at most this long.
    pub p50: Duration,
    /// 99 of a hundred took at most this long.
    pub p99: Duration,
}

impl Touched {
    pub(super) fn new(screen: Screen) -> Arc<Self> {
        Arc::new(Self {
            screen,
            changes: Mutex::default(),
            seen: Mutex::default(),
            live: watch::Sender::new(false),
            confirmed: watch::Sender::new(Position::ZERO),
        })
    }

    /// A change of that kind is about to be committed. There is one writer and one machine, hence one clock: a commit is of
    /// the last change that was announced before it.
    pub(super) fn announce(&self, change: &'static str) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        if changes.len() >= CHANGES_MAX {
            changes.pop_front();
        }
        changes.push_back((i64::try_from(now.as_micros()).unwrap_or(i64::MAX), change));
    }

    /// Whether the backfill is done.
    pub(super) fn live(&self) -> watch::Receiver<bool> {
        self.live.subscribe()
    }

    /// The confirmed position.
    pub(super) fn confirmed(&self) -> watch::Receiver<Position> {
        self.confirmed.subscribe()
    }

    /// What changes led to so far.
    pub(super) fn tally(&self) -> Tally {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut took: Vec<Duration> = seen.took.iter().copied().collect();
        took.sort_unstable();
        let of_hundred = |share: usize| {
            let place = (took.len() * share).div_ceil(100).saturating_sub(1);
            took.get(place).copied().unwrap_or_default()
        };
        Tally {
            filled: seen.filled,
            documents: seen.documents,
            deleted: seen.deleted,
            p50: of_hundred(50),
            p99: of_hundred(99),
        }
    }

    fn change_at(&self, committed_at_us: i64) -> &'static str {
        let changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let behind = changes.partition_point(|(announced, _)| *announced <= committed_at_us);
        behind.checked_sub(1).and_then(|last| changes.get(last)).map_or("a change", |(_, change)| change)
    }

    fn print(&self, written: &Written, took: Duration, change: &str) {
        let Written { index, documents, absent, .. } = written;
        let touched = documents.iter().map(|id| (id, "")).chain(absent.iter().map(|id| (id, "deleted, ")));
        let mut text = String::new();
        for (id, what) in touched.take(LINES_MAX) {
            let name = format!("{index}/{id}");
            text.push_str(&format!("  {name:<46} {:>6} ms  ({what}{change})\n", took.as_millis()));
        }
        let more = (documents.len() + absent.len()).saturating_sub(LINES_MAX);
        if more > 0 {
            let name = format!("and {more} more of {index}");
            text.push_str(&format!("  {name:<46} {:>6} ms  ({change})\n", took.as_millis()));
        }
        super::say(&self.screen, text.trim_end());
    }
}

impl Observer for Touched {
    fn on_written(&self, written: &Written) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let Origin::Live { committed_at_us } = written.origin else {
            seen.filled += written.documents.len() as u64;
            return;
        };
        let took = since(committed_at_us);
        seen.documents += written.documents.len() as u64;
        seen.deleted += written.absent.len() as u64;
        for _ in 0..written.documents.len() + written.absent.len() {
            if seen.took.len() >= SAMPLES_MAX {
                seen.took.pop_front();
            }
            seen.took.push_back(took);
        }
        drop(seen);
        self.print(written, took, self.change_at(committed_at_us));
    }

    fn on_pass(&self, report: &PassReport) {
        if report.done {
            let text = format!("  {}: {} documents done ({})", report.index, report.documents, report.reason);
            super::say(&self.screen, &text);
        }
    }

    fn on_confirmed(&self, position: Position) {
        self.confirmed.send_replace(position);
    }

    fn on_live(&self) {
        self.live.send_replace(true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(origin: Origin) -> Written {
        Written {
            index: "users".into(),
            documents: vec!["1".into()],
            absent: vec!["2".into()],
            stale: 0,
            bytes: 2,
            origin,
        }
    }

    #[test]
    fn documents_of_changes_are_measured_and_those_of_a_backfill_are_not() {
        let touched = Touched::new(Screen::default());
        touched.on_written(&written(Origin::Pass { id: 1 }));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as i64;
        touched.on_written(&written(Origin::Live { committed_at_us: now - 5_000 }));
        let tally = touched.tally();
        assert_eq!((tally.filled, tally.documents, tally.deleted), (1, 1, 1));
        assert!(tally.p50 >= Duration::from_millis(5) && tally.p50 == tally.p99);
    }

    #[test]
    fn a_commit_is_of_the_change_announced_last_before_it() {
        let touched = Touched::new(Screen::default());
        touched.changes.lock().unwrap().extend([(10, "first"), (20, "second")]);
        assert_eq!(
            [5, 10, 19, 20, 99].map(|at| touched.change_at(at)),
            ["a change", "first", "first", "second", "second"]
        );
    }
}
