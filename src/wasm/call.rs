//! One call: a fresh store and instance, its limits installed before anything of the guest runs, dropped afterwards. A
//! call consumes itself, so a store that saw a trap cannot be used again.
//!
//! ```text
//! caller's runtime                guests' runtime
//! wait for a slot ── lane ──▶ [ wall clock [ CPU meter [ instantiate ─▶ call the export ] ─▶ check ] ]
//!      what was checked ◀── join ──┘      └── each tick: yield, or end when the CPU budget is used up
//! ```
//!
//! What it answered is checked where it ran, while it has its slot: reading through 16 MiB of documents is its doing, and must not
//! hold up the threads that neighbours' changes pass through.

use std::sync::Arc;

use wasmtime::{Store, UpdateDeadline};

use super::bindings::BuilderPre;
use super::bindings::docmill::builder::types::{Affected, Outcome, Rowset};
use super::failures;
use super::guest::Places;
use super::host::CallState;
use super::lane::UnderWay;
use super::limits::Limits;
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
    /// Runs on the guests' own threads once a slot is free, and `check` after it, on its answer. When the caller's future is
    /// dropped, the guest ends at its next tick.
    pub(super) async fn run<T: Send + 'static>(
        self,
        runtime: &Runtime,
        places: &Places,
        check: impl FnOnce(Answer) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let slot = places.slots.acquire().await;
        let (what, wall) = (Arc::clone(&self.state.what), self.state.limits.wall);
        let meter = Arc::new(Meter::new());
        let entered = Arc::clone(&meter);
        let call = Box::pin(async move { check(entered.measure(self.enter(Arc::clone(&entered))).await?) });
        UnderWay::new(call, meter, wall, slot).run(&what, runtime, places).await
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
    let Limits { bytes_from_guest, cpu, handles, .. } = *state.limits;
    let mut store = Store::new(pre.engine(), state);
    store.limiter(|state| &mut state.limiter);
    store.set_hostcall_fuel(bytes_from_guest);
    // No type of the contract has handles, but the parts of a component may hand them to one another.
    store.set_max_component_handles(handles);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |_| {
        Ok(match meter.used() >= cpu {
            true => UpdateDeadline::Interrupt,
            false => UpdateDeadline::Yield(1),
        })
    });
    store
}

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
