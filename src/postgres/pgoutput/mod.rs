//! The messages of PostgreSQL's output plugin `pgoutput`, protocol version 1, as PostgreSQL 14 to 18 send them. Pure:
//! bytes in, messages out; no connection, no state, no knowledge of the tables.
//!
//! ```text
//! Begin        final LSN, commit time, xid: the transaction is already committed, so all of it is here
//! │ Origin     only if it was replicated into the source from elsewhere
//! │ Type       before the Relation that uses it, for types that are not built in
//! │ Relation   before the first row of a table on this connection, and again after anything about it changed
//! │ Insert     new
//! │ Update     old key (only if it changed) or old row (replica identity full), then new
//! │ Delete     old key or old row
//! │ Truncate   one message, several tables
//! │ Emitted    pg_logical_emit_message(true, ..)
//! Commit       commit LSN, end LSN, commit time
//!
//! Emitted      pg_logical_emit_message(false, ..): between transactions, even if its own is rolled back
//!
//! a tuple:     count ┬ 'n'                     null
//!                    ├ 'u'                     stored out of line and unchanged: not sent
//!                    └ 't' length text         the value as text
//! ```
//!
//! Three things that a reader of these messages has to know:
//!
//! - The columns of a tuple are those of the last [`Relation`] of that oid, in that order, by position only. Whoever
//!   keeps the relations compares the counts: this decoder has no memory.
//! - An old **key** ([`OldTuple::Key`]) still has all columns; those that are not part of the key say null and mean
//!   nothing.
//! - Nothing here copies a value: a message holds slices of the buffer it came in. What is kept for longer than the
//!   message is copied, or it keeps the whole buffer alive.
//!
//! Bytes from outside never panic us. Whatever [`decode`] lets through is checked to its last byte, so that iterating
//! over cells afterwards cannot fail.

mod decode;
mod error;
mod message;
mod reader;
mod text;
mod tuple;

pub use decode::decode;
pub use error::{DecodeError, Problem};
pub use message::{
    Begin, Column, Commit, Delete, Emitted, Insert, Message, MessageKind, OldTuple, Origin, Relation, ReplicaIdentity,
    Timestamp, Truncate, Type, Update,
};
pub use text::Text;
pub use tuple::{COLUMNS_MAX, Cell, Cells, TupleData};

/// The version to ask for in `START_REPLICATION … (proto_version '1')`; the only one that [`decode`] understands.
///
/// Later versions add transactions that are streamed before they commit, and two-phase commit: both would mean to
/// buffer here what the server buffers for us.
pub const PROTO_VERSION: u32 = 1;
