//! What a destination remembers in its sink, written by compare-and-set only.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Mutex;

use async_trait::async_trait;

use super::Failure;
use crate::model::StateDocument;

/// The state documents of a sink.
#[async_trait]
pub trait State: Debug + Send + Sync {
    /// The state of `pipeline`, and what to compare with when it is written; `None` when there is none.
    async fn load(&self, pipeline: &str) -> Result<Option<(StateDocument, Revision)>, Failure>;

    /// Writes the state of `pipeline` if it is still what was read as `expected` (`None`: if there is none), durably.
    ///
    /// # Errors
    ///
    /// `Fatal` when it is another by now: somebody else owns this destination. `Transient` when the outcome is
    /// unknown: load again and compare the owner.
    async fn store(
        &self,
        pipeline: &str,
        document: &StateDocument,
        expected: Option<&Revision>,
    ) -> Result<Revision, Failure>;
}

/// Which writing of a state document was read. Opaque to everyone but its [`State`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision(pub String);

/// State that ends with the process: for sinks that are a stream, and which every start fills anew.
#[derive(Debug, Default)]
pub struct MemoryState {
    documents: Mutex<HashMap<String, (StateDocument, u64)>>,
}

#[async_trait]
impl State for MemoryState {
    async fn load(&self, pipeline: &str) -> Result<Option<(StateDocument, Revision)>, Failure> {
        let documents = self.documents.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        Ok(documents.get(pipeline).map(|(document, revision)| (document.clone(), Revision(revision.to_string()))))
    }

    async fn store(
        &self,
        pipeline: &str,
        document: &StateDocument,
        expected: Option<&Revision>,
    ) -> Result<Revision, Failure> {
        let mut documents = self.documents.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let current = documents.get(pipeline).map(|(_, revision)| *revision);
        if current.map(|revision| revision.to_string()) != expected.map(|revision| revision.0.clone()) {
            return Err(Failure::fatal(format!("the state of pipeline {pipeline} was written by somebody else")));
        }
        let revision = current.map_or(1, |revision| revision + 1);
        documents.insert(pipeline.to_owned(), (document.clone(), revision));
        Ok(Revision(revision.to_string()))
    }
}
