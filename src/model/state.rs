//! What a destination remembers in its own sink: the one document that a restart needs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{BuilderVersion, History, Pass, Position};

/// The state of one pipeline in its sink. It is only written by compare-and-set, so that a second owner is noticed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateDocument {
    /// The format's number, [`StateDocument::FORMAT`].
    pub format: u32,
    /// A random token of the process that writes it.
    pub owner: String,
    /// Where its changes come from.
    pub source: SourceIdentity,
    /// The history that writes are under; durable before the first write under it.
    pub history: History,
    /// Everything at or before it is durable.
    pub checkpoint: Position,
    /// The source's next transaction id when the checkpoint was written; behind it later means an older past.
    pub next_xid: u64,
    /// The source's mark of its last crash, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crash_sign: Option<String>,
    /// Fingerprints of the captured tables, by `schema.name`, as the documents were made of them.
    #[serde(default)]
    pub catalog: BTreeMap<String, String>,
    /// Whether the process that wrote it has ended with an answer to every request, so that nothing of it can come late.
    #[serde(default)]
    pub settled: bool,
    /// The builder that the documents are of.
    pub builder_version: BuilderVersion,
    /// The indexes by their declared name.
    pub generations: BTreeMap<String, GenerationState>,
    /// The passes that are not done.
    pub passes: Vec<Pass>,
    /// The number of the last pass.
    pub last_pass: u64,
}

impl StateDocument {
    /// The format that this program reads and writes.
    pub const FORMAT: u32 = 1;
}

/// One physical index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenerationState {
    /// Its name in the search engine.
    pub name: String,
    /// The search engine's own mark of it: another one means that it was made anew.
    pub uuid: String,
    /// Whether its first backfill is done.
    pub seeded: bool,
}

/// Where changes come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceIdentity {
    /// The cluster's system identifier.
    pub system_identifier: String,
    /// Its timeline.
    pub timeline: u32,
    /// The database.
    pub database: String,
    /// The replication slot.
    pub slot: String,
}
