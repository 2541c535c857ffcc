//! What a trial is drawn from, and its limits.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::work::Sizes;

const SECONDS: u64 = 32;
/// Rounds of a trial that lasts longer.
const ROUND_SECONDS: std::ops::Range<u64> = 40..130;
/// How long docmill waits for an answer: shorter than a freeze may be, so that requests are applied that it has given up.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a frozen OpenSearch holds a request, in milliseconds.
pub const FREEZE_MS: std::ops::Range<u64> = 500..4_000;
/// How long the proxy does, before that.
pub const LATE_MS: std::ops::Range<u64> = 100..2_000;
/// docmill's `late_window`: longer than both together, with time for slow machines.
pub const LATE_WINDOW: Duration = Duration::from_secs(8);
/// docmill's memory over all its lives.
pub const MEMORY_MIB_MAX: u64 = 256;
/// For docmill to catch up when writes and faults are over, and for the slot to follow.
pub const SETTLE_MAX: Duration = Duration::from_secs(240);

/// What a trial is drawn from.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    pub seed: u64,
    pub seconds: u64,
    pub hold: Duration,
    pub sizes: Sizes,
}

/// One round: work and faults, then the comparison.
#[derive(Debug, Clone, Copy)]
pub struct Round {
    pub seconds: u64,
    /// For how much of it there are large transactions and TRUNCATEs.
    pub large_percent: u32,
}

impl Setting {
    pub fn from_environment() -> Self {
        let number = |name: &str| {
            std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap_or_else(|_| panic!("{name} is a number")))
        };
        let seconds = number("DOCMILL_CHAOS_SECONDS").unwrap_or(SECONDS);
        // A short trial has not the time to write a hundred thousand documents again and again.
        let documents_max = if seconds < 100 { 5_000 } else { 100_000 };
        Self {
            seed: number("DOCMILL_CHAOS_SEED").unwrap_or_else(|| u64::from(rand::random::<u32>())),
            seconds,
            hold: Duration::from_secs(number("DOCMILL_CHAOS_HOLD").unwrap_or(0)),
            sizes: Sizes { rows_max: 100_000, documents_max, users: 2_000, products: 400 },
        }
    }

    /// Rounds without end.
    pub fn rounds(&self) -> impl Iterator<Item = Round> + use<> {
        let mut random = StdRng::seed_from_u64(self.seed.wrapping_add(303));
        let short = self.seconds < ROUND_SECONDS.end;
        std::iter::repeat_with(move || Round {
            seconds: random.random_range(ROUND_SECONDS),
            // One round has some of everything.
            large_percent: if short { 60 } else { [0, 60, 75, 90][random.random_range(0..4)] },
        })
    }
}
