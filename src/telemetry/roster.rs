//! [`Roster`]: the pipelines of this process as they stand; they come and go.

use std::sync::{Arc, PoisonError, RwLock};

use super::status::{PipelineView, Status};

/// The status of every pipeline, by name. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Roster(Arc<RwLock<Vec<Arc<Status>>>>);

impl Roster {
    /// One more; it takes the place of one of the same name.
    pub fn add(&self, status: Arc<Status>) {
        let name = status.view().pipeline;
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match all.binary_search_by_key(&name, |known| known.view().pipeline) {
            Ok(place) => all[place] = status,
            Err(place) => all.insert(place, status),
        }
    }

    /// One less.
    pub fn remove(&self, name: &str) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).retain(|known| known.view().pipeline != name);
    }

    /// All of them as they stand now.
    pub fn views(&self) -> Vec<PipelineView> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).iter().map(|status| status.view()).collect()
    }
}
