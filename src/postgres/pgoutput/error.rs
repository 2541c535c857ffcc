//! Why bytes are not a message: the message, the place in it, what was expected there and what was found. Counts,
//! lengths and tags only: a value never gets in here.

use std::fmt;

use super::MessageKind;

/// Bytes that are not a message of protocol version 1. Nothing can be read behind them: the stream is damaged, or was
/// asked for in another way than we did, and it will be the same when it is sent again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to decode a pgoutput {} at byte {offset} of {length}: {problem}", Place(self))]
pub struct DecodeError {
    /// What the first byte said; `None` if already that was unknown.
    pub message: Option<MessageKind>,
    /// The table's oid, once it was read.
    pub relation: Option<u32>,
    /// The column, counted from 1 in the order of the relation, when it happened inside of one.
    pub column: Option<u16>,
    /// Where the thing that was expected would have started, counted from 0 at the message's first byte.
    pub offset: usize,
    /// The size of the whole message.
    pub length: usize,
    pub problem: Problem,
}

/// What was expected and what was found instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("expected the first byte of a message of proto_version 1, found no bytes")]
    Empty,
    #[error("expected a message of proto_version 1, found the unknown tag {}", Tag(*.tag))]
    UnknownMessage { tag: u8 },
    #[error(
        "expected a message of proto_version 1, found tag {} ({name}) of proto_version {since}; replication must be \
         started with proto_version '1'", Tag(*.tag)
    )]
    LaterProtocol { tag: u8, name: &'static str, since: u8 },
    #[error("expected {what} in {needed} bytes, found {left} bytes left")]
    Short { what: &'static str, needed: usize, left: usize },
    #[error("expected {what}, ended by a zero byte, found none in the {left} bytes left")]
    Unterminated { what: &'static str, left: usize },
    #[error(
        "expected {what} in UTF-8, found {bytes} bytes that are not; the replication connection needs \
         client_encoding = UTF8, and a database with encoding SQL_ASCII may hold values that are in no encoding at all"
    )]
    NotUtf8 { what: &'static str, bytes: usize },
    #[error("expected {what}, found {}", Tag(*.found))]
    Tag { what: &'static str, found: u8 },
    #[error(
        "expected the value as text, found the binary form ('b'), which is never asked for; replication must be \
         started without the option binary"
    )]
    Binary,
    #[error("expected {what} within the bits {known:#04x}, found {found:#04x}")]
    Flags { what: &'static str, known: u8, found: u8 },
    #[error("expected a length of at least 0 for {what}, found {found}")]
    NegativeLength { what: &'static str, found: i32 },
    #[error("expected at most {max} {what}, found {found}")]
    TooMany { what: &'static str, found: u32, max: u32 },
    #[error("expected {found} {what} in at least {needed} bytes, found {left} bytes left")]
    CountBeyondEnd { what: &'static str, found: u32, needed: u64, left: usize },
    #[error("expected a final LSN, found 0/0")]
    NoPosition,
    #[error("expected the end of the message, found {left} bytes left")]
    Trailing { left: usize },
}

/// `Insert message (relation 16385, column 3)`
struct Place<'a>(&'a DecodeError);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(kind) = self.0.message {
            write!(f, "{kind} ")?;
        }
        f.write_str("message")?;
        match (self.0.relation, self.0.column) {
            (Some(relation), Some(column)) => write!(f, " (relation {relation}, column {column})"),
            (Some(relation), None) => write!(f, " (relation {relation})"),
            (None, Some(column)) => write!(f, " (column {column})"),
            (None, None) => Ok(()),
        }
    }
}

/// `'x'`, or `0x07` where there is no glyph for it.
struct Tag(u8);

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_ascii_graphic() { write!(f, "'{}'", char::from(self.0)) } else { write!(f, "{:#04x}", self.0) }
    }
}
