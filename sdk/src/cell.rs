//! One value of one row, and the Rust types that it can be read as.

use crate::decimal::Decimal;
use crate::json::Json;

/// A value that is not null, in the form in which it crossed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cell<'a> {
    /// bool
    Bool(bool),
    /// int2, int4, int8, oid
    Int(i64),
    /// float4, float8
    Float(f64),
    /// timestamps, dates, numerics, uuids, enums and all else: as text
    Text(&'a str),
    /// json, jsonb, arrays, composite types: as JSON text
    Json(&'a str),
    /// bytea
    Binary(&'a [u8]),
}

impl Cell<'_> {
    /// What it is, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Bool(_) => "a bool",
            Self::Int(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Text(_) => "a text",
            Self::Json(_) => "json",
            Self::Binary(_) => "binary",
        }
    }

    /// As text, the way an id is written.
    pub(crate) fn to_text(self) -> Option<String> {
        match self {
            Self::Bool(value) => Some(value.to_string()),
            Self::Int(value) => Some(value.to_string()),
            Self::Float(value) => Some(value.to_string()),
            Self::Text(value) | Self::Json(value) => Some(value.to_owned()),
            Self::Binary(_) => None,
        }
    }
}

/// A type that a value can be read as. `Option` of each reads null as `None`; the plain type refuses a null.
pub trait FromCell<'a>: Sized {
    /// What is wanted, for messages.
    const WANTED: &'static str;

    /// The value, or `None` where it is of another type.
    fn from_cell(cell: Cell<'a>) -> Option<Self>;

    /// What a null reads as, or `None` where there must be a value.
    fn from_null() -> Option<Self> {
        None
    }
}

impl<'a, T: FromCell<'a>> FromCell<'a> for Option<T> {
    const WANTED: &'static str = T::WANTED;

    fn from_cell(cell: Cell<'a>) -> Option<Self> {
        T::from_cell(cell).map(Some)
    }

    fn from_null() -> Option<Self> {
        Some(None)
    }
}

macro_rules! from_cell {
    ($type:ty, $wanted:literal, $($pattern:pat => $value:expr),+) => {
        impl<'a> FromCell<'a> for $type {
            const WANTED: &'static str = $wanted;

            fn from_cell(cell: Cell<'a>) -> Option<Self> {
                match cell {
                    $($pattern => $value,)+
                    _ => None,
                }
            }
        }
    };
}

from_cell!(bool, "a bool", Cell::Bool(value) => Some(value));
from_cell!(i64, "an integer", Cell::Int(value) => Some(value));
from_cell!(i32, "an integer of 32 bits", Cell::Int(value) => value.try_into().ok());
from_cell!(f64, "a float", Cell::Float(value) => Some(value), Cell::Int(value) => Some(value as f64));
from_cell!(&'a str, "a text", Cell::Text(value) => Some(value));
from_cell!(Json<'a>, "json", Cell::Json(value) => Some(Json(value)));
from_cell!(&'a [u8], "binary", Cell::Binary(value) => Some(value));
from_cell!(Decimal, "a decimal number", Cell::Text(value) => value.parse().ok(), Cell::Int(value) => Some(value.into()));

impl<'a> FromCell<'a> for Cell<'a> {
    const WANTED: &'static str = "any value";

    fn from_cell(cell: Cell<'a>) -> Option<Self> {
        Some(cell)
    }
}
