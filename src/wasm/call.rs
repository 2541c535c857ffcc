//! One call: a fresh store and instance, its limits installed before anything of the guest runs, dropped afterwards. A
//! call consumes itself, so a store that saw a trap cannot be used again.
//!
//! ```text
//! caller's runtime                guests' runtime
//! wait for a slot ── spawn ──▶ [ wall clock [ CPU meter [ instantiate ─▶ call the export ] ] ]
//!       answer, checked ◀── join ──┘      └── each tick: yield, or end when the CPU budget is used up
//! ```

use std::sync::Arc;

use tokio_util::task::AbortOnDropHandle;
use wasmtime::{Store, UpdateDeadline};

use super::bindings::BuilderPre;
use super::bindings::docmill::builder::types::{Affected, Outcome, Rowset};
use super::failures;
use super::host::CallState;
use super::meter::Meter;
use super::runtime::Runtime;
use crate::edges::Failure;

/// What to call.
pub(super) enum Export {
    Describe,
    Resolve { index: String, table: String, rows: Rowset },
    Assemble { index: Arc<str>, ids: Arc<[String]>, reads: Vec<Rowset> },
}

/// What it answered. The guest's own `err` is a failure.
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
    /// Runs on the guests' own threads once a slot is free. When the caller's future is dropped, the guest ends at its
    /// next tick.
    pub(super) async fn run(self, runtime: &Runtime) -> Result<Answer, Failure> {
        // Before instantiating: a pool without room is an error, not a wait.
        let slot = Arc::clone(&runtime.slots).acquire_owned().await;
        let slot = slot.map_err(|_| Failure::transient("the runtime for guests has ended"))?;
        let what = Arc::clone(&self.state.what);
        let wall = self.state.limits.wall;
        let task = async move {
            let meter = Arc::new(Meter::new());
            let call = tokio::time::timeout(wall, meter.measure(self.enter(Arc::clone(&meter))));
            // The call, and its store with it, is gone when the slot is free again.
            let answer = call.await;
            drop(slot);
            answer
        };
        match AbortOnDropHandle::new(runtime.threads().spawn(task)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(failures::wall(&what, wall)),
            // A mistake of this module that this input brings out: it would do so again.
            Err(error) if error.is_panic() => Err(Failure::deterministic(format!("{what}: the host itself failed"))),
            Err(error) => Err(Failure::transient(format!("{what}: the call was cut off")).with_source(error)),
        }
    }

    async fn enter(self, meter: Arc<Meter>) -> Result<Answer, Failure> {
        let Self { pre, state, export } = self;
        let mut store = store(&pre, state, Arc::clone(&meter));
        match call(&pre, &mut store, export).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(text)) => Err(failures::said(store.into_data(), &text)),
            Err(error) => Err(failures::ended(error, store.into_data(), &meter)),
        }
    }
}

fn store(pre: &BuilderPre<CallState>, state: CallState, meter: Arc<Meter>) -> Store<CallState> {
    let (bytes_from_guest, cpu) = (state.limits.bytes_from_guest, state.limits.cpu);
    let mut store = Store::new(pre.engine(), state);
    store.limiter(|state| &mut state.limiter);
    store.set_hostcall_fuel(bytes_from_guest);
    // No type of the contract has handles.
    store.set_max_component_handles(HANDLES_MAX);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |_| {
        Ok(match meter.used() >= cpu {
            true => UpdateDeadline::Interrupt,
            false => UpdateDeadline::Yield(1),
        })
    });
    store
}

const HANDLES_MAX: usize = 64;

async fn call(
    pre: &BuilderPre<CallState>,
    store: &mut Store<CallState>,
    export: Export,
) -> wasmtime::Result<Result<Answer, String>> {
    let builder = pre.instantiate_async(&mut *store).await?;
    let guest = builder.docmill_builder_guest();
    Ok(match export {
        Export::Describe => guest.call_describe(store).await?.map(Answer::Described),
        Export::Resolve { index, table, rows } => {
            guest.call_resolve(store, &index, &table, &rows).await?.map(Answer::Resolved)
        }
        Export::Assemble { index, ids, reads } => {
            guest.call_assemble(store, &index, &ids, &reads).await?.map(Answer::Assembled)
        }
    })
}
