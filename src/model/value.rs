//! One value of a row, as capture hands it on: typed once, at the edge that knows the database's types.

use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};

/// The form in which a column's values cross to a builder; `wit/v1/builder.wit` (`cells`) says which PostgreSQL type takes
/// which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CellKind {
    /// `bool`
    Boolean,
    /// `int2`, `int4`, `int8`, `oid`
    Integer,
    /// `float4`, `float8`
    Float,
    /// `numeric`: all its digits, as text; a number where rows cross as JSON.
    Numeric,
    /// Everything that has no form of its own, as PostgreSQL prints it; dates and timestamps in ISO 8601.
    Text,
    /// `json`, `jsonb`, arrays, composite types
    Json,
    /// `bytea`
    Binary,
}

/// One value of a row.
#[derive(Clone, Debug)]
pub enum Value {
    /// SQL null.
    Null,
    /// A value stored out of line that the change did not touch and PostgreSQL therefore did not send.
    Unchanged,
    /// See [`CellKind::Boolean`].
    Boolean(bool),
    /// See [`CellKind::Integer`].
    Integer(i64),
    /// See [`CellKind::Float`].
    Float(f64),
    /// See [`CellKind::Text`] and [`CellKind::Numeric`].
    Text(Box<str>),
    /// See [`CellKind::Json`].
    Json(Box<str>),
    /// See [`CellKind::Binary`].
    Binary(Box<[u8]>),
}

impl Value {
    /// Bytes this value holds in memory, for the queue's bound.
    pub fn bytes(&self) -> usize {
        let heap = match self {
            Value::Text(text) | Value::Json(text) => text.len(),
            Value::Binary(bytes) => bytes.len(),
            _ => 0,
        };
        heap + size_of::<Self>()
    }
}

// Floats compare by their bits: what is asked is "is this the same image", and NaN is the same as itself there.
impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Value::Null, Value::Null) | (Value::Unchanged, Value::Unchanged) => true,
            (Value::Boolean(a), Value::Boolean(b)) => a == b,
            (Value::Integer(a), Value::Integer(b)) => a == b,
            (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits(),
            (Value::Text(a), Value::Text(b)) | (Value::Json(a), Value::Json(b)) => a == b,
            (Value::Binary(a), Value::Binary(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Value {}

impl Hash for Value {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(self).hash(state);
        match self {
            Value::Null | Value::Unchanged => {}
            Value::Boolean(value) => value.hash(state),
            Value::Integer(value) => value.hash(state),
            Value::Float(value) => value.to_bits().hash(state),
            Value::Text(text) | Value::Json(text) => text.hash(state),
            Value::Binary(bytes) => bytes.hash(state),
        }
    }
}

/// The kept values of one row, in the order of its [`Relation`](super::Relation)'s columns.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Row(pub Box<[Value]>);

impl Row {
    /// Bytes this row holds in memory.
    pub fn bytes(&self) -> usize {
        self.0.iter().map(Value::bytes).sum::<usize>() + size_of::<Self>()
    }
}
