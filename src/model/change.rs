//! A change: one row inserted, updated or deleted, or a table truncated, with the position of its commit.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{CellKind, Position, Row, Value};

/// A table by its exact name: as the catalog has it, without quotes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TableName {
    /// The schema.
    pub schema: String,
    /// The table in it.
    pub name: String,
}

impl TableName {
    /// `schema.name`
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self { schema: schema.into(), name: name.into() }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// The kept columns of a table, as they are at one moment of the stream: a later change may carry another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// The table.
    pub table: TableName,
    /// The columns that some index needs: keys first come, then those whose change matters. No others are kept.
    pub columns: Vec<RelationColumn>,
}

impl Relation {
    /// Where a column stands in the rows of this relation.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }
}

/// One kept column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelationColumn {
    /// Its exact name.
    pub name: String,
    /// The form of its values.
    pub kind: CellKind,
}

/// One change, published: a snapshot taken now shows it.
#[derive(Clone, Debug)]
pub struct Change {
    /// Where its transaction's commit record begins.
    pub position: Position,
    /// When its transaction was committed, in microseconds since 1970, by the source's clock.
    pub committed_at_us: i64,
    /// How long after that the source sent it, by the same clock (on a standby by the standby's).
    pub sent_after: Duration,
    /// The table and the kept columns.
    pub relation: Arc<Relation>,
    /// What happened.
    pub kind: ChangeKind,
}

/// What happened to a row, or to the table.
#[derive(Clone, Debug)]
pub enum ChangeKind {
    /// A row that is there now.
    Insert {
        /// It.
        new: Row,
    },
    /// A row that is another now.
    Update {
        /// What it was, so far as the replica identity tells: only key columns are sure to be there. `None` when no
        /// column of the identity changed: then the keys are those of `new`.
        old: Option<OldRow>,
        /// What it is.
        new: Row,
    },
    /// A row that is gone.
    Delete {
        /// What it was.
        old: OldRow,
    },
    /// All rows of the table are gone at once.
    Truncate,
}

/// What a row was.
#[derive(Clone, Debug)]
pub struct OldRow {
    /// Its values. Those outside the replica identity are [`Value::Null`] unless `full`.
    pub row: Row,
    /// Whether all columns are known (`REPLICA IDENTITY FULL`), so that comparing proves what did not change.
    pub full: bool,
}

impl Change {
    /// Bytes this change holds in memory, for the queue's bound.
    pub fn bytes(&self) -> usize {
        let rows = match &self.kind {
            ChangeKind::Insert { new } => new.bytes(),
            ChangeKind::Update { old, new } => new.bytes() + old.as_ref().map_or(0, |old| old.row.bytes()),
            ChangeKind::Delete { old } => old.row.bytes(),
            ChangeKind::Truncate => 0,
        };
        rows + size_of::<Self>()
    }

    /// The images of the changed row: what it was and what it is.
    pub fn images(&self) -> impl Iterator<Item = &Row> {
        let (old, new) = match &self.kind {
            ChangeKind::Insert { new } => (None, Some(new)),
            ChangeKind::Update { old, new } => (old.as_ref().map(|old| &old.row), Some(new)),
            ChangeKind::Delete { old } => (Some(&old.row), None),
            ChangeKind::Truncate => (None, None),
        };
        old.into_iter().chain(new)
    }

    /// Whether this is an update that provably left all of the columns at `columns` as they were. A value that was
    /// not sent because it is unchanged counts as that.
    pub fn leaves(&self, columns: impl IntoIterator<Item = usize>) -> bool {
        let ChangeKind::Update { old: Some(old), new } = &self.kind else {
            return false;
        };
        old.full
            && columns.into_iter().all(|column| match (old.row.0.get(column), new.0.get(column)) {
                (Some(_), Some(Value::Unchanged)) => true,
                (Some(old), Some(new)) => old == new,
                _ => false,
            })
    }
}
