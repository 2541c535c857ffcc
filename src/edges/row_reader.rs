//! Reading rows: what `resolve` needs to hop, what `assemble` is handed, and the root rows of a backfill.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use super::Failure;
use crate::model::{Declaration, Position, Query, Rows, TableName};

/// Reads rows of the source.
#[async_trait]
pub trait RowReader: Debug + Send + Sync {
    /// Checks every declared statement on the live database and makes them ready to run.
    ///
    /// # Errors
    ///
    /// `Fatal` naming **all** statements that are not acceptable, each with what the database says; `Transient` when
    /// it cannot be reached.
    async fn prepare(&self, declaration: &Declaration) -> Result<Arc<dyn QuerySet>, Failure>;

    /// The next rows of a table in the order of its primary key, the columns `keys` of them.
    ///
    /// `after` is the `last` of the chunk before; `None` begins. At most `limit` rows.
    async fn chunk(
        &self,
        table: &TableName,
        keys: &[String],
        after: Option<&[String]>,
        limit: usize,
    ) -> Result<Chunk, Failure>;

    /// About how many rows a table has, for progress; `None` where nothing is known.
    async fn estimate(&self, table: &TableName) -> Result<Option<u64>, Failure>;

    /// Where the source's log ends on disk: no version that is ours can be past it.
    async fn flush_position(&self) -> Result<Position, Failure>;
}

/// Rows of a table in key order.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// The wanted columns.
    pub rows: Rows,
    /// The primary key of the last row, as text; `None` when there was no row.
    pub last: Option<Vec<String>>,
    /// Whether the table ended here.
    pub done: bool,
}

/// The statements of one builder, ready to run.
#[async_trait]
pub trait QuerySet: Debug + Send + Sync {
    /// Opens what some queries yield as ids: all of them in one round trip where they are few, read in pieces where they are
    /// many. Null ids are left out.
    async fn ids(&self, queries: &[Query]) -> Result<Box<dyn IdCursor>, Failure>;

    /// One moment of the database: begins a read-only repeatable-read transaction and answers `queries` in the same
    /// round trip, in order.
    ///
    /// # Errors
    ///
    /// `Oversize` when the answers are past the limits on rows or bytes of a call; `Transient` for what the
    /// connection or the server did; `Deterministic` for a statement that fails on these parameters.
    async fn snapshot(&self, queries: &[Query]) -> Result<(Vec<Rows>, Box<dyn Snapshot>), Failure>;
}

/// Ids read in pieces.
#[async_trait]
pub trait IdCursor: Send {
    /// At most `limit` more; an empty answer is the end.
    async fn next(&mut self, limit: usize) -> Result<Vec<String>, Failure>;
}

/// One moment of the database, for as long as this lives. Dropping it ends the transaction.
#[async_trait]
pub trait Snapshot: Send {
    /// One answer for each query, in order, all of the same moment.
    async fn run(&mut self, queries: &[Query]) -> Result<Vec<Rows>, Failure>;
}
