//! Fetching the rows of one statement into columns, and stopping at the limits of a call.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::TryStreamExt;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, RowStream, Statement};

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
    /// More than a call may yield; whether the statement was read to its end all the same.
    OverLimit(Failure, bool),
}

impl RunError {
    /// Whether the connection needs only to be cleaned: its statement has ended, and what is prepared on it is not to blame. Opening
    /// another one costs the server 10 ms and more.
    pub fn leaves_nothing(&self) -> bool {
        match self {
            Self::Failure(_) | Self::Ours(..) | Self::Stale(_) => false,
            Self::OverLimit(_, ended) => *ended,
            Self::Database(_, error) => error.code().is_some_and(|code| {
                let of_values = |class| code.code().starts_with(class);
                OF_VALUES.into_iter().any(of_values) || OF_TIME.contains(code) || only_behind(code)
            }),
        }
    }
}

/// Classes of errors that come of the values which a statement met: cardinality, data, a domain's check, a limit of the server, a function that
/// raised.
const OF_VALUES: [&str; 5] = ["21", "22", "23", "54", "P0"];
/// It took too long, or waited too long.
const OF_TIME: [SqlState; 2] = [SqlState::QUERY_CANCELED, SqlState::LOCK_NOT_AVAILABLE];

/// Whether a statement failed only because its transaction had failed before it.
pub(super) fn only_behind(code: &SqlState) -> bool {
    *code == SqlState::IN_FAILED_SQL_TRANSACTION
}

/// What is read of a statement after it was over the limit, to see it end; past that its connection is closed. A statement has one row
/// more than a call may yield, and may have more when it is one of several.
const REST_ROWS_MAX: usize = 1_000;
const REST_BYTES_MAX: usize = 1 << 20;
const REST_TIME_MAX: Duration = Duration::from_millis(100);

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

/// For each row: a server that sends faster than rows are read would keep the thread for all of them, and others who stand in line on
/// it would wait for tens of milliseconds.
pub(super) async fn take_turns() {
    tokio::task::consume_budget().await;
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
        if let Err(failure) = meter.count(row.raw_size_bytes()) {
            return Err(RunError::OverLimit(failure, ends(stream).await));
        }
        take_turns().await;
        count += 1;
        for (at, (column, planned)) in columns.iter_mut().zip(&plan.columns).enumerate() {
            push_cell(&row, at, planned.decode, column, &mut scratch).ok_or(RunError::Stale(place))?;
        }
    }
    let columns = columns.into_iter().map(ColumnBuilder::finish).collect();
    Rows::new(count, columns).map_err(|error| Failure::transient("failed to read rows").with_source(error).into())
}

/// Whether the rest of a statement is short; it is dropped.
async fn ends(mut rest: Pin<&mut RowStream>) -> bool {
    let reading = async {
        let (mut rows, mut bytes) = (0, 0);
        while rows < REST_ROWS_MAX && bytes < REST_BYTES_MAX {
            match rest.try_next().await {
                Ok(Some(row)) => (rows, bytes) = (rows + 1, bytes + row.raw_size_bytes()),
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
        false
    };
    tokio::time::timeout(REST_TIME_MAX, reading).await.unwrap_or(false)
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
