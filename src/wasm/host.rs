//! What a guest may call while it runs: its configuration, a bounded log, and declared queries of one snapshot.

use std::sync::Arc;

use super::bindings::docmill::builder::{host, source, types};
use super::convert;
use super::guest_log::GuestLog;
use super::limiter::Limiter;
use super::limits::Limits;
use super::reading::Reading;
use crate::edges::Failure;

/// The state of one call. It goes with the call's store.
pub(super) struct CallState {
    /// The builder and the export, for errors.
    pub(super) what: Arc<str>,
    pub(super) config: Arc<str>,
    pub(super) limits: Arc<Limits>,
    pub(super) limiter: Limiter,
    pub(super) log: GuestLog,
    /// What the guest may read: only while it assembles.
    pub(super) reading: Option<Reading>,
    /// Why the host ended the call, when it did.
    pub(super) ended: Option<Failure>,
}

impl types::Host for CallState {}

impl host::Host for CallState {
    fn config(&mut self) -> wasmtime::Result<String> {
        Ok(self.config.to_string())
    }

    fn log(&mut self, level: types::Level, message: String) -> wasmtime::Result<()> {
        self.log.line(level, &message);
        Ok(())
    }
}

impl source::Host for CallState {
    async fn run(&mut self, queries: Vec<types::Query>) -> wasmtime::Result<Vec<types::Rowset>> {
        let answer = match &mut self.reading {
            Some(reading) => reading.run(&self.what, &self.limits, convert::queries(queries)).await,
            None => {
                Err(Failure::deterministic(format!("{}: it called source.run, which only assemble may", self.what)))
            }
        };
        answer.map_err(|failure| {
            // Towards the guest this is a trap that it cannot catch: the whole call ends here.
            self.ended = Some(failure);
            wasmtime::format_err!("the host ended the call")
        })
    }
}
