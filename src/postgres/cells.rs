//! [`Decode`]: from the binary form of a value to a cell of a column.

use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Type};

use super::datetime;
use crate::model::{CellKind, ColumnBuilder};

/// A type whose binary form we read. All others are cast to text or JSON by the statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decode {
    Boolean,
    Int2,
    Int4,
    Int8,
    Oid,
    Float4,
    Float8,
    Binary,
    Text,
    /// Cast to text by the statement: its binary form is of no use to anybody here.
    Numeric,
    Json,
    Jsonb,
    Date,
    Timestamp,
    TimestampTz,
    Uuid,
}

impl Decode {
    /// How to read that type; `None` where it must be cast.
    pub fn of(of: &Type) -> Option<Self> {
        Some(match *of {
            Type::BOOL => Self::Boolean,
            Type::INT2 => Self::Int2,
            Type::INT4 => Self::Int4,
            Type::INT8 => Self::Int8,
            Type::OID => Self::Oid,
            Type::FLOAT4 => Self::Float4,
            Type::FLOAT8 => Self::Float8,
            Type::BYTEA => Self::Binary,
            Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME => Self::Text,
            Type::JSON => Self::Json,
            Type::JSONB => Self::Jsonb,
            Type::DATE => Self::Date,
            Type::TIMESTAMP => Self::Timestamp,
            Type::TIMESTAMPTZ => Self::TimestampTz,
            Type::UUID => Self::Uuid,
            _ => return None,
        })
    }

    /// Whether this reads what a statement answers as that type.
    pub fn reads(self, of: &Type) -> bool {
        let sent = if self == Self::Numeric { Self::Text } else { self };
        Self::of(of) == Some(sent)
    }

    /// The form in which its values cross.
    pub fn kind(self) -> CellKind {
        match self {
            Self::Boolean => CellKind::Boolean,
            Self::Int2 | Self::Int4 | Self::Int8 | Self::Oid => CellKind::Integer,
            Self::Float4 | Self::Float8 => CellKind::Float,
            Self::Binary => CellKind::Binary,
            Self::Json | Self::Jsonb => CellKind::Json,
            Self::Numeric => CellKind::Numeric,
            Self::Text | Self::Date | Self::Timestamp | Self::TimestampTz | Self::Uuid => CellKind::Text,
        }
    }

    /// Reads one value into a column; `None` when the bytes are not those of the type.
    fn push(self, raw: &[u8], column: &mut ColumnBuilder, scratch: &mut Vec<u8>) -> Option<()> {
        scratch.clear();
        match self {
            Self::Boolean => column.push_boolean(*raw.first()? != 0),
            Self::Int2 => column.push_integer(i64::from(i16::from_be_bytes(raw.try_into().ok()?))),
            Self::Int4 => column.push_integer(i64::from(i32::from_be_bytes(raw.try_into().ok()?))),
            Self::Int8 => column.push_integer(i64::from_be_bytes(raw.try_into().ok()?)),
            Self::Oid => column.push_integer(i64::from(u32::from_be_bytes(raw.try_into().ok()?))),
            Self::Float4 => column.push_float(f64::from(f32::from_be_bytes(raw.try_into().ok()?))),
            Self::Float8 => column.push_float(f64::from_be_bytes(raw.try_into().ok()?)),
            Self::Binary | Self::Text | Self::Numeric | Self::Json => column.push_bytes(raw),
            // Its first byte is the version of the form.
            Self::Jsonb => column.push_bytes(raw.strip_prefix(&[1])?),
            Self::Date => {
                datetime::date(i32::from_be_bytes(raw.try_into().ok()?), scratch);
                column.push_bytes(scratch);
            }
            Self::Timestamp | Self::TimestampTz => {
                let micros = i64::from_be_bytes(raw.try_into().ok()?);
                datetime::timestamp(micros, self == Self::TimestampTz, scratch);
                column.push_bytes(scratch);
            }
            Self::Uuid => {
                push_uuid(raw.try_into().ok()?, scratch);
                column.push_bytes(scratch);
            }
        }
        Some(())
    }
}

fn push_uuid(bytes: &[u8; 16], text: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (place, byte) in bytes.iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            text.push(b'-');
        }
        text.extend([DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

/// The bytes of a value as the server sent them.
struct Raw<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Raw(raw))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// Reads the value at `place` of a row into a column; `None` when it is not there or not of its type.
pub(super) fn push_cell(
    row: &Row,
    place: usize,
    decode: Decode,
    column: &mut ColumnBuilder,
    scratch: &mut Vec<u8>,
) -> Option<()> {
    match row.try_get::<_, Option<Raw<'_>>>(place).ok()? {
        Some(Raw(raw)) => decode.push(raw, column, scratch),
        None => {
            column.push_null();
            Some(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Cells;

    fn pushed(decode: Decode, raw: &[u8]) -> Option<Cells> {
        let mut column = ColumnBuilder::new("c", decode.kind());
        decode.push(raw, &mut column, &mut Vec::new())?;
        Some(column.finish().cells)
    }

    #[test]
    fn a_uuid_prints_as_postgresql_prints_it() {
        let Some(Cells::Texts(texts)) = pushed(Decode::Uuid, &(0..16).collect::<Vec<u8>>()) else {
            panic!("no text");
        };
        assert_eq!(texts.bytes, b"00010203-0405-0607-0809-0a0b0c0d0e0f");
    }

    #[test]
    fn bytes_of_another_length_are_refused() {
        for (decode, raw) in [
            (Decode::Boolean, &[][..]),
            (Decode::Int4, &[0; 8]),
            (Decode::Uuid, &[0; 15]),
            (Decode::Jsonb, b"{}"),
            (Decode::Timestamp, &[0; 4]),
        ] {
            assert_eq!(pushed(decode, raw), None, "{decode:?}");
        }
    }
}
