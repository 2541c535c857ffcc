//! [`Form`]: how the values of a type cross, decided by its oid in one place for the stream, for reads and for chunks.

use std::collections::HashMap;

use tokio_postgres::Client;
use tokio_postgres::types::{Kind, Type};

use super::array_text::Element;
use super::error::failed;
use crate::edges::Failure;
use crate::model::CellKind;

/// Types from here on were made by somebody in this database.
const FIRST_OWN_OID: u32 = 16_384;

/// What the values of a type are to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Boolean,
    /// `int2`, `int4`, `int8`, `oid`
    Integer,
    Float4,
    Float8,
    Binary,
    Json,
    /// Dates and timestamps.
    Time,
    Array(Element),
    Composite,
    Numeric,
    /// Everything else, as it is printed.
    Text,
}

impl Form {
    /// The form in which they cross.
    pub fn kind(self) -> CellKind {
        match self {
            Form::Boolean => CellKind::Boolean,
            Form::Integer => CellKind::Integer,
            Form::Float4 | Form::Float8 => CellKind::Float,
            Form::Binary => CellKind::Binary,
            Form::Json | Form::Array(_) | Form::Composite => CellKind::Json,
            Form::Numeric => CellKind::Numeric,
            Form::Time | Form::Text => CellKind::Text,
        }
    }
}

/// The form of a type that PostgreSQL brings; `None` for one that must be looked up.
pub(super) fn built_in(oid: u32) -> Option<Form> {
    match Type::from_oid(oid) {
        Some(known) => Some(form_of(&known)),
        None => (oid < FIRST_OWN_OID).then_some(Form::Text),
    }
}

fn form_of(known: &Type) -> Form {
    match *known {
        Type::BOOL => Form::Boolean,
        Type::INT2 | Type::INT4 | Type::INT8 | Type::OID => Form::Integer,
        Type::FLOAT4 => Form::Float4,
        Type::FLOAT8 => Form::Float8,
        Type::NUMERIC => Form::Numeric,
        Type::BYTEA => Form::Binary,
        Type::JSON | Type::JSONB => Form::Json,
        Type::DATE | Type::TIMESTAMP | Type::TIMESTAMPTZ => Form::Time,
        Type::RECORD => Form::Composite,
        _ => match known.kind() {
            Kind::Array(element) => Form::Array(element_of(element)),
            Kind::Composite(_) => Form::Composite,
            _ => Form::Text,
        },
    }
}

fn element_of(element: &Type) -> Element {
    match *element {
        Type::BOOL => Element::Boolean,
        Type::INT2 | Type::INT4 | Type::INT8 | Type::OID | Type::FLOAT4 | Type::FLOAT8 | Type::NUMERIC => {
            Element::Number
        }
        Type::JSON | Type::JSONB => Element::Json,
        _ => Element::Text,
    }
}

/// The forms of types that somebody made in this database. Domains, enums and ranges are text; a domain over an array or a
/// composite type is, too.
pub(super) async fn look_up(client: &Client, oids: &[u32]) -> Result<HashMap<u32, Form>, Failure> {
    let sql =
        "select t.oid, t.typtype::text, t.typcategory::text, t.typelem from pg_type t where t.oid = any($1::oid[])";
    let rows =
        client.query(sql, &[&oids]).await.map_err(|error| failed("look up the types of the tables' columns", error))?;
    // A type that was dropped meanwhile prints its values all the same.
    let mut forms: HashMap<u32, Form> = oids.iter().map(|oid| (*oid, Form::Text)).collect();
    for row in rows {
        let (kind, category): (&str, &str) = (row.get(1), row.get(2));
        let form = match (kind, category) {
            ("c", _) => Form::Composite,
            ("b", "A") => Form::Array(Type::from_oid(row.get(3)).map_or(Element::Text, |element| element_of(&element))),
            _ => Form::Text,
        };
        forms.insert(row.get(0), form);
    }
    Ok(forms)
}
