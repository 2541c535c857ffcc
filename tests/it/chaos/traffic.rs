//! What happens between docmill and OpenSearch: refusals, cut and late answers, by a proxy, in phases of some seconds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use super::lane::{Journal, Lane};
use super::setting::LATE_MS;
use crate::support::http::{Call, Fault, FaultyServer};

/// What happens to requests.
#[derive(Debug, Clone, Copy)]
pub enum TrafficFault {
    /// Whole answers.
    TooMany,
    Unavailable,
    /// Items of bulk requests.
    ItemsTooMany,
    ItemsUnavailable,
    /// The connection is cut before the request was done, after it, in the middle of the answer.
    CutBefore,
    CutAfter,
    CutWithin,
    /// An answer that is none.
    Garbage,
    DoneLate,
    AnsweredLate,
    /// Two requests get no answer at all, and are not done.
    Silence,
}

impl TrafficFault {
    pub const ALL: [Self; 11] = [
        Self::TooMany,
        Self::Unavailable,
        Self::ItemsTooMany,
        Self::ItemsUnavailable,
        Self::CutBefore,
        Self::CutAfter,
        Self::CutWithin,
        Self::Garbage,
        Self::DoneLate,
        Self::AnsweredLate,
        Self::Silence,
    ];
}

/// Faults of requests until the lane is at its end; then all pass.
pub async fn fail_traffic(
    mut lane: Lane<TrafficFault>,
    proxy: Arc<FaultyServer>,
    users: u32,
    journal: Arc<Journal>,
) -> Lane<TrafficFault> {
    while let Some(kind) = lane.next().await {
        let (phase, percent) = (lane.time(500..6_000), lane.number(10..100));
        let (every_path, late) = (lane.chance(40), lane.time(LATE_MS));
        let ids: Vec<String> = (0..lane.number(1..400)).map(|_| lane.number(1..users + 1).to_string()).collect();
        let (name, fault) = match kind {
            TrafficFault::TooMany => ("429", Fault::Answer(429, refused("rejected_execution_exception"))),
            TrafficFault::Unavailable => ("503", Fault::Answer(503, refused("no_master_exception"))),
            TrafficFault::ItemsTooMany => {
                ("429 items", Fault::Items { ids, status: 429, kind: "rejected_execution_exception" })
            }
            TrafficFault::ItemsUnavailable => {
                ("503 items", Fault::Items { ids, status: 503, kind: "unavailable_shards_exception" })
            }
            TrafficFault::CutBefore => ("cut before", Fault::Cut { done: false }),
            TrafficFault::CutAfter => ("cut after", Fault::Cut { done: true }),
            TrafficFault::CutWithin => ("cut within the answer", Fault::HalfAnswer),
            TrafficFault::Garbage => ("garbage", Fault::Garbage),
            TrafficFault::DoneLate => ("done late", Fault::DoLate(late)),
            TrafficFault::AnsweredLate => ("answered late", Fault::AnswerLate(late)),
            TrafficFault::Silence => ("no answer", Fault::Silence),
        };
        // Items are of bulk requests only.
        let every_path = every_path && !matches!(fault, Fault::Items { .. });
        let met = Arc::new(AtomicU32::new(0));
        let matches = some_of(every_path, percent, lane.number(0..u32::MAX), Arc::clone(&met));
        match kind {
            TrafficFault::Silence => proxy.fail(2, matches, fault),
            _ => proxy.fail_always(matches, fault),
        }
        tokio::time::sleep(phase).await;
        proxy.heal();
        let paths = if every_path { "requests" } else { "bulk requests" };
        let met = met.load(Ordering::Relaxed);
        journal.fault(name, &format!("for {phase:?}: {percent} % of {paths}, {met} met, late by {late:?} where so"));
    }
    lane
}

/// A part of the requests, told by dice of their own.
fn some_of(every_path: bool, percent: u32, seed: u32, met: Arc<AtomicU32>) -> impl Fn(&Call) -> bool + Send + 'static {
    let throw = AtomicU32::new(seed);
    move |call: &Call| {
        if !call.is_bulk() && !every_path {
            return false;
        }
        // A linear congruential generator: its upper bits are good enough for dice.
        let step = |value: u32| Some(value.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
        let thrown = throw.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step).unwrap_or_default();
        let hit = (thrown >> 16) % 100 < percent;
        met.fetch_add(u32::from(hit), Ordering::Relaxed);
        hit
    }
}

fn refused(kind: &str) -> Value {
    json!({"error": {"root_cause": [], "type": kind, "reason": "by the trial"}, "status": 0})
}
