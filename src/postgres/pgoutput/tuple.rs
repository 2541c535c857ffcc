//! [`TupleData`]: one row, or one key, as it came. Checked once when it is decoded; nothing is allocated for its cells.

use std::fmt;

use bytes::Bytes;

use super::error::{DecodeError, Problem};
use super::reader::Reader;
use super::text::checked_earlier;

/// The most columns that a tuple can have in PostgreSQL: `MaxTupleAttributeNumber` in
/// `src/include/access/htup_details.h` (the format of a stored row does not allow for more). A table has at most 1,600.
pub const COLUMNS_MAX: u16 = 1_664;

/// The columns of a row in the order of its [`Relation`](super::Relation), to be walked with [`TupleData::cells`].
///
/// Equal if the bytes are equal.
#[derive(Clone, PartialEq, Eq)]
pub struct TupleData {
    columns: u16,
    /// All cells, tags and lengths included. Only `read` makes one, and it has checked that they are `columns` whole
    /// cells with nothing behind them and every text in UTF-8: [`Cells`] relies on it.
    bytes: Bytes,
}

impl TupleData {
    /// Takes a tuple off the reader, checking every cell.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let columns = reader.count_u16("columns of a tuple", COLUMNS_MAX, 1)?;
        let start = reader.offset();
        for column in 1..=columns {
            reader.at_column(column);
            let at = reader.offset();
            match reader.u8("the form of a column")? {
                b'n' | b'u' => {}
                b't' => reader.skip_text("the text of a column")?,
                b'b' => return Err(reader.error(at, Problem::Binary)),
                found => {
                    let what = "the form of a column: 'n', 'u' or 't'";
                    return Err(reader.error(at, Problem::Tag { what, found }));
                }
            }
        }
        reader.at_no_column();
        Ok(Self { columns, bytes: reader.slice_from(start) })
    }

    /// How many columns there are. Compare it with the relation's before pairing the two.
    pub fn columns(&self) -> u16 {
        self.columns
    }

    /// The size as sent: all values, and 1 byte for each column or 5 for those with text.
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// The cells in column order. Neither fails nor allocates: copy what you keep.
    pub fn cells(&self) -> Cells<'_> {
        Cells { columns_left: self.columns, rest: &self.bytes }
    }
}

/// Row values are never printed.
impl fmt::Debug for TupleData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TupleData").field("columns", &self.columns).field("bytes", &self.bytes.len()).finish()
    }
}

/// One column's content.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Cell<'a> {
    Null,
    /// Stored out of line (TOAST) and not touched by the update, so the server did not send it. The value is whatever
    /// it was before: not null, and not empty.
    Unchanged,
    /// The value as its type's output function writes it.
    Text(&'a str),
}

/// Row values are never printed.
impl fmt::Debug for Cell<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("Null"),
            Self::Unchanged => f.write_str("Unchanged"),
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
        }
    }
}

/// Walks over the cells of a [`TupleData`].
#[derive(Clone)]
pub struct Cells<'a> {
    columns_left: u16,
    rest: &'a [u8],
}

impl<'a> Iterator for Cells<'a> {
    type Item = Cell<'a>;

    fn next(&mut self) -> Option<Cell<'a>> {
        // Every `?` is out of reach after `TupleData::read`; ending early is what remains instead of a panic.
        let (&form, rest) = self.rest.split_first()?;
        let (cell, rest) = match form {
            b'n' => (Cell::Null, rest),
            b'u' => (Cell::Unchanged, rest),
            _ => {
                let (length, rest) = rest.split_first_chunk()?;
                let (text, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
                // SAFETY: `TupleData::read` has checked the text of every 't' cell, and these are the same bounds.
                (Cell::Text(unsafe { checked_earlier(text) }), rest)
            }
        };
        self.rest = rest;
        self.columns_left = self.columns_left.saturating_sub(1);
        Some(cell)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::from(self.columns_left), Some(usize::from(self.columns_left)))
    }
}

impl ExactSizeIterator for Cells<'_> {}

impl std::iter::FusedIterator for Cells<'_> {}

impl fmt::Debug for Cells<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cells").field("columns_left", &self.columns_left).finish()
    }
}
