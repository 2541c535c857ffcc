//! Where changes come from.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use super::{Failure, RowReader};
use crate::model::{Change, Columns, Position, SourceIdentity, TableName};

/// A source of committed changes, and of the rows that they are about.
#[async_trait]
pub trait ChangeCapture: Debug + Send + Sync {
    /// Makes sure that changes of these tables are recorded from now on and opens the stream of them.
    ///
    /// When it returns, the *quiet point* has passed: every transaction whose changes the stream will not bring is
    /// visible to every snapshot taken from now on, so that a backfill may begin. May wait for as long as a
    /// transaction of somebody else is open; says so through `tracing`.
    ///
    /// # Errors
    ///
    /// `Transient` when the source cannot be reached or the slot is in use; `Fatal` when a person must act, with the
    /// statement to run.
    async fn open(&self, tables: &[CapturedTable]) -> Result<Box<dyn ChangeStream>, Failure>;

    /// Writes a marker into the source's log, which comes back in the stream as [`CaptureEvent::Marker`], in its place among
    /// the transactions.
    async fn mark(&self, token: u64) -> Result<(), Failure>;

    /// Reads rows on the server that the stream comes from: what was published is visible to it.
    fn reader(&self) -> Arc<dyn RowReader>;
}

/// A table whose changes are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapturedTable {
    /// The table.
    pub table: TableName,
    /// The columns whose values are wanted, old ones too.
    pub keys: Vec<String>,
    /// The columns whose change matters; with [`Columns::Any`] all are kept.
    pub columns: Columns,
}

/// An open stream of changes.
#[async_trait]
pub trait ChangeStream: Send {
    /// What is known at its start.
    fn start(&self) -> &StreamStart;

    /// The next event, in commit order, each transaction whole and only when a snapshot taken now shows it. Dropping
    /// the future loses nothing.
    ///
    /// # Errors
    ///
    /// `Transient` when the connection ended: open again, and what was not confirmed comes again. `Fatal` when the
    /// source is not the one it was.
    async fn next(&mut self) -> Result<CaptureEvent, Failure>;

    /// Everything at or before `position` is durable downstream and need not come again. Cheap; sent in the
    /// background.
    fn confirm(&self, position: Position);

    /// Sends what was confirmed last, waits until the source has it (or cannot be reached), and ends the stream.
    async fn close(self: Box<Self>);
}

/// What is known at the start of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamStart {
    /// Where changes come from.
    pub identity: SourceIdentity,
    /// Everything at or before it was confirmed by whoever read this stream before; the stream begins behind it.
    pub confirmed: Position,
    /// Where the source's log ended: every commit so far is at or before it.
    pub flushed: Position,
    /// The source's next transaction id, 64 bits.
    pub next_xid: u64,
    /// Whether the stream was made just now, so that nothing before it will come.
    pub created: bool,
}

/// One event of a stream.
#[derive(Clone, Debug)]
pub enum CaptureEvent {
    /// A change.
    Change(Change),
    /// Behind the last change of a transaction; `position` is the end of its commit record.
    End {
        /// Confirming it confirms the transaction.
        position: Position,
        /// In microseconds since 1970.
        committed_at_us: i64,
    },
    /// No transaction of ours up to `position`.
    Idle {
        /// It may be confirmed once everything before it is durable.
        position: Position,
    },
    /// A marker that [`ChangeCapture::mark`] wrote; every commit before `position` was published.
    Marker {
        /// Which.
        token: u64,
        /// Where.
        position: Position,
    },
}
