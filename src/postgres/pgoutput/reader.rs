//! A cursor over one message: every step is checked against the bytes that are left, and every failure knows its place.

use bytes::Bytes;

use super::error::{DecodeError, Problem};
use super::{MessageKind, Text};

/// Reads a message from front to back.
pub(super) struct Reader<'a> {
    message: &'a Bytes,
    /// What is left to read: always a tail of `message`.
    rest: &'a [u8],
    kind: Option<MessageKind>,
    relation: Option<u32>,
    column: Option<u16>,
}

impl<'a> Reader<'a> {
    pub fn new(message: &'a Bytes) -> Self {
        Self { message, rest: message, kind: None, relation: None, column: None }
    }

    /// From here on, errors name this message,
    pub fn at_message(&mut self, kind: MessageKind) {
        self.kind = Some(kind);
    }

    /// this table,
    pub fn at_relation(&mut self, oid: u32) {
        self.relation = Some(oid);
    }

    /// and this column, counted from 1.
    pub fn at_column(&mut self, column: u16) {
        self.column = Some(column);
    }

    pub fn at_no_column(&mut self) {
        self.column = None;
    }

    /// How far we are, in bytes from the message's first.
    pub fn offset(&self) -> usize {
        self.message.len() - self.rest.len()
    }

    #[cold]
    pub fn error(&self, offset: usize, problem: Problem) -> DecodeError {
        DecodeError {
            message: self.kind,
            relation: self.relation,
            column: self.column,
            offset,
            length: self.message.len(),
            problem,
        }
    }

    pub fn u8(&mut self, what: &'static str) -> Result<u8, DecodeError> {
        self.array(what).map(|[byte]| byte)
    }

    pub fn u16(&mut self, what: &'static str) -> Result<u16, DecodeError> {
        self.array(what).map(u16::from_be_bytes)
    }

    pub fn u32(&mut self, what: &'static str) -> Result<u32, DecodeError> {
        self.array(what).map(u32::from_be_bytes)
    }

    pub fn i32(&mut self, what: &'static str) -> Result<i32, DecodeError> {
        self.array(what).map(i32::from_be_bytes)
    }

    pub fn u64(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        self.array(what).map(u64::from_be_bytes)
    }

    pub fn i64(&mut self, what: &'static str) -> Result<i64, DecodeError> {
        self.array(what).map(i64::from_be_bytes)
    }

    /// A byte of which only the `known` bits may be set: a bit that we do not know would change the message's meaning.
    pub fn flags(&mut self, what: &'static str, known: u8) -> Result<u8, DecodeError> {
        let at = self.offset();
        let found = self.u8(what)?;
        if found & !known != 0 {
            return Err(self.error(at, Problem::Flags { what, known, found }));
        }
        Ok(found)
    }

    /// A count of things that take at least `bytes_each`, checked before anybody allocates for them.
    pub fn count_u16(&mut self, what: &'static str, max: u16, bytes_each: usize) -> Result<u16, DecodeError> {
        let at = self.offset();
        let found = self.u16(what)?;
        if found > max {
            return Err(self.error(at, Problem::TooMany { what, found: found.into(), max: max.into() }));
        }
        self.check_count(at, what, found.into(), bytes_each)?;
        Ok(found)
    }

    /// The same for a count with no limit but the message's size.
    pub fn count_u32(&mut self, what: &'static str, bytes_each: usize) -> Result<u32, DecodeError> {
        let at = self.offset();
        let found = self.u32(what)?;
        // The things counted may stand behind other fields: those are checked when they are read.
        self.check_count(at, what, found, bytes_each)?;
        Ok(found)
    }

    fn check_count(&self, at: usize, what: &'static str, found: u32, bytes_each: usize) -> Result<(), DecodeError> {
        let needed = u64::from(found) * bytes_each as u64;
        let left = self.rest.len();
        if needed > left as u64 {
            return Err(self.error(at, Problem::CountBeyondEnd { what, found, needed, left }));
        }
        Ok(())
    }

    /// Text up to a zero byte, which is taken too.
    pub fn name(&mut self, what: &'static str) -> Result<Text, DecodeError> {
        let at = self.offset();
        let Some(length) = self.rest.iter().position(|&byte| byte == 0) else {
            return Err(self.error(at, Problem::Unterminated { what, left: self.rest.len() }));
        };
        let bytes = self.message.slice(at..at + length);
        self.rest = &self.rest[length + 1..];
        Text::new(bytes).ok_or_else(|| self.error(at, Problem::NotUtf8 { what, bytes: length }))
    }

    /// Bytes behind their length.
    pub fn bytes(&mut self, what: &'static str) -> Result<Bytes, DecodeError> {
        let (at, bytes) = self.counted(what)?;
        Ok(self.message.slice(at..at + bytes.len()))
    }

    /// Walks over text behind its length, and makes sure that it is UTF-8.
    pub fn skip_text(&mut self, what: &'static str) -> Result<(), DecodeError> {
        let (at, bytes) = self.counted(what)?;
        match std::str::from_utf8(bytes) {
            Ok(_) => Ok(()),
            Err(_) => Err(self.error(at, Problem::NotUtf8 { what, bytes: bytes.len() })),
        }
    }

    /// What was read since `start`, an earlier [`Reader::offset`].
    pub fn slice_from(&self, start: usize) -> Bytes {
        self.message.slice(start..self.offset())
    }

    /// The message must be over.
    pub fn end(&self) -> Result<(), DecodeError> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(self.error(self.offset(), Problem::Trailing { left })),
        }
    }

    /// A length, and that many bytes; with the offset of the first of them.
    fn counted(&mut self, what: &'static str) -> Result<(usize, &'a [u8]), DecodeError> {
        let at = self.offset();
        let found = self.i32(what)?;
        let Ok(length) = usize::try_from(found) else {
            return Err(self.error(at, Problem::NegativeLength { what, found }));
        };
        let at = self.offset();
        let Some((bytes, rest)) = self.rest.split_at_checked(length) else {
            return Err(self.error(at, Problem::Short { what, needed: length, left: self.rest.len() }));
        };
        self.rest = rest;
        Ok((at, bytes))
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], DecodeError> {
        let Some((bytes, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(self.error(self.offset(), Problem::Short { what, needed: N, left: self.rest.len() }));
        };
        self.rest = rest;
        Ok(*bytes)
    }
}
