//! A task: work of the back half as plain data, so that it may cross to another machine. Ids and names, never row values.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{BuilderVersion, Version};

/// Some documents of one index to assemble and write, under versions that the dispatcher stamped. Nobody uses fresher
/// ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// The pipeline it belongs to.
    pub pipeline: Arc<str>,
    /// The index, by its declared name.
    pub index: Arc<str>,
    /// The physical index behind it.
    pub generation: Arc<str>,
    /// The builder that must assemble it.
    pub builder_version: BuilderVersion,
    /// The version of every write of it.
    pub version: Version,
    /// The documents, at most [`Task::IDS_MAX`], each in no other unfinished task.
    pub ids: Vec<String>,
    /// What asked for it.
    pub origin: Origin,
}

impl Task {
    /// Ids of one task at most.
    pub const IDS_MAX: usize = 1_000;
}

/// What asked for a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Changes of rows; the oldest of them was committed then, in microseconds since 1970.
    Live {
        /// By the source's clock.
        committed_at_us: i64,
    },
    /// A deletion that a late write may have undone.
    SecondLook,
    /// A pass.
    Pass {
        /// Its id.
        id: u64,
    },
}
