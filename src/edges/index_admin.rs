//! The life of the indexes behind a sink.

use std::fmt::Debug;

use async_trait::async_trait;

use super::Failure;
use crate::model::{IndexDeclaration, Version};

/// Makes indexes and looks into them.
#[async_trait]
pub trait IndexAdmin: Debug + Send + Sync {
    /// Makes sure that each declared index is there with its mapping, behind its alias; says which physical index it is,
    /// in the order of `indexes`. What is there already stays.
    ///
    /// # Errors
    ///
    /// `Fatal` when the sink refuses a name, a mapping or a setting, or something else has the alias's name.
    async fn ensure(&self, indexes: &[IndexDeclaration]) -> Result<Vec<Generation>, Failure>;

    /// The ids that an index holds, in any order; `cursor` is that of the page before, `None` begins.
    async fn ids(&self, generation: &str, cursor: Option<String>, limit: usize) -> Result<IdPage, Failure>;

    /// The mark of a physical index as it is now ([`Generation::uuid`]), `None` when there is no such index: another one than
    /// at the start means that confirmed writes may be gone. Cheap: it is asked every few seconds.
    ///
    /// # Errors
    ///
    /// `Transient` where it cannot be told now (a shard that has not started); `Fatal` when the index would lose what it
    /// confirms.
    async fn uuid(&self, generation: &str) -> Result<Option<String>, Failure>;
}

/// One physical index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generation {
    /// Its name.
    pub name: String,
    /// The sink's own mark of it: it changes when the index is made anew or restored.
    pub uuid: String,
    /// Whether it was made just now.
    pub created: bool,
    /// Whether it holds no document at all.
    pub empty: bool,
}

/// An id that an index holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldId {
    /// The id.
    pub id: String,
    /// The version that its document was written under; `None` where the sink does not tell, or it is none of ours.
    pub version: Option<Version>,
}

/// A page of ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdPage {
    /// The ids.
    pub ids: Vec<HeldId>,
    /// For the next page; `None` after the last.
    pub cursor: Option<String>,
}
