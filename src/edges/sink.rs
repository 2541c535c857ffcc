//! Where documents go.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::{Failure, IndexAdmin, Ownership, State};
use crate::model::{QuarantineRecord, Rejection, Version};

/// A place for documents.
#[async_trait]
pub trait Sink: Debug + Send + Sync {
    /// Makes these writes durable; one outcome for each, in order. Of all writes of one document the one with the highest
    /// version stays, in whatever order they arrive. Asks `ownership` right before anything leaves.
    ///
    /// # Errors
    ///
    /// A failure means that nothing is known of any of them: they are assembled again. `Transient` for what passes by
    /// itself, `Fatal` for what needs a person (credentials, a missing index), and those of `ownership` as they came.
    async fn write(&self, writes: &[Write], ownership: &dyn Ownership) -> Result<Vec<WriteOutcome>, Failure>;

    /// Parks rejected documents durably, under their versions. A later good write of the same document clears its
    /// record.
    async fn quarantine(&self, records: &[QuarantineRecord]) -> Result<(), Failure>;

    /// How long after it was sent a write whose outcome is unknown may still be applied, by all that this sink knows: a late
    /// window must be longer. Nothing, where a write is applied when it is answered or never.
    fn late_for(&self) -> Duration {
        Duration::ZERO
    }

    /// The indexes behind it.
    fn indexes(&self) -> Arc<dyn IndexAdmin>;

    /// What a destination remembers here.
    fn state(&self) -> Arc<dyn State>;
}

/// One write.
#[derive(Clone, Debug)]
pub struct Write {
    /// The physical index.
    pub generation: Arc<str>,
    /// The document's `_id`.
    pub id: String,
    /// What its shard follows from, where not from the id.
    pub routing: Option<String>,
    /// Its version.
    pub version: Version,
    /// One JSON object on one line; `None` deletes.
    pub document: Option<Bytes>,
}

/// What became of one write.
#[derive(Clone, Debug, PartialEq)]
pub enum WriteOutcome {
    /// It is durable, or a delete found nothing to delete.
    Written,
    /// The sink holds a later version of this document.
    Stale {
        /// That one, when the sink says it; `None` when it is no version of ours.
        current: Option<Version>,
    },
    /// The sink refuses this document, for itself alone.
    Rejected(Rejection),
    /// The sink did not try: the same bytes may be sent again.
    Overloaded(String),
    /// It is not known whether it was applied: the document is to be assembled again.
    Unknown(String),
}
