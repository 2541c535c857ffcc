//! The tally: an observer that counts for the report at the end, and hands everything on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::edges::{Failure, Observer, PassReport, SlotReport, Waiting, Written};
use crate::model::{Position, Rejection};

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Changes taken from the stream.
    pub changes: u64,
    /// Documents written; one written twice counts twice.
    pub documents: u64,
    /// Deletes of documents.
    pub deleted: u64,
    /// Writes that lost against a later one of ours.
    pub stale: u64,
    /// Documents refused for themselves.
    pub rejected: u64,
    /// The position that was confirmed last.
    pub confirmed: Position,
}

#[derive(Debug)]
pub(super) struct Tally {
    next: Arc<dyn Observer>,
    changes: AtomicU64,
    documents: AtomicU64,
    deleted: AtomicU64,
    stale: AtomicU64,
    rejected: AtomicU64,
    confirmed: AtomicU64,
}

impl Tally {
    pub(super) fn new(next: Arc<dyn Observer>) -> Self {
        Self {
            next,
            changes: AtomicU64::new(0),
            documents: AtomicU64::new(0),
            deleted: AtomicU64::new(0),
            stale: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            confirmed: AtomicU64::new(0),
        }
    }

    pub(super) fn summary(&self) -> Summary {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Summary {
            changes: read(&self.changes),
            documents: read(&self.documents),
            deleted: read(&self.deleted),
            stale: read(&self.stale),
            rejected: read(&self.rejected),
            confirmed: Position::new(read(&self.confirmed)),
        }
    }
}

fn add(count: &AtomicU64, more: usize) {
    count.fetch_add(more as u64, Ordering::Relaxed);
}

impl Observer for Tally {
    fn on_start(&self) {
        self.next.on_start();
    }
    fn on_fence(&self, waited: Duration) {
        self.next.on_fence(waited);
    }
    fn on_slot(&self, report: &SlotReport) {
        self.next.on_slot(report);
    }
    fn on_captured(&self, changes: usize, bytes: usize) {
        add(&self.changes, changes);
        self.next.on_captured(changes, bytes);
    }
    fn on_queue(&self, changes: usize, bytes: usize) {
        self.next.on_queue(changes, bytes);
    }
    fn on_resolved(&self, changes: usize, documents: usize, took: Duration) {
        self.next.on_resolved(changes, documents, took);
    }
    fn on_built(&self, index: &str, documents: usize, took: Duration) {
        self.next.on_built(index, documents, took);
    }
    fn on_written(&self, written: &Written) {
        add(&self.documents, written.documents.len());
        add(&self.deleted, written.absent.len());
        add(&self.stale, written.stale);
        self.next.on_written(written);
    }
    fn on_guest_failed(&self, failure: &Failure) {
        self.next.on_guest_failed(failure);
    }
    fn on_limit(&self, limit: &'static str, times: u64) {
        self.next.on_limit(limit, times);
    }
    fn on_rejected(&self, index: &str, id: &str, rejection: &Rejection) {
        add(&self.rejected, 1);
        self.next.on_rejected(index, id, rejection);
    }
    fn on_retry(&self, stage: &'static str, reason: &str) {
        self.next.on_retry(stage, reason);
    }
    fn on_confirmed(&self, position: Position) {
        self.confirmed.store(position.bytes(), Ordering::Relaxed);
        self.next.on_confirmed(position);
    }
    fn on_pass(&self, report: &PassReport) {
        self.next.on_pass(report);
    }
    fn on_waiting(&self, waiting: Option<Waiting>) {
        self.next.on_waiting(waiting);
    }
    fn on_live(&self) {
        self.next.on_live();
    }
    fn on_error(&self, failure: &Failure) {
        self.next.on_error(failure);
    }
}
