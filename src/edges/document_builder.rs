//! The user's mapping: which documents a change touches, and what a document is.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use super::{Failure, Snapshot};
use crate::model::{Affected, BuilderVersion, Declaration, Outcome, Rows};

/// Resolves changed rows to ids and assembles ids to documents; a function of its inputs and its configuration alone.
#[async_trait]
pub trait DocumentBuilder: Debug + Send + Sync {
    /// Which builder this is.
    fn version(&self) -> &BuilderVersion;

    /// What it makes and needs.
    fn declaration(&self) -> &Declaration;

    /// Limits that were met without failing a call (a document was refused, log lines were dropped), with how often, since this was
    /// asked last.
    fn limits_met(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }

    /// The documents of `index` that these images of rows of `table` (by its declared name) lead to. `rows` hold the
    /// declared keys only, each image once.
    async fn resolve(&self, index: &str, table: &str, rows: Rows) -> Result<Affected, Failure>;

    /// One outcome for each id, in order.
    ///
    /// # Errors
    ///
    /// `Deterministic`, `Time` and `Oversize` blame the call; a failure of `request.source` comes back as it was.
    async fn assemble(&self, request: AssembleRequest) -> Result<Vec<Outcome>, Failure>;
}

/// Documents to assemble, with the rows for it.
pub struct AssembleRequest {
    /// The index, by its declared name.
    pub index: Arc<str>,
    /// The documents, without repetition.
    pub ids: Arc<[String]>,
    /// The answers of the index's declared reads, in that order.
    pub reads: Vec<Rows>,
    /// The moment that `reads` show, for further queries.
    pub source: Box<dyn Snapshot>,
}
