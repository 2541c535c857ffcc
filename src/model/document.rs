//! Documents: their ids, what a builder says of them, and why one was refused.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{BuilderVersion, Version};

/// One document of one index.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DocumentId {
    /// The index, by its declared name.
    pub index: Arc<str>,
    /// The `_id` in it.
    pub id: String,
}

impl fmt::Display for DocumentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.id)
    }
}

/// Whether objects and arrays of a JSON text stand inside each other more than `most` times.
pub fn is_deeper(document: &[u8], most: usize) -> bool {
    // Nearly every document is told by this, which costs next to nothing.
    if document.iter().filter(|byte| matches!(byte, b'{' | b'[')).count() <= most {
        return false;
    }
    let (mut depth, mut in_text, mut escaped) = (0usize, false, false);
    for byte in document {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => {
                depth += 1;
                if depth > most {
                    return true;
                }
            }
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// What a builder says of one id.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The document: one JSON object as UTF-8 text, checked, without a raw line break.
    Document(Bytes),
    /// There is no such document (any more).
    Absent,
    /// This one cannot be made.
    Rejected(Rejection),
}

/// Why one document was refused, by the builder or by the sink, for itself alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// A short word to count by: `builder`, `trap`, `mapper_parsing_exception`, …
    pub kind: String,
    /// What may be logged: names, ids, limits; never row values.
    pub reason: String,
    /// The whole text, which may quote row values: for the quarantine record only.
    pub detail: Option<String>,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.reason)
    }
}

/// A rejected document, parked durably in the sink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineRecord {
    /// The document.
    pub document: DocumentId,
    /// The physical index it was meant for.
    pub generation: Arc<str>,
    /// The version of the refused write: the record is put and cleared under it.
    pub version: Version,
    /// The builder that made or refused it.
    pub builder_version: BuilderVersion,
    /// Why.
    pub rejection: Rejection,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
}
