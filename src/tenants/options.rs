//! The limits of sharing a source, by their names.

use std::time::Duration;

/// How pipelines share one record of changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharingOptions {
    /// How long the first pipeline that is ready waits for the others, so that they begin at one position.
    pub gather_for: Duration,
    /// How long a pipeline whose queue is full may hold up the others before it goes on by itself, on a copy of the slot.
    pub detach_after: Duration,
    /// Copies of the slot at most. Whoever needs one more waits, while the slot keeps what it has not read; half of them are for
    /// pipelines that can go on at once.
    pub copies_max: usize,
    /// Events that wait for one pipeline, before its own queue.
    pub queue_events_max: usize,
    /// Bytes of them.
    pub queue_bytes_max: usize,
    /// How long a pipeline may be further behind than its `max_lag` before it is parked: longer than a late window, during which
    /// what is confirmed may stand still although everything is written.
    pub park_after: Duration,
    /// A pipeline that comes later is let in by reading the slot again from where it is confirmed if that is no more than so many
    /// bytes; else it catches up on a copy.
    pub rewind_within: u64,
    /// The slot is read again, for those who come later, no more often than that.
    pub reopen_every: Duration,
    /// A pipeline on a copy joins the others when it is no more than so many bytes behind them.
    pub join_within: u64,
    /// How often a pipeline that nothing concerns is told how far the others are; every further pipeline adds
    /// `idle_every_more`, since each time is a write of its checkpoint.
    pub idle_every: Duration,
    /// See `idle_every`.
    pub idle_every_more: Duration,
    /// How long after a copy could not be made another is tried.
    pub copy_again_after: Duration,
    /// Pipelines whose tables are looked at at the same time: each look takes two connections.
    pub admitted_at_once: usize,
}

impl Default for SharingOptions {
    fn default() -> Self {
        Self {
            gather_for: Duration::from_secs(10),
            detach_after: Duration::from_millis(500),
            copies_max: 4,
            queue_events_max: 256,
            queue_bytes_max: 4 << 20,
            park_after: Duration::from_secs(150),
            rewind_within: 16 << 20,
            reopen_every: Duration::from_secs(2),
            join_within: 4 << 20,
            idle_every: Duration::from_secs(1),
            idle_every_more: Duration::from_millis(100),
            copy_again_after: Duration::from_secs(5),
            admitted_at_once: 4,
        }
    }
}
