//! Who is told what happens: logs, metrics, progress, tests.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use super::{Failure, SlotReport};
use crate::model::{Origin, PassReason, Position, Rejection};

/// Told of everything, asked for nothing. Every method does nothing unless it is written; all are called on the flow's
/// own tasks, so they must be quick.
pub trait Observer: Debug + Send + Sync {
    /// The flow opens its edges, for the first time or again; what was under way before is not any more.
    fn on_start(&self) {}
    /// Changes were taken from the stream.
    fn on_captured(&self, _changes: usize, _bytes: usize) {}
    /// Changes wait in the queue.
    fn on_queue(&self, _changes: usize, _bytes: usize) {}
    /// A batch of changes led to that many documents.
    fn on_resolved(&self, _changes: usize, _documents: usize, _took: Duration) {}
    /// A call of the builder ended.
    fn on_built(&self, _index: &str, _documents: usize, _took: Duration) {}
    /// Documents of one task are durable.
    fn on_written(&self, _written: &Written) {}
    /// A call of the builder failed: it is tried again, made smaller, or blamed on one document or row.
    fn on_guest_failed(&self, _failure: &Failure) {}
    /// A limit was met that often without failing a call: a document was refused, log lines were dropped.
    fn on_limit(&self, _limit: &'static str, _times: u64) {}
    /// A document was refused, for itself alone.
    fn on_rejected(&self, _index: &str, _id: &str, _rejection: &Rejection) {}
    /// Something is tried again, for that short reason.
    fn on_retry(&self, _stage: &'static str, _reason: &str) {}
    /// Everything at or before `position` is durable and was confirmed to the source.
    fn on_confirmed(&self, _position: Position) {}
    /// A pass began, went on or ended.
    fn on_pass(&self, _report: &PassReport) {}
    /// What the pipeline waits on; `None` when it does not.
    fn on_waiting(&self, _waiting: Option<Waiting>) {}
    /// A transaction waited that long at the visibility fence.
    fn on_fence(&self, _waited: Duration) {}
    /// How the replication slot stands; every few seconds.
    fn on_slot(&self, _report: &SlotReport) {}
    /// All passes are done and the stream is being followed.
    fn on_live(&self) {}
    /// Something failed. What is retried comes here too; the class tells.
    fn on_error(&self, _failure: &Failure) {}
}

/// Documents that are durable.
#[derive(Clone, Debug)]
pub struct Written {
    /// The index, by its declared name.
    pub index: Arc<str>,
    /// Ids whose document was written.
    pub documents: Vec<String>,
    /// Ids whose document is absent, and deleted.
    pub absent: Vec<String>,
    /// Writes that lost against a later version of ours.
    pub stale: usize,
    /// Bytes of the documents.
    pub bytes: usize,
    /// What asked for it.
    pub origin: Origin,
}

/// How a pass stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassReport {
    /// Its id.
    pub id: u64,
    /// The index.
    pub index: Arc<str>,
    /// Why.
    pub reason: PassReason,
    /// Documents done.
    pub documents: u64,
    /// About how many there are, where something is known.
    pub of: Option<u64>,
    /// Whether everything is written, and only late writes of an earlier time are waited for.
    pub settling: bool,
    /// Whether it ended.
    pub done: bool,
}

/// What a pipeline waits on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// The source cannot be reached.
    Source,
    /// Another process holds the slot.
    SlotInUse,
    /// A transaction of somebody else must end before the first read.
    QuietPoint,
    /// A committed transaction is not visible to others yet.
    Visibility,
    /// The sink does not take writes.
    Sink,
    /// A marker has not come back.
    Barrier,
    /// Other pipelines that read the same record of changes are still starting.
    Neighbour,
    /// It is paused: an operator must resume it.
    Operator,
}

impl Waiting {
    /// The word for it in status and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Waiting::Source => "source",
            Waiting::SlotInUse => "slot in use",
            Waiting::QuietPoint => "open transaction",
            Waiting::Visibility => "visibility",
            Waiting::Sink => "sink",
            Waiting::Barrier => "barrier",
            Waiting::Neighbour => "neighbour",
            Waiting::Operator => "operator",
        }
    }
}

/// An observer that does nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {}
