//! The choices that a pipeline's owner may make about the flow, and every limit of the flow by its name.

use std::collections::BTreeMap;
use std::time::Duration;

/// When a batch closes. It also closes when the queue is empty and no other batch is in flight, or only one is and it waited for 10 ms,
/// so that nobody waits for company when idle. Changes that the source sent more than a second after their commits, as when a pipeline
/// catches up, wait for a quarter of that more, up to four seconds; with no other batch in flight only eight or more of them do, and for
/// 200 ms after the last that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchPolicy {
    /// Changes in a batch at most; at least 1.
    pub max_changes: usize,
    /// Bytes of changes in a batch, about, at most; and no more than half of what the queue may hold.
    pub max_bytes: usize,
    /// How long the first change of a batch waits for company at most, unless it is late already.
    pub max_delay: Duration,
}

impl BatchPolicy {
    /// The longest that a change may be asked to wait for company.
    pub const MAX_DELAY_LONGEST: Duration = Duration::from_secs(60);
}

impl Default for BatchPolicy {
    fn default() -> Self {
        Self { max_changes: 4_000, max_bytes: 8 << 20, max_delay: Duration::from_millis(50) }
    }
}

/// What happens when one document is refused, by the builder or by the sink, for itself alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnRejected {
    /// The pipeline stops with an error; nothing at or after the change is confirmed.
    #[default]
    Stop,
    /// The document stays as it is in the sink; counted and logged.
    Skip,
    /// A record of it is parked durably in the sink, and the pipeline goes on.
    Quarantine,
}

/// [`OnRejected`] by index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FailurePolicies {
    /// For indexes that are not named.
    pub default: OnRejected,
    /// By the index's declared name.
    pub indexes: BTreeMap<String, OnRejected>,
}

impl FailurePolicies {
    /// The same for every index.
    pub fn all(on_rejected: OnRejected) -> Self {
        Self { default: on_rejected, indexes: BTreeMap::new() }
    }

    /// That of one index.
    pub fn of(&self, index: &str) -> OnRejected {
        self.indexes.get(index).copied().unwrap_or(self.default)
    }
}

/// The limits of the flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowLimits {
    /// Events in the queue.
    pub queue_events_max: usize,
    /// Bytes of changes in the queue. One change may be larger; it then has the queue for itself.
    pub queue_bytes_max: usize,
    /// Batches between the queue and the ack.
    pub batches_in_flight_max: usize,
    /// Batches that are resolved at the same time.
    pub resolves_max: usize,
    /// Ids that the queries of one batch may yield for one index; more become a pass. Ten for each change of a full batch, so that it
    /// takes one of unusual reach.
    pub fanout_ids_max: usize,
    /// Tasks waiting for the back half, in each lane.
    pub tasks_queued_max: usize,
    /// Tasks that the back half works on at the same time for live changes.
    pub live_workers: usize,
    /// Tasks that the back half works on at the same time for passes: each holds a read connection for as long as it builds, and at
    /// least half of them are to be free for live changes.
    pub pass_workers: usize,
    /// Passes that run at the same time.
    pub passes_max: usize,
    /// Root rows, or ids, in one chunk of a pass.
    pub chunk_rows: usize,
    /// Chunks of one pass that are under way at the same time.
    pub chunks_in_flight_max: usize,
    /// How long bytes may be sent again before their document is assembled again instead.
    pub bytes_fresh_for: Duration,
    /// How long ago it may have been seen that the destination is still ours when bytes are sent.
    pub proof_fresh_for: Duration,
    /// How often the checkpoint is written, at most.
    pub checkpoint_every: Duration,
    /// How long a shutdown drains before it gives up; what is given up comes again at the next start.
    pub drain_for: Duration,
    /// The first wait before something is tried again; it doubles.
    pub backoff_first: Duration,
    /// The longest such wait.
    pub backoff_longest: Duration,
    /// The longest wait between two looks at a slot that another process has, so that it is taken over soon.
    pub slot_in_use_wait: Duration,
    /// How long a request that nobody answered may still be applied: deletions within that time are looked at again. Longer than
    /// anything between here and a shard can hold a request.
    pub late_window: Duration,
    /// Such deletions that are remembered one by one, about; beyond them the whole index is looked at again.
    pub late_ids_max: usize,
    /// Batches that are written and not final yet.
    pub unsettled_batches_max: usize,
    /// A chunk of a pass waits while a live change has been under way for longer.
    pub pass_yields_at: Duration,
    /// How long one chunk waits so at most: a pass goes on, slowly, under any load.
    pub pass_yields_for: Duration,
    /// How often the replication slot is looked at.
    pub slot_look_every: Duration,
    /// How often it is looked whether the indexes are the ones they were.
    pub index_look_every: Duration,
    /// How long a marker may take before another is written.
    pub marker_wait: Duration,
    /// A pipeline pauses when so many distinct documents of an index failed within `failing_window`, at least, ... `usize::MAX` for
    /// never.
    pub failing_documents_min: usize,
    /// ... and they are more than so many of a hundred that were assembled (or written, or resolved) in it.
    pub failing_percent: usize,
    /// How far that looks back, at most.
    pub failing_window: Duration,
    /// Documents that are remembered for it, by index and side, or four times `failing_documents_min` when that is more; with more of
    /// them the window begins anew.
    pub failing_documents_max: usize,
}

impl Default for FlowLimits {
    fn default() -> Self {
        Self {
            queue_events_max: 10_000,
            queue_bytes_max: 32 << 20,
            batches_in_flight_max: 4,
            resolves_max: 2,
            fanout_ids_max: 40_000,
            tasks_queued_max: 256,
            live_workers: 4,
            pass_workers: 3,
            passes_max: 2,
            chunk_rows: 2_000,
            chunks_in_flight_max: 4,
            bytes_fresh_for: Duration::from_secs(30),
            proof_fresh_for: Duration::from_secs(10),
            checkpoint_every: Duration::from_secs(1),
            drain_for: Duration::from_secs(30),
            backoff_first: Duration::from_millis(100),
            backoff_longest: Duration::from_secs(10),
            slot_in_use_wait: Duration::from_secs(2),
            late_window: Duration::from_secs(120),
            late_ids_max: 100_000,
            unsettled_batches_max: 65_536,
            pass_yields_at: Duration::from_secs(1),
            pass_yields_for: Duration::from_secs(2),
            slot_look_every: Duration::from_secs(10),
            index_look_every: Duration::from_secs(30),
            marker_wait: Duration::from_secs(30),
            failing_documents_min: 100,
            failing_percent: 50,
            failing_window: Duration::from_secs(60),
            failing_documents_max: 2_048,
        }
    }
}
