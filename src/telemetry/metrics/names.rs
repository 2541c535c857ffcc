//! The name of every metric, with what it says. A counter's name gets `_total` behind it in the exposition.

/// A metric: its name without `docmill_` before and `_total` behind, and its help.
pub type Name = (&'static str, &'static str);

/// What every name begins with.
pub const PREFIX: &str = "docmill";

pub const BUILD: Name = ("build", "This docmill");

pub const CHANGES_CAPTURED: Name = ("changes_captured", "Changes taken from the replication stream");
pub const CHANGES_CAPTURED_BYTES: Name =
    ("changes_captured_bytes", "Bytes of changes taken from the replication stream");
pub const QUEUE_CHANGES: Name = ("queue_changes", "Changes that wait in the queue");
pub const QUEUE_BYTES: Name = ("queue_bytes", "Bytes of changes that wait in the queue");

pub const BATCHES_RESOLVED: Name = ("batches_resolved", "Batches of changes that were resolved to documents");
pub const DOCUMENTS_RESOLVED: Name = ("documents_resolved", "Documents that batches of changes led to");
pub const RESOLVE_SECONDS: Name = ("resolve_seconds", "Time to resolve one batch, its queries included");

pub const DOCUMENTS_BUILT: Name = ("documents_built", "Documents that calls of the builder assembled");
pub const BUILDER_CALL_SECONDS: Name = ("builder_call_seconds", "Time of one call of the builder");

pub const GUEST_LIMITS: Name = ("guest_limits", "Limits that the builder met, by the limit's name");
pub const GUEST_TRAPS: Name = ("guest_traps", "Calls of the builder that trapped, by the trap");
pub const GUEST_FAILURES: Name = (
    "guest_failures",
    "Calls of the builder that failed: by a limit, a trap, its own error, or an answer that is none",
);

pub const DOCUMENTS_WRITTEN: Name =
    ("documents_written", "Documents that became durable in the sink, by what asked for them");
pub const DOCUMENTS_WRITTEN_BYTES: Name =
    ("documents_written_bytes", "Bytes of documents that became durable in the sink");
pub const DOCUMENTS_DELETED: Name = ("documents_deleted", "Documents whose absence became durable in the sink");
pub const WRITES: Name = ("writes", "Tasks whose documents are all durable");
pub const WRITES_STALE: Name = ("writes_stale", "Writes that lost against a later version of ours");
pub const DOCUMENTS_REJECTED: Name =
    ("documents_rejected", "Documents refused by the builder or the sink, for themselves alone");

pub const LAG_SECONDS: Name =
    ("lag_seconds", "Time from the source's commit until its documents are durable in the sink");
pub const LAST_LAG_SECONDS: Name = ("last_lag_seconds", "The same for the documents that became durable last");
pub const CONFIRMED_POSITION_BYTES: Name = (
    "confirmed_position_bytes",
    "The position that was confirmed to the source last, in bytes of its log; lag in bytes is pg_current_wal_lsn() less this",
);

pub const PASS_DOCUMENTS: Name = ("pass_documents", "Documents that the running pass of this index has done");
pub const PASS_DOCUMENTS_EXPECTED: Name =
    ("pass_documents_expected", "About how many documents that pass has, where known");
pub const PASSES_RUNNING: Name = ("passes_running", "Passes of this index that are under way");
pub const PASSES_DONE: Name = ("passes_done", "Passes that ended");

pub const SLOT_RETAINED_BYTES: Name =
    ("slot_retained_bytes", "Bytes of log that the source keeps for the replication slot");
pub const SLOT_SAFE_BYTES: Name = (
    "slot_safe_bytes",
    "Bytes that may still be written before the source may give the slot up, where there is a limit",
);
pub const FENCE_SECONDS: Name = ("fence_seconds", "Time that transactions waited until others could see them");

pub const LIVE: Name = ("live", "1 when all passes are done and changes are followed");
pub const WAITING: Name = ("waiting", "1 for what the pipeline waits on now");
pub const RETRIES: Name = ("retries", "Calls that were tried again, by the stage they are of");
pub const FAILURES: Name = ("failures", "Failures of any stage, by their class");
pub const RUNNING: Name = ("running", "1 while the pipeline runs, 0 once it has ended");
pub const PAUSED: Name = ("paused", "1 while the pipeline is paused and waits for an operator");
