//! A moment, and how long ago it was, by whichever clock says more.

use std::time::{Duration, Instant, SystemTime};

/// See the module. The steady clock stands still with the machine (suspended, a virtual one moved to another host); the wall clock
/// may be set. What must not be used when it is old is old when either says so.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    steady: Instant,
    wall: SystemTime,
}

impl Moment {
    pub(crate) fn now() -> Self {
        Self { steady: Instant::now(), wall: SystemTime::now() }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.steady.elapsed().max(self.wall.elapsed().unwrap_or_default())
    }
}
