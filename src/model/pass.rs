//! A pass: a set of documents to assemble again in the background; one durable record for backfill, TRUNCATE, wide
//! fan-out and repair.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{BuilderVersion, Position};

/// The record of a pass, in the state of its destination: written before its first write and before the ack that it
/// allows, removed when nothing newer was asked meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pass {
    /// Its number, unique in its destination.
    pub id: u64,
    /// The index, by its declared name.
    pub index: Arc<str>,
    /// Which documents.
    pub set: PassSet,
    /// Why.
    pub reason: PassReason,
    /// The position of the newest request for it. Nothing of it is read under a label below that.
    pub asked: Position,
    /// The newest request when the present run began: a run ends the pass only if nothing newer was asked meanwhile.
    /// Otherwise it is run once more, from the beginning; it is not cut short, or frequent requests would starve it.
    pub begun: Position,
    /// The builder it is for.
    pub builder_version: BuilderVersion,
    /// Whether no document may be read below a marker of its own, because something older may still be written.
    pub needs_barrier: bool,
    /// Whether it must be run once more behind another marker, because something was asked after the present run began to read.
    #[serde(default)]
    pub again: bool,
    /// That marker's position, once it was seen.
    pub barrier: Option<Position>,
    /// How far it is.
    pub progress: PassProgress,
    /// Whether documents of the index that no row makes any more are looked for afterwards.
    pub sweep: bool,
}

/// Which documents a pass assembles.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PassSet {
    /// Every one: the root tables in keyset chunks.
    Index,
    /// Those that the index holds: what no row makes any more is deleted.
    Held,
    /// Those that a declared query yields.
    Query {
        /// Its name.
        name: String,
        /// Its parameters.
        params: Vec<Option<String>>,
    },
}

/// Why a pass is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PassReason {
    /// The generation was never filled.
    Backfill,
    /// A table was truncated.
    Truncate,
    /// A change led to more documents than a batch may hold.
    Fanout,
    /// A table that every document depends on changed.
    Everything,
    /// The slot does not hold the changes since the checkpoint.
    LostPosition,
    /// The source is another, or went back.
    SourceChanged,
    /// The builder is another.
    BuilderChanged,
    /// A table is not what it was: its columns, partitions, identity or publication.
    CatalogChanged,
    /// More deletions than are remembered one by one must be looked at again.
    LateWrites,
}

impl fmt::Display for PassReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PassReason::Backfill => "backfill",
            PassReason::Truncate => "truncate",
            PassReason::Fanout => "wide fan-out",
            PassReason::Everything => "a table that every document depends on changed",
            PassReason::LostPosition => "the slot lost changes",
            PassReason::SourceChanged => "the source changed",
            PassReason::BuilderChanged => "the builder changed",
            PassReason::CatalogChanged => "a table's definition changed",
            PassReason::LateWrites => "late writes may have undone deletions",
        })
    }
}

/// How far a pass is. Everything before it is durable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PassProgress {
    /// Which root table of the index it is at, by its place among them.
    pub table: usize,
    /// The primary key of the last row done there, as PostgreSQL prints it.
    pub after: Option<Vec<String>>,
    /// Documents done.
    pub documents: u64,
    /// Whether all tables are done and the sweep is on.
    pub sweeping: bool,
}
