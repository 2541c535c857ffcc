//! CPU time of one call: what its thread uses between a resume and the next yield, so that neither waiting for the database nor
//! waiting for a processor costs anything.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counts while a future is being polled. Read from inside the poll (the epoch's callback) and after it.
#[derive(Debug)]
pub(super) struct Meter {
    used_ns: AtomicU64,
    resumed_ns: AtomicU64,
}

/// [`Meter::resumed_ns`] while nothing runs.
const AT_REST: u64 = u64::MAX;

impl Meter {
    pub(super) fn new() -> Self {
        Self { used_ns: AtomicU64::new(0), resumed_ns: AtomicU64::new(AT_REST) }
    }

    /// What was used so far, the present poll included.
    pub(super) fn used(&self) -> Duration {
        let running = match self.resumed_ns.load(Ordering::Relaxed) {
            AT_REST => 0,
            resumed => thread_cpu_ns().saturating_sub(resumed),
        };
        Duration::from_nanos(self.used_ns.load(Ordering::Relaxed).saturating_add(running))
    }

    /// The same future, with its polls counted here.
    pub(super) async fn measure<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|context| {
            let resumed = thread_cpu_ns();
            self.resumed_ns.store(resumed, Ordering::Relaxed);
            let answer = future.as_mut().poll(context);
            self.resumed_ns.store(AT_REST, Ordering::Relaxed);
            let used = thread_cpu_ns().saturating_sub(resumed);
            self.used_ns.fetch_add(used, Ordering::Relaxed);
            answer
        })
        .await
    }
}

/// CPU time that the calling thread has used. Of two readings on one thread the difference is meant.
fn thread_cpu_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the struct outlives the call. Every thread has this clock, so it does not fail.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    // 2^64 ns are 584 years.
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn running_counts_and_waiting_does_not() {
        let meter = Meter::new();
        meter
            .measure(async {
                // Ends by what it measures.
                while meter.used() < Duration::from_millis(20) {
                    std::hint::spin_loop();
                }
                std::thread::sleep(Duration::from_millis(200));
                tokio::time::sleep(Duration::from_millis(200)).await;
            })
            .await;
        assert!(meter.used() >= Duration::from_millis(20));
        assert!(meter.used() < Duration::from_millis(150), "{:?}", meter.used());
    }
}
