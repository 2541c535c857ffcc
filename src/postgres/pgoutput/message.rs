//! What a message says: one type for each kind, and [`Message`], which is any of them.

use std::fmt;

use bytes::Bytes;

use super::{Text, TupleData};

/// One decoded message. Positions are WAL locations (LSN) as plain numbers; oids are those of the source database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    Begin(Begin),
    Commit(Commit),
    Origin(Origin),
    Relation(Relation),
    Type(Type),
    Insert(Insert),
    Update(Update),
    Delete(Delete),
    Truncate(Truncate),
    Emitted(Emitted),
}

/// A transaction starts. Its changes follow, then its [`Commit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begin {
    /// Where the commit record starts: the transaction's place in the commit order. Never 0.
    pub final_lsn: u64,
    pub committed_at: Timestamp,
    /// The low 32 bits of the transaction's id; widen it with an epoch before comparing it with anything.
    pub xid: u32,
}

/// The transaction of the last [`Begin`] is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commit {
    /// Where the commit record starts: the same as [`Begin::final_lsn`].
    pub commit_lsn: u64,
    /// Just behind the commit record: what may be confirmed once the transaction is durable downstream.
    pub end_lsn: u64,
    pub committed_at: Timestamp,
}

/// The transaction was not born here: it was replicated into the source from another server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The commit's position on that other server.
    pub origin_lsn: u64,
    pub name: Text,
}

/// The shape of a table, from now on until the next message with the same oid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    pub oid: u32,
    /// The schema. Sent empty for `pg_catalog`, but here it has its name.
    pub namespace: Text,
    pub name: Text,
    pub replica_identity: ReplicaIdentity,
    /// The published columns, in the order of every tuple of this table. Dropped columns are not among them; generated
    /// ones and those outside a publication's column list only if the publication says so.
    pub columns: Vec<Column>,
}

/// A column of a [`Relation`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Part of the replica identity: an old key has a value for it. With replica identity full, every column is.
    pub key: bool,
    pub name: Text,
    pub type_oid: u32,
    /// `atttypmod`: for instance the length of a `varchar(n)` plus 4, or -1 for none.
    pub type_modifier: i32,
}

/// What the server sends of the old row, as in `pg_class.relreplident`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReplicaIdentity {
    /// `'d'`: the primary key; nothing if there is none.
    Default,
    /// `'n'`: nothing. The server refuses UPDATE and DELETE while such a table is published.
    Nothing,
    /// `'f'`: the whole old row.
    Full,
    /// `'i'`: the columns of a unique index.
    Index,
}

/// The name of a type that is not built in, before the first [`Relation`] that uses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Type {
    pub oid: u32,
    /// The schema. Sent empty for `pg_catalog`, but here it has its name.
    pub namespace: Text,
    /// The name of the type; for a domain, that of its base type.
    pub name: Text,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Insert {
    /// The table's oid.
    pub relation: u32,
    pub new: TupleData,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// The table's oid.
    pub relation: u32,
    /// What the row was. `None` where the replica identity is a key and this update did not change it: then the key is
    /// in `new`. (A key with a column stored out of line is sent even if it did not change.)
    pub old: Option<OldTuple>,
    pub new: TupleData,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delete {
    /// The table's oid.
    pub relation: u32,
    pub old: OldTuple,
}

/// What a row was before the change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OldTuple {
    /// `'K'`: all columns are there, but only those with [`Column::key`] tell the truth; the others are null.
    Key(TupleData),
    /// `'O'`: the whole old row (replica identity full).
    Full(TupleData),
}

impl OldTuple {
    /// The tuple, whichever it is.
    pub fn tuple(&self) -> &TupleData {
        match self {
            Self::Key(tuple) | Self::Full(tuple) => tuple,
        }
    }
}

/// Tables were emptied in one statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Truncate {
    pub cascade: bool,
    pub restart_identity: bool,
    /// The published ones among the tables that were emptied, those reached by CASCADE included.
    pub relations: Vec<u32>,
}

/// What `pg_logical_emit_message` wrote. Only sent when asked for with the option `messages 'true'`, and then from
/// everybody in the database: know your own by its prefix, and trust neither.
#[derive(Clone, PartialEq, Eq)]
pub struct Emitted {
    /// Part of the transaction around it, and so committed with it. If not, it stands for itself, between transactions.
    pub transactional: bool,
    pub lsn: u64,
    pub prefix: Text,
    /// Any bytes at all: a prefix promises nothing about them.
    pub content: Bytes,
}

/// The content may be anything, so it is never printed.
impl fmt::Debug for Emitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emitted")
            .field("transactional", &self.transactional)
            .field("lsn", &self.lsn)
            .field("prefix", &self.prefix)
            .field("content_bytes", &self.content.len())
            .finish()
    }
}

/// Microseconds since 2000-01-01 00:00 UTC, the way PostgreSQL counts time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// From 1970 to 2000.
    const UNIX_TO_POSTGRES_MICROS: i64 = 946_684_800 * 1_000_000;

    /// Microseconds since 1970-01-01 00:00 UTC; the largest number there is where it would not fit.
    pub fn unix_micros(self) -> i64 {
        self.0.saturating_add(Self::UNIX_TO_POSTGRES_MICROS)
    }
}

/// The kind of a message, as its first byte says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageKind {
    Begin,
    Commit,
    Origin,
    Relation,
    Type,
    Insert,
    Update,
    Delete,
    Truncate,
    Emitted,
}

impl MessageKind {
    /// The kind that a message with this first byte has; `None` for a tag that protocol version 1 does not know.
    pub fn from_tag(tag: u8) -> Option<Self> {
        Some(match tag {
            b'B' => Self::Begin,
            b'C' => Self::Commit,
            b'O' => Self::Origin,
            b'R' => Self::Relation,
            b'Y' => Self::Type,
            b'I' => Self::Insert,
            b'U' => Self::Update,
            b'D' => Self::Delete,
            b'T' => Self::Truncate,
            b'M' => Self::Emitted,
            _ => return None,
        })
    }

    /// The name that PostgreSQL's manual gives it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Begin => "Begin",
            Self::Commit => "Commit",
            Self::Origin => "Origin",
            Self::Relation => "Relation",
            Self::Type => "Type",
            Self::Insert => "Insert",
            Self::Update => "Update",
            Self::Delete => "Delete",
            Self::Truncate => "Truncate",
            Self::Emitted => "Message",
        }
    }
}

impl fmt::Display for MessageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
