//! Where changes come from.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;

use super::{Failure, Observer, RowReader, Silent};
use crate::model::{Change, Columns, Position, SourceIdentity, TableName};

/// A source of committed changes, and of the rows that they are about.
#[async_trait]
pub trait ChangeCapture: Debug + Send + Sync {
    /// Makes sure that changes of these tables are recorded from now on and opens the stream of them.
    ///
    /// When it returns, the *quiet point* has passed: every transaction whose changes the stream will not bring is
    /// visible to every snapshot taken from now on, so that a backfill may begin. May wait for as long as a
    /// transaction of somebody else is open; says so to the request's observer.
    ///
    /// # Errors
    ///
    /// `Transient` when the source cannot be reached or the slot is in use; `Fatal` when a person must act, with the
    /// statement to run.
    async fn open(&self, request: &OpenRequest<'_>) -> Result<Box<dyn ChangeStream>, Failure>;

    /// Writes a marker into the source's log, which comes back in the stream as [`CaptureEvent::Marker`], in its place among
    /// the transactions.
    async fn mark(&self, token: u64) -> Result<(), Failure>;

    /// How the source's record of changes stands now: what it retains for us, and whether it is in danger. `None` where a
    /// source has nothing like that, or it is gone.
    async fn slot(&self) -> Result<Option<SlotReport>, Failure>;

    /// Reads rows on the server that the stream comes from: what was published is visible to it.
    fn reader(&self) -> Arc<dyn RowReader>;
}

/// What a stream is opened for.
#[derive(Clone, Debug)]
pub struct OpenRequest<'a> {
    /// The tables.
    pub tables: &'a [CapturedTable],
    /// Whether a destination was fed from this stream before, so that a record of changes that is not there any more is lost
    /// and not just still to be made.
    pub known: bool,
    /// Up to where that destination has everything, where it is known: a stream that is shared need not bring it again.
    pub since: Option<Since>,
    /// What to do when it is lost.
    pub on_lost: OnLostSlot,
    /// Told what the stream waits on, now and later.
    pub observer: Arc<dyn Observer>,
}

impl<'a> OpenRequest<'a> {
    /// For these tables, of a source that nobody was fed from yet, with nobody told.
    pub fn of(tables: &'a [CapturedTable]) -> Self {
        Self { tables, known: false, since: None, on_lost: OnLostSlot::default(), observer: Arc::new(Silent) }
    }
}

/// Everything of this source at or before a position is durable in the destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Since {
    /// The source. A position means nothing in the log of another.
    pub source: SourceIdentity,
    /// The position.
    pub position: Position,
}

/// What happens when changes since the checkpoint are lost: the slot is gone, was given up by the server, made again or moved on
/// by somebody else, or the source is another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLostSlot {
    /// A new one is made, and every document assembled again.
    #[default]
    Rebuild,
    /// The pipeline stops with advice.
    Refuse,
}

/// How a replication slot stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotReport {
    /// Bytes of log that the source keeps for it.
    pub retained_bytes: Option<u64>,
    /// Bytes that may still be written before it is in danger of being given up; `None` where there is no such limit.
    pub safe_bytes: Option<i64>,
    /// The server's word for it: `reserved`, `extended`, `unreserved`, `lost`.
    pub status: String,
    /// Why the server gave it up, if it did.
    pub lost: Option<String>,
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

impl CapturedTable {
    /// Adds what somebody else captures of the same table.
    pub fn add(&mut self, keys: &[String], columns: &Columns) {
        merge(&mut self.keys, keys);
        match (&mut self.columns, columns) {
            (Columns::Listed(have), Columns::Listed(more)) => merge(have, more),
            (columns, Columns::Any) => *columns = Columns::Any,
            (Columns::Any, Columns::Listed(_)) => {}
        }
    }

    /// Whether it holds all that `other`, of the same table, needs.
    pub fn covers(&self, other: &CapturedTable) -> bool {
        let all = |have: &[String], wanted: &[String]| wanted.iter().all(|column| have.contains(column));
        all(&self.keys, &other.keys)
            && match (&self.columns, &other.columns) {
                (Columns::Any, _) => true,
                (Columns::Listed(_), Columns::Any) => false,
                (Columns::Listed(have), Columns::Listed(wanted)) => all(have, wanted),
            }
    }
}

fn merge(have: &mut Vec<String>, more: &[String]) {
    for column in more {
        if !have.contains(column) {
            have.push(column.clone());
        }
    }
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

    /// Ends when the source has ended a session that belongs to the stream, though [`next`](Self::next) may still give events: also
    /// for whoever holds it without asking for any. It is to be dropped then: a server that is shut down may wait for as long as
    /// it is held.
    fn lost(&self) -> Lost;

    /// Everything at or before `position` is durable downstream and need not come again. Cheap; sent in the
    /// background.
    fn confirm(&self, position: Position);

    /// Sends what was confirmed last, waits until the source has it (or cannot be reached), and ends the stream.
    async fn close(self: Box<Self>);
}

/// Waits for the end of a stream.
pub type Lost = Pin<Box<dyn Future<Output = Failure> + Send>>;

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
    /// A mark that changes when the source recovered from a crash; `None` where it cannot be known.
    pub crash_sign: Option<String>,
    /// Whether such a crash may have lost commits that were seen before it (asynchronous commit).
    pub loses_commits: bool,
    /// What the source's catalog says of each captured table, as a fingerprint: a difference means that content may have
    /// changed without a change of a row in the stream.
    pub catalog: Catalog,
}

impl StreamStart {
    /// Whether it brings everything behind `confirmed` of what a stream that began as `before` would have brought: the same source,
    /// which has neither gone back nor lost commits nor let go of anything since. The slots may be two.
    pub fn goes_on(&self, before: &StreamStart, confirmed: Position) -> bool {
        let (was, is) = (&before.identity, &self.identity);
        (&was.system_identifier, was.timeline, &was.database) == (&is.system_identifier, is.timeline, &is.database)
            && !self.created
            && !self.lost_commits(before)
            && self.confirmed <= confirmed
            && self.flushed >= confirmed
    }

    /// Whether the source has recovered since from a crash that may have lost commits.
    pub fn lost_commits(&self, before: &StreamStart) -> bool {
        self.loses_commits && self.crash_sign != before.crash_sign
    }
}

/// A fingerprint for each captured table.
pub type Catalog = BTreeMap<TableName, String>;

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
        /// The source's next transaction id, 64 bits, as it was seen last.
        next_xid: u64,
    },
    /// Tables are not what they were: content of them may have changed without a change of a row in the stream.
    Catalog {
        /// Their new fingerprints; the same as before asks for a look all the same.
        tables: Catalog,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn table(keys: &[&str], columns: Columns) -> CapturedTable {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        CapturedTable { table: TableName::new("public", "t"), keys, columns }
    }

    #[test]
    fn what_is_captured_for_several_covers_each_of_them_and_no_more() {
        let listed = |columns: &[&str]| Columns::Listed(columns.iter().map(|column| (*column).to_owned()).collect());
        let (one, other) = (table(&["id"], listed(&["a"])), table(&["code", "id"], listed(&["b"])));
        let mut both = one.clone();
        both.add(&other.keys, &other.columns);
        assert_eq!(both, table(&["id", "code"], listed(&["a", "b"])));
        assert!(both.covers(&one) && both.covers(&other));
        assert!(!one.covers(&both) && !both.covers(&table(&["id"], Columns::Any)));
        both.add(&[], &Columns::Any);
        assert!(both.covers(&table(&["id"], Columns::Any)));
    }
}
