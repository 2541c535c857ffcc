//! What a guest may call while it runs: its configuration, a bounded log, and declared queries of one snapshot.

use std::sync::Arc;

use super::bindings::docmill::builder::{host, source, types};
use super::limits::{Limiter, Limits};
use super::{check, convert};
use crate::edges::{Failure, Snapshot};
use crate::model::{Declaration, RowForm};

/// The state of one call. It goes with the call's store.
pub(super) struct CallState {
    /// The builder and the export, for errors.
    pub(super) what: Arc<str>,
    pub(super) pipeline: Arc<str>,
    pub(super) config: Arc<str>,
    pub(super) limits: Arc<Limits>,
    pub(super) limiter: Limiter,
    /// What the guest may read: only while it assembles.
    pub(super) source: Option<Reading>,
    /// Why the call was ended by the host, when it was.
    pub(super) ended: Option<Failure>,
    pub(super) log: Vec<String>,
    pub(super) logged: usize,
}

/// A snapshot, with what was taken from it so far.
pub(super) struct Reading {
    pub(super) snapshot: Box<dyn Snapshot>,
    pub(super) declaration: Arc<Declaration>,
    pub(super) form: RowForm,
    pub(super) queries: usize,
    pub(super) rows: usize,
    pub(super) bytes: usize,
}

/// Log lines of a call that are kept for its error.
const LAST_LINES: usize = 5;

impl types::Host for CallState {}

impl host::Host for CallState {
    fn config(&mut self) -> wasmtime::Result<String> {
        Ok(self.config.to_string())
    }

    fn log(&mut self, level: types::Level, message: String) -> wasmtime::Result<()> {
        if self.logged >= self.limits.log_bytes {
            return Ok(());
        }
        let line = check::printable(&message, self.limits.log_line_bytes);
        self.logged += line.len() + 1;
        let pipeline = &*self.pipeline;
        match level {
            types::Level::Debug => tracing::debug!(target: "docmill::guest", pipeline, "{line}"),
            types::Level::Info => tracing::info!(target: "docmill::guest", pipeline, "{line}"),
            types::Level::Warn => tracing::warn!(target: "docmill::guest", pipeline, "{line}"),
            types::Level::Error => tracing::error!(target: "docmill::guest", pipeline, "{line}"),
        }
        if self.log.len() == LAST_LINES {
            self.log.remove(0);
        }
        self.log.push(line);
        Ok(())
    }
}

impl source::Host for CallState {
    async fn run(&mut self, queries: Vec<types::Query>) -> wasmtime::Result<Vec<types::Rowset>> {
        match self.read(convert::queries(queries)).await {
            Ok(answers) => Ok(answers),
            Err(failure) => {
                // Towards the guest this is a trap that it cannot catch: the whole call ends here.
                let ended = wasmtime::format_err!("the host ended the call");
                self.ended = Some(failure);
                Err(ended)
            }
        }
    }
}

impl CallState {
    async fn read(&mut self, queries: Vec<crate::model::Query>) -> Result<Vec<types::Rowset>, Failure> {
        let (what, limits) = (&self.what, &self.limits);
        let Some(reading) = &mut self.source else {
            return Err(Failure::deterministic(format!("{what}: source.run was called outside assemble")));
        };
        check::queries(what, &reading.declaration, limits, &queries)?;
        reading.queries += queries.len();
        if reading.queries > limits.queries {
            return Err(check::over(what, "queries", reading.queries, limits.queries));
        }
        let answers = reading.snapshot.run(&queries).await?;
        for rows in &answers {
            reading.rows += rows.count() as usize;
            reading.bytes += rows.bytes();
        }
        if reading.rows > limits.rows {
            return Err(check::over(what, "rows", reading.rows, limits.rows));
        }
        if reading.bytes > limits.bytes_to_guest {
            return Err(check::over(what, "bytes_to_guest", reading.bytes, limits.bytes_to_guest));
        }
        let form = reading.form;
        Ok(answers.into_iter().map(|rows| convert::rowset(rows, form)).collect())
    }
}
