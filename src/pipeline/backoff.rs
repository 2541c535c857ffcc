//! Waiting between tries: twice as long each time up to a longest wait, with jitter, and until somebody says stop.

use std::time::Duration;

use rand::Rng;
use tokio_util::sync::CancellationToken;

use super::policy::FlowLimits;

/// The waits of one thing that is tried again and again.
#[derive(Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// Begins with the first wait of `limits`.
    pub fn new(limits: &FlowLimits) -> Self {
        Self { first: limits.backoff_first, longest: limits.backoff_longest, next: limits.backoff_first }
    }

    /// Something worked: begin again.
    pub fn reset(&mut self) {
        self.next = self.first;
    }

    /// The next wait is no longer than that.
    pub fn at_most(&mut self, longest: Duration) {
        self.next = self.next.min(longest);
    }

    /// Waits; `false` when `stop` was cancelled meanwhile.
    pub async fn wait(&mut self, stop: &CancellationToken) -> bool {
        // Between half and all of it, so that many who failed together do not come back together.
        let wait = self.next.mul_f64(rand::rng().random_range(0.5..=1.0));
        self.next = (self.next * 2).min(self.longest);
        tokio::select! {
            () = stop.cancelled() => false,
            () = tokio::time::sleep(wait) => true,
        }
    }
}
