//! Where a call runs: on the guests' threads, and from when it has used much CPU time on others, so that short calls never stand
//! behind long ones.
//!
//! ```text
//! guests' threads (nice 5)        caller                       threads for long calls (nice 19)
//! poll, poll, … used 50 ms ──▶ wait for a long slot ──▶ poll, poll, … answer, or its CPU budget is used up
//! ```
//!
//! Most calls take less than a millisecond. A guest that spins takes turns of a tick (10 ms) with all others of its threads, and so
//! each call of a neighbour would wait for as many ticks as calls spin.

use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::failures;
use super::guest::Places;
use super::meter::Meter;
use super::runtime::Runtime;
use crate::edges::{Failure, Permit};

/// A call under way. Dropped, it is gone with its store, and then its slot is free.
pub(super) struct UnderWay<T> {
    call: Pin<Box<dyn Future<Output = Result<T, Failure>> + Send>>,
    meter: Arc<Meter>,
    wall: Duration,
    /// Known from when it first runs.
    deadline: Option<Instant>,
    _slot: Permit,
}

enum Leg<T> {
    Answered(Result<T, Failure>),
    OverWall,
    /// It goes on.
    Long(UnderWay<T>),
}

impl<T: Send + 'static> UnderWay<T> {
    /// `meter` counts inside `call`.
    pub(super) fn new(
        call: Pin<Box<dyn Future<Output = Result<T, Failure>> + Send>>,
        meter: Arc<Meter>,
        wall: Duration,
        slot: Permit,
    ) -> Self {
        Self { call, meter, wall, deadline: None, _slot: slot }
    }

    /// Runs it to its end.
    pub(super) async fn run(self, what: &str, runtime: &Runtime, places: &Places) -> Result<T, Failure> {
        let wall = self.wall;
        let mut leg = on(runtime.threads(), what, self.leg(runtime.options.long_call_cpu)).await?;
        if let Leg::Long(mut call) = leg {
            let asked = Instant::now();
            let _long_slot = places.long_slots.acquire().await;
            // Waiting for others is not the guest's time.
            call.deadline = call.deadline.map(|deadline| deadline + asked.elapsed());
            leg = on(runtime.long_threads(), what, call.leg(Duration::MAX)).await?;
        }
        match leg {
            Leg::Answered(answer) => answer,
            Leg::OverWall | Leg::Long(_) => Err(failures::wall(what, wall)),
        }
    }

    /// Runs until it ends, or until it waits for anything (its next turn, the database) and has used that much.
    async fn leg(mut self, cpu: Duration) -> Leg<T> {
        let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + self.wall);
        let ended = std::future::poll_fn(|context| match self.call.as_mut().poll(context) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending if self.meter.used() >= cpu => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        });
        match tokio::time::timeout_at(deadline, ended).await {
            Ok(Some(answer)) => Leg::Answered(answer),
            Ok(None) => Leg::Long(self),
            Err(_) => Leg::OverWall,
        }
    }
}

async fn on<T: Send + 'static>(
    threads: &Handle,
    what: &str,
    leg: impl Future<Output = Leg<T>> + Send + 'static,
) -> Result<Leg<T>, Failure> {
    match AbortOnDropHandle::new(threads.spawn(leg)).await {
        Ok(leg) => Ok(leg),
        // A mistake of this module that this input brings out: it would do so again.
        Err(error) if error.is_panic() => Err(Failure::deterministic(format!("{what}: the host itself failed"))),
        Err(error) => Err(Failure::transient(format!("{what}: the call was cut off")).with_source(error)),
    }
}
