//! One call: a fresh store and instance, its limits installed before anything of the guest runs, dropped afterwards. A call
//! consumes itself, so a store that saw a trap cannot be used again.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use wasmtime::{Store, Trap, UpdateDeadline};

use super::bindings::BuilderPre;
use super::bindings::docmill::builder::types::{Affected, Outcome, Rowset};
use super::check::{over, printable};
use super::host::CallState;
use super::limits::Met;
use super::runtime::Runtime;
use crate::edges::{Failure, FailureClass};

/// What to call.
pub(super) enum Export {
    Describe,
    Resolve { index: String, table: String, rows: Rowset },
    Assemble { index: String, ids: Vec<String>, reads: Vec<Rowset> },
}

/// What it answered; the guest's own `err` is in the failure.
pub(super) enum Answer {
    Described(String),
    Resolved(Affected),
    Assembled(Vec<Outcome>),
}

/// A call that is ready to run.
pub(super) struct Call {
    pub(super) pre: BuilderPre<CallState>,
    pub(super) state: CallState,
    pub(super) export: Export,
}

impl Call {
    /// Runs on the guests' own threads, once a slot is free; ends with the caller's future.
    pub(super) async fn run(self, runtime: &Arc<Runtime>) -> Result<Answer, Failure> {
        let slot = Arc::clone(&runtime.slots).acquire_owned().await;
        let slot = slot.map_err(|_| Failure::transient("the runtime for guests is shutting down"))?;
        let wall = self.state.limits.wall;
        let what = Arc::clone(&self.state.what);
        let meter = Arc::new(Meter::default());
        let call = Metered { meter: Arc::clone(&meter), call: Box::pin(self.enter(meter)) };
        // Aborted when dropped: nobody waits for the answer of a caller that is gone.
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn_on(
            async move {
                let _slot = slot;
                tokio::time::timeout(wall, call).await
            },
            runtime.handle(),
        );
        match tasks.join_next().await {
            Some(Ok(Ok(answer))) => answer,
            Some(Ok(Err(_))) => Err(Failure::new(
                FailureClass::Time,
                format!("{what}: limit wall of {wall:?} met, waiting for the database included"),
            )),
            Some(Err(error)) => Err(Failure::transient(format!("{what}: the call was cut off")).with_source(error)),
            None => Err(Failure::transient(format!("{what}: the call never ran"))),
        }
    }

    async fn enter(self, meter: Arc<Meter>) -> Result<Answer, Failure> {
        let Self { pre, state, export } = self;
        let limits = Arc::clone(&state.limits);
        let mut store = Store::new(pre.engine(), state);
        store.limiter(|state| &mut state.limiter);
        store.set_hostcall_fuel(limits.bytes_from_guest);
        store.set_epoch_deadline(1);
        let cpu = limits.cpu;
        let ticking = Arc::clone(&meter);
        store.epoch_deadline_callback(move |_| {
            Ok(if ticking.used() >= cpu { UpdateDeadline::Interrupt } else { UpdateDeadline::Yield(1) })
        });
        let answer = async {
            let builder = pre.instantiate_async(&mut store).await?;
            let guest = builder.docmill_builder_guest();
            wasmtime::Result::Ok(match export {
                Export::Describe => guest.call_describe(&mut store).await?.map(Answer::Described),
                Export::Resolve { index, table, rows } => {
                    guest.call_resolve(&mut store, &index, &table, &rows).await?.map(Answer::Resolved)
                }
                Export::Assemble { index, ids, reads } => {
                    guest.call_assemble(&mut store, &index, &ids, &reads).await?.map(Answer::Assembled)
                }
            })
        };
        let answer = answer.await;
        let state = store.into_data();
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(said)) => Err(Failure::deterministic(format!("{}: the builder answered with an error", state.what))
                .with_source(Said(printable(&said, limits.log_line_bytes)))),
            Err(error) => Err(failure(error, state, cpu, &meter)),
        }
    }
}

/// Why a call ended without an answer.
fn failure(error: wasmtime::Error, mut state: CallState, cpu: Duration, meter: &Meter) -> Failure {
    let what = &state.what;
    if let Some(failure) = state.ended.take() {
        return failure;
    }
    if let Some(Met { limit, wanted, allowed }) = state.limiter.met.take() {
        return over(what, limit, wanted, allowed);
    }
    let trap = error.downcast_ref::<Trap>().copied();
    if trap == Some(Trap::Interrupt) {
        return Failure::new(FailureClass::Time, format!("{what}: limit cpu of {cpu:?} met after {:?}", meter.used()));
    }
    // The engine has no type of its own for it.
    if trap.is_none() && format!("{error:#}").contains("too much data")
        || format!("{error:#}").contains("hostcall fuel")
    {
        let allowed = state.limits.bytes_from_guest;
        return Failure::new(FailureClass::Oversize, format!("{what}: limit bytes_from_guest of {allowed} met"));
    }
    let why = trap.map_or_else(|| "it failed".to_owned(), |trap| format!("it trapped: {trap}"));
    let mut said = state.log.join(" | ");
    if !said.is_empty() {
        said.push_str(" | ");
    }
    said.push_str(&format!("{error:#}"));
    Failure::deterministic(format!("{what}: {why}")).with_source(Said(printable(&said, SAID_BYTES_MAX)))
}

/// Bytes of a guest's last words and backtrace that are kept.
const SAID_BYTES_MAX: usize = 4 << 10;

/// A guest's own words: bounded and escaped, and kept apart from what is ours, since they may quote a row.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Said(String);

/// CPU time of one call: the time spent in polls of it, so that waiting for the database costs nothing.
#[derive(Debug)]
struct Meter {
    origin: Instant,
    used_ns: AtomicU64,
    entered_ns: AtomicU64,
}

impl Default for Meter {
    fn default() -> Self {
        Self { origin: Instant::now(), used_ns: AtomicU64::new(0), entered_ns: AtomicU64::new(0) }
    }
}

impl Meter {
    fn now_ns(&self) -> u64 {
        // 2^64 ns are 584 years.
        self.origin.elapsed().as_nanos() as u64
    }

    /// Asked from inside a poll.
    fn used(&self) -> Duration {
        let this_poll = self.now_ns().saturating_sub(self.entered_ns.load(Ordering::Relaxed));
        Duration::from_nanos(self.used_ns.load(Ordering::Relaxed) + this_poll)
    }
}

struct Metered<F> {
    meter: Arc<Meter>,
    call: Pin<Box<F>>,
}

impl<F: Future> Future for Metered<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let began = self.meter.now_ns();
        self.meter.entered_ns.store(began, Ordering::Relaxed);
        let answer = self.call.as_mut().poll(context);
        let used = self.meter.now_ns().saturating_sub(began);
        self.meter.used_ns.fetch_add(used, Ordering::Relaxed);
        answer
    }
}
