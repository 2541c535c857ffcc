//! Whether the neighbour keeps its pace: the 99th percentile of its time from commit to document, while a hostile pipeline
//! misbehaves and while it does not.
//!
//! The machine is shared and no two seconds on it are alike, so windows with and without misdeeds alternate, are of equal length, and
//! are judged together: a round is the changes of all windows of one kind against those of the other. What disturbs one
//! round by chance does not disturb the next; what the hostile pipeline does, does. So one round within bounds is a pass.

use std::time::{Duration, Instant};

use super::stage::Stage;

/// A window lasts at least that long, and until the misdeed that was begun in it is over.
const WINDOW: Duration = Duration::from_millis(400);
/// The windows of one kind last at least that long together in a round; there are two or more.
const ROUND: Duration = Duration::from_millis(1200);
/// Between two misdeeds: how often the hostile pipeline's rows change is not its doing.
const MISDEED_EVERY: Duration = Duration::from_millis(100);
const ROUNDS_MAX: usize = 6;
/// Of each kind, to judge by: on a machine that is slow for a while more windows are looked at.
const CHANGES_LEAST: usize = 100;
const WINDOWS_MAX: usize = 20;
/// How much longer it may take beside a hostile pipeline: 20 %.
const MORE: f64 = 1.2;
/// What cannot be told apart here: one turn of a guest, the 10 ms of the epoch. On two cores whoever runs may hold up whoever wakes
/// by about one; a neighbour that stands in line behind spinning guests waits for many.
const RESOLUTION: Duration = Duration::from_millis(10);

/// Misbehaves again and again, and asserts that the neighbour did not notice and that its documents are right.
pub async fn keeps_its_pace(stage: &'static Stage, what: &str, mut misbehave: impl AsyncFnMut()) {
    stage.here(async { stage.neighbour.work() }).await;
    // The first changes pay for connections and caches.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut kept = false;
    for round in 1..=ROUNDS_MAX {
        let (mut beside, mut alone) = (Vec::new(), Vec::new());
        let (mut windows, mut lasted) = (0, Duration::ZERO);
        while windows < 2 || lasted < ROUND || (fewest(&beside, &alone) < CHANGES_LEAST && windows < WINDOWS_MAX) {
            let (first, began) = (stage.neighbour.changes(), Instant::now());
            let mut ticks = tokio::time::interval(MISDEED_EVERY);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            while began.elapsed() < WINDOW {
                ticks.tick().await;
                misbehave().await;
            }
            let second = stage.neighbour.changes();
            tokio::time::sleep(began.elapsed()).await;
            (windows, lasted) = (windows + 1, lasted + began.elapsed() / 2);
            let third = stage.neighbour.changes();
            beside.extend(stage.neighbour.took(first..second).await);
            alone.extend(stage.neighbour.took(second..third).await);
        }
        let (beside, alone) = (Pace::of(beside), Pace::of(alone));
        kept = beside.p99 <= alone.p99.mul_f64(MORE) + RESOLUTION;
        println!("{what}: round {round}: the neighbour alone {alone}, beside it {beside}");
        if kept {
            break;
        }
    }
    stage.neighbour.rest().await;
    assert!(kept, "{what}: in {ROUNDS_MAX} rounds the neighbour's p99 was never within 20 % of what it is alone");
}

/// Of the kind that has fewer.
fn fewest(beside: &[Duration], alone: &[Duration]) -> usize {
    beside.len().min(alone.len())
}

struct Pace {
    changes: usize,
    p50: Duration,
    p99: Duration,
}

impl Pace {
    fn of(mut took: Vec<Duration>) -> Self {
        assert!(took.len() >= CHANGES_LEAST, "the load is too small to judge by: {} changes", took.len());
        took.sort();
        let rank = |share: f64| took[((took.len() as f64 * share).ceil() as usize).clamp(1, took.len()) - 1];
        Self { changes: took.len(), p50: rank(0.5), p99: rank(0.99) }
    }
}

impl std::fmt::Display for Pace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "p50 {:.1?} p99 {:.1?} of {}", self.p50, self.p99, self.changes)
    }
}
