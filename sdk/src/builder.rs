//! The trait that a builder implements, and what goes in and out of it.

use crate::bindings::docmill::builder::types;
use crate::descriptor::Descriptor;
use crate::error::{Error, Result};
use crate::rows::Rows;
use serde::Serialize;
use std::ops::Deref;

/// A builder. Its functions follow from what they are given and from the configuration alone: every call runs in a fresh
/// instance, and nothing is remembered.
///
/// An error, like a panic, blames the call; the host tries smaller parts of it until one document is left. What is wrong
/// with one document only is better said as [`Outcome::Rejected`].
pub trait Builder {
    /// What this builder makes and needs. Called once for a version and its configuration, without a database.
    fn describe() -> Result<Descriptor>;

    /// Which documents of `index` do these rows of `table` lead to?
    ///
    /// `rows` are images, old and new, with the `keys` that the descriptor declared for the table and no other column.
    fn resolve(index: &str, table: &str, rows: &Rows) -> Result<Affected>;

    /// What are these documents now? One outcome for each id, in the order of `ids`.
    fn assemble(index: &str, ids: &Ids, reads: Reads) -> Result<Vec<Outcome>>;
}

/// The ids of the documents to assemble, without repetitions. Dereferences to a slice of texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ids(Vec<String>);

impl Ids {
    /// These ids.
    pub fn new(ids: Vec<String>) -> Self {
        Self(ids)
    }

    /// One outcome for each id, in order: what `assemble` returns.
    pub fn outcomes(&self, outcome_of: impl FnMut(&str) -> Outcome) -> Vec<Outcome> {
        self.0.iter().map(String::as_str).map(outcome_of).collect()
    }
}

impl Deref for Ids {
    type Target = [String];

    fn deref(&self) -> &[String] {
        &self.0
    }
}

/// The answers of the reads that the index declared, in that order.
#[derive(Debug)]
pub struct Reads(Vec<Rows>);

impl Reads {
    pub(crate) fn new(reads: Vec<Rows>) -> Self {
        Self(reads)
    }

    /// All of them, to be taken apart: `let [users, orders] = reads.into_array()?;`.
    ///
    /// # Errors
    /// When the index declared another number of reads.
    pub fn into_array<const N: usize>(self) -> Result<[Rows; N]> {
        <[Rows; N]>::try_from(self.0).map_err(|reads| {
            Error::new(format!(
                "assemble expects {N} reads, the index declares {}",
                reads.len()
            ))
        })
    }

    /// All of them, when their number is not known to the compiler.
    pub fn into_vec(self) -> Vec<Rows> {
        self.0
    }
}

/// The documents that rows lead to. Order and repetition do not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Affected {
    ids: Vec<String>,
    queries: Vec<Query>,
}

impl Affected {
    /// No document.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ids known from the rows.
    pub fn ids<T: Into<String>>(mut self, ids: impl IntoIterator<Item = T>) -> Self {
        self.ids.extend(ids.into_iter().map(Into::into));
        self
    }

    /// A declared query that yields ids, as text, in its only column. The host runs it.
    pub fn query(mut self, query: Query) -> Self {
        self.queries.push(query);
        self
    }

    /// Ids through a declared query whose only parameter is an array of keys; without keys it is not asked.
    pub fn hop<T: Serialize>(self, query: &str, keys: &[T]) -> Self {
        if keys.is_empty() {
            self
        } else {
            self.query(Query::new(query).array(keys))
        }
    }

    /// The ids so far.
    pub fn known_ids(&self) -> &[String] {
        &self.ids
    }

    /// The queries so far.
    pub fn queries(&self) -> &[Query] {
        &self.queries
    }

    pub(crate) fn into_wire(self) -> types::Affected {
        types::Affected {
            ids: self.ids,
            queries: self.queries.into_iter().map(Query::into_wire).collect(),
        }
    }
}

/// A query of the descriptor by name, with its parameters in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    name: String,
    parameters: Vec<Option<String>>,
}

impl Query {
    /// The declared query of this name, without parameters.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            parameters: Vec::new(),
        }
    }

    /// For a parameter of an array type: `$1` in `id = any($1)`.
    pub fn array<T: Serialize>(self, items: &[T]) -> Self {
        let text = serde_json::to_string(items).expect("numbers, texts and nulls are JSON");
        self.text(text)
    }

    /// For a parameter of an integer type.
    pub fn int(self, value: i64) -> Self {
        self.text(value.to_string())
    }

    /// For a parameter of type bool.
    pub fn bool(self, value: bool) -> Self {
        self.text(if value { "true" } else { "false" })
    }

    /// For a parameter of any other type, as PostgreSQL reads it (`2026-02-01`).
    pub fn text(mut self, value: impl Into<String>) -> Self {
        self.parameters.push(Some(value.into()));
        self
    }

    /// A null.
    pub fn null(mut self) -> Self {
        self.parameters.push(None);
        self
    }

    /// Its name in the descriptor.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its parameters so far, as they will cross.
    pub fn parameters(&self) -> &[Option<String>] {
        &self.parameters
    }

    pub(crate) fn into_wire(self) -> types::Query {
        types::Query {
            name: self.name,
            params: self.parameters,
        }
    }
}

/// Bytes set aside for a document before it is written.
const DOCUMENT_USUAL: usize = 1 << 10;

/// What became of one id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The document, as one JSON object. [`Outcome::document`] makes one.
    Document(String),
    /// There is no such document (any more); the host deletes it.
    Absent,
    /// This one cannot be made, and why, without row values. The host quarantines it; the others go on.
    Rejected(String),
}

impl Outcome {
    /// The document that this serializes to; rejected, with the reason, when it cannot be serialized.
    pub fn document(document: &impl Serialize) -> Self {
        // Grown from next to nothing, a document is copied several times.
        let mut text = Vec::with_capacity(DOCUMENT_USUAL);
        match serde_json::to_writer(&mut text, document) {
            Ok(()) => Self::Document(String::from_utf8(text).expect("JSON is text")),
            Err(error) => Self::Rejected(format!("the document cannot be written as JSON: {error}")),
        }
    }

    /// This one cannot be made.
    pub fn rejected(reason: impl Into<String>) -> Self {
        Self::Rejected(reason.into())
    }

    pub(crate) fn into_wire(self) -> types::Outcome {
        match self {
            Self::Document(text) => types::Outcome::Document(text),
            Self::Absent => types::Outcome::Absent,
            Self::Rejected(reason) => types::Outcome::Rejected(reason),
        }
    }
}
