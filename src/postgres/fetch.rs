//! Fetching the rows of one statement into columns, and stopping at the limits of a call.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::TryStreamExt;
use tokio_postgres::{Client, Statement};

use super::cells::push_cell;
use super::options::PostgresOptions;
use super::params::Param;
use super::plan::Plan;
use crate::edges::{Failure, FailureClass};
use crate::model::{ColumnBuilder, Rows};

/// The server ends a statement at its time; past that much more, the connection is taken for dead.
pub(super) const GRACE: Duration = Duration::from_secs(5);

/// Why rows could not be had. Numbers are places among the calls.
#[derive(Debug)]
pub(super) enum RunError {
    Failure(Failure),
    /// A statement of ours: what it was to do.
    Ours(&'static str, tokio_postgres::Error),
    Database(usize, tokio_postgres::Error),
    /// The statement yields other columns than it was planned for.
    Stale(usize),
}

impl From<Failure> for RunError {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

/// Rows and bytes that a call has yielded, against its limits.
#[derive(Debug)]
pub(super) struct Meter {
    rows: AtomicUsize,
    bytes: AtomicUsize,
    rows_max: usize,
    bytes_max: usize,
}

impl Meter {
    pub fn new(options: &PostgresOptions) -> Self {
        Self {
            rows: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            rows_max: options.rows_per_call_max,
            bytes_max: options.bytes_per_call_max,
        }
    }

    fn count(&self, bytes: usize) -> Result<(), Failure> {
        let rows = self.rows.fetch_add(1, Ordering::Relaxed) + 1;
        let bytes = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let (what, max) = match (rows > self.rows_max, bytes > self.bytes_max) {
            (true, _) => ("rows", self.rows_max),
            (_, true) => ("bytes", self.bytes_max),
            _ => return Ok(()),
        };
        Err(Failure::new(
            FailureClass::Oversize,
            format!("failed to read rows: one call yielded more than {max} {what}"),
        ))
    }
}

/// The rows of one statement.
pub(super) async fn rows(
    client: &Client,
    place: usize,
    statement: &Statement,
    params: &[Param],
    plan: &Plan,
    meter: &Meter,
) -> Result<Rows, RunError> {
    let stream = client.query_raw(statement, params).await.map_err(|error| RunError::Database(place, error))?;
    let mut stream = pin!(stream);
    let mut columns: Vec<ColumnBuilder> =
        plan.columns.iter().map(|column| ColumnBuilder::new(column.name.as_str(), column.decode.kind())).collect();
    let mut count = 0;
    let mut scratch = Vec::new();
    while let Some(row) = stream.try_next().await.map_err(|error| RunError::Database(place, error))? {
        meter.count(row.raw_size_bytes())?;
        count += 1;
        for (at, (column, planned)) in columns.iter_mut().zip(&plan.columns).enumerate() {
            push_cell(&row, at, planned.decode, column, &mut scratch).ok_or(RunError::Stale(place))?;
        }
    }
    let columns = columns.into_iter().map(ColumnBuilder::finish).collect();
    Rows::new(count, columns).map_err(|error| Failure::transient("failed to read rows").with_source(error).into())
}

/// The clock is ours: what the server does not end in time is abandoned. The server's own limit is on each of the
/// `statements`, so ours, which must not come first, is on all of them.
pub(super) async fn in_time<T, E: From<Failure>>(
    options: &PostgresOptions,
    statements: usize,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let statements = u32::try_from(statements).unwrap_or(u32::MAX).max(1);
    let limit = options.statement_timeout.saturating_mul(statements) + GRACE;
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
        Err(Failure::transient(format!("failed to read rows: the server did not answer for {limit:?}")).into())
    })
}
