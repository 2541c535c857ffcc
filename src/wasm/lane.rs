//! Where a call runs: on the guests' threads, and from when it has used much CPU time on others, so that short calls never stand
//! behind long ones.
//!
//! ```text
//! guests' threads (nice 5)        caller                       threads for long calls (nice 19)
//! poll, poll, … used 50 ms ──▶ wait for a long slot ──▶ poll, poll, … answer, or its CPU budget is used up
//! ```
//!
//! For a second after a long call its pipeline's calls begin on the right.
//!
//! Most calls take less than a millisecond. A guest that spins takes turns of a tick (10 ms) with all others of its threads, and so
//! each call of a neighbour would wait for as many ticks as calls spin.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;

use super::failures;
use super::guest::Places;
use super::meter::Meter;
use super::runtime::Runtime;
use super::waiting::Waiting;
use crate::edges::{Failure, Permit};

/// A call under way. Dropped, it is gone with its store, and then its slot is free.
pub(super) struct UnderWay<T> {
    call: Pin<Box<dyn Future<Output = Result<T, Failure>> + Send>>,
    meter: Arc<Meter>,
    waiting: Waiting,
    wall: Duration,
    /// How long it took so far on its threads, whoever had the processor.
    lasted: Duration,
    _slot: Permit,
}

enum Leg<T> {
    Answered(Result<T, Failure>),
    OverWall,
    /// Others had the processor for too long.
    Starved,
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
        Self { call, meter, waiting: Waiting::default(), wall, lasted: Duration::ZERO, _slot: slot }
    }

    /// Runs it to its end.
    pub(super) async fn run(self, what: &str, runtime: &Runtime, places: &Places) -> Result<T, Failure> {
        let (wall, meter, long) = (self.wall, Arc::clone(&self.meter), runtime.options.long_call_cpu);
        let mut leg = match places.long_ones.recent() {
            true => Leg::Long(self),
            false => on(runtime.threads(), what, self.leg(long)).await?,
        };
        let is_long = || meter.used() >= long;
        if let Leg::Long(call) = leg {
            if is_long() {
                places.long_ones.note();
            }
            let _long_slot = places.long_slots.acquire().await;
            leg = on(runtime.long_threads(), what, call.leg(Duration::MAX)).await?;
        }
        if is_long() {
            places.long_ones.note();
        }
        match leg {
            Leg::Answered(answer) => answer,
            Leg::Starved => Err(failures::starved(what, wall * LASTS_MAX)),
            Leg::OverWall | Leg::Long(_) => Err(failures::wall(what, wall)),
        }
    }

    /// Runs until it ends, or until it waits for anything (its next turn, the database) and has used that much.
    async fn leg(mut self, cpu: Duration) -> Leg<T> {
        let began = Instant::now();
        let last = began + (self.wall * LASTS_MAX).saturating_sub(self.lasted);
        loop {
            let left = self.wall.saturating_sub(self.own_time()).min(last.saturating_duration_since(Instant::now()));
            let ended = std::future::poll_fn(|context| match self.waiting.poll(self.call.as_mut(), context) {
                Poll::Ready(answer) => Poll::Ready(Some(answer)),
                Poll::Pending if self.meter.used() >= cpu => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            });
            match tokio::time::timeout(left, ended).await {
                Ok(Some(answer)) => return Leg::Answered(answer),
                Ok(None) => {
                    self.lasted += began.elapsed();
                    return Leg::Long(self);
                }
                Err(_) if self.own_time() >= self.wall => return Leg::OverWall,
                Err(_) if Instant::now() >= last => return Leg::Starved,
                // It stood in line for a processor meanwhile.
                Err(_) => {}
            }
        }
    }

    /// What its wall clock shows: what it used and what it waited for. Standing in line for a slot or a processor is not its time, and
    /// where others keep the machine busy a long call may stand for long.
    fn own_time(&self) -> Duration {
        self.meter.used() + self.waiting.so_far()
    }
}

/// How many times its wall a call may take with what it waited for a processor: it holds a slot, and perhaps a connection with a snapshot.
const LASTS_MAX: u32 = 6;

/// For how long after a call that was long all calls of its pipeline begin where long ones run: one that spins in each call would else have
/// the first part of each at the better priority, and with ten calls a second that is half a core. One that always ends just before it is
/// long has that still.
const LONG_MEMORY: Duration = Duration::from_secs(1);

/// When a pipeline's last long call ended.
#[derive(Debug, Default)]
pub(super) struct LongOnes(Mutex<Option<Instant>>);

impl LongOnes {
    fn note(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn recent(&self) -> bool {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|last| last.elapsed() < LONG_MEMORY)
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
