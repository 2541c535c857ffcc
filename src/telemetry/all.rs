//! [`All`]: several observers as one.

use std::sync::Arc;
use std::time::Duration;

use crate::edges::{Failure, Observer, PassReport, SlotReport, Waiting, Written};
use crate::model::{Position, Rejection};

/// Hands everything to each of them, in order.
#[derive(Clone, Debug, Default)]
pub struct All(pub Vec<Arc<dyn Observer>>);

impl Observer for All {
    fn on_start(&self) {
        self.0.iter().for_each(|one| one.on_start());
    }
    fn on_fence(&self, waited: Duration) {
        self.0.iter().for_each(|one| one.on_fence(waited));
    }
    fn on_slot(&self, report: &SlotReport) {
        self.0.iter().for_each(|one| one.on_slot(report));
    }
    fn on_captured(&self, changes: usize, bytes: usize) {
        self.0.iter().for_each(|one| one.on_captured(changes, bytes));
    }
    fn on_queue(&self, changes: usize, bytes: usize) {
        self.0.iter().for_each(|one| one.on_queue(changes, bytes));
    }
    fn on_resolved(&self, changes: usize, documents: usize, took: Duration) {
        self.0.iter().for_each(|one| one.on_resolved(changes, documents, took));
    }
    fn on_built(&self, index: &str, documents: usize, took: Duration) {
        self.0.iter().for_each(|one| one.on_built(index, documents, took));
    }
    fn on_written(&self, written: &Written) {
        self.0.iter().for_each(|one| one.on_written(written));
    }
    fn on_guest_failed(&self, failure: &Failure) {
        self.0.iter().for_each(|one| one.on_guest_failed(failure));
    }
    fn on_limit(&self, limit: &'static str, times: u64) {
        self.0.iter().for_each(|one| one.on_limit(limit, times));
    }
    fn on_rejected(&self, index: &str, id: &str, rejection: &Rejection) {
        self.0.iter().for_each(|one| one.on_rejected(index, id, rejection));
    }
    fn on_retry(&self, stage: &'static str, reason: &str) {
        self.0.iter().for_each(|one| one.on_retry(stage, reason));
    }
    fn on_confirmed(&self, position: Position) {
        self.0.iter().for_each(|one| one.on_confirmed(position));
    }
    fn on_pass(&self, report: &PassReport) {
        self.0.iter().for_each(|one| one.on_pass(report));
    }
    fn on_waiting(&self, waiting: Option<Waiting>) {
        self.0.iter().for_each(|one| one.on_waiting(waiting));
    }
    fn on_live(&self) {
        self.0.iter().for_each(|one| one.on_live());
    }
    fn on_error(&self, failure: &Failure) {
        self.0.iter().for_each(|one| one.on_error(failure));
    }
}
