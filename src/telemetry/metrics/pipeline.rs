//! [`PipelineMetrics`]: the observer that counts for one pipeline.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Families;
use super::labels::{
    ByClass, ByEnd, ByKind, ByLimit, ByOrigin, ByReason, ByStage, ByTrap, ByWait, OfIndex, OfPipeline,
};
use crate::edges::{Failure, FailureClass, GuestEnd, Observer, PassReport, SlotReport, Waiting, Written};
use crate::model::{Origin, PassReason, Position, Rejection};
use crate::telemetry::since;

/// Letters of a rejection's kind that become a label.
const KIND_MAX: usize = 64;
const WAITS: [Waiting; 8] = [
    Waiting::Source,
    Waiting::SlotInUse,
    Waiting::QuietPoint,
    Waiting::Visibility,
    Waiting::Sink,
    Waiting::Barrier,
    Waiting::Neighbour,
    Waiting::Operator,
];

/// Counts for one pipeline.
pub struct PipelineMetrics {
    families: Arc<Families>,
    pipeline: Arc<str>,
    of: OfPipeline,
    passes: Mutex<BTreeSet<(Arc<str>, u64)>>,
}

impl fmt::Debug for PipelineMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipelineMetrics").field("pipeline", &self.pipeline).finish()
    }
}

impl PipelineMetrics {
    pub(super) fn new(families: Arc<Families>, name: &str) -> Self {
        let pipeline: Arc<str> = name.into();
        let of = OfPipeline { pipeline: Arc::clone(&pipeline) };
        // So that they are there, with 0, before the first event.
        families.running.get_or_create(&of).set(1);
        families.paused.get_or_create(&of).set(0);
        drop(families.live.get_or_create(&of));
        drop(families.changes_captured.get_or_create(&of));
        drop(families.queue_changes.get_or_create(&of));
        drop(families.queue_bytes.get_or_create(&of));
        drop(families.confirmed_position_bytes.get_or_create(&of));
        Self { families, pipeline, of, passes: Mutex::default() }
    }

    /// The pipeline is about to start, again perhaps.
    pub fn starting(&self) {
        self.paused(false);
        self.families.running.get_or_create(&self.of).set(1);
    }

    /// The pipeline waits for an operator, or does not any more.
    pub fn paused(&self, paused: bool) {
        self.families.paused.get_or_create(&self.of).set(i64::from(paused));
        self.on_waiting(paused.then_some(Waiting::Operator));
    }

    /// The pipeline has ended.
    pub fn ended(&self) {
        self.families.running.get_or_create(&self.of).set(0);
        self.on_start();
        self.on_queue(0, 0);
        self.on_waiting(None);
    }

    fn index(&self, index: &str) -> OfIndex {
        OfIndex { pipeline: Arc::clone(&self.pipeline), index: index.into() }
    }
}

/// Gauges are of 64 bits with sign; what does not fit is the largest.
fn level(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

fn reason(reason: PassReason) -> &'static str {
    match reason {
        PassReason::Backfill => "backfill",
        PassReason::Truncate => "truncate",
        PassReason::Fanout => "fanout",
        PassReason::Everything => "everything",
        PassReason::LostPosition => "lost_position",
        PassReason::SourceChanged => "source_changed",
        PassReason::BuilderChanged => "builder_changed",
        PassReason::CatalogChanged => "catalog_changed",
        PassReason::LateWrites => "late_writes",
    }
}

impl Observer for PipelineMetrics {
    fn on_start(&self) {
        let mut passes = self.passes.lock().unwrap_or_else(PoisonError::into_inner);
        for (index, _) in std::mem::take(&mut *passes) {
            self.families.passes_running.get_or_create(&self.index(&index)).set(0);
        }
        self.families.live.get_or_create(&self.of).set(0);
    }

    fn on_fence(&self, waited: Duration) {
        self.families.fence_seconds.get_or_create(&self.of).observe(waited.as_secs_f64());
    }

    fn on_slot(&self, report: &SlotReport) {
        if let Some(retained) = report.retained_bytes {
            self.families.slot_retained_bytes.get_or_create(&self.of).set(level(retained));
        }
        if let Some(safe) = report.safe_bytes {
            self.families.slot_safe_bytes.get_or_create(&self.of).set(safe);
        }
    }

    fn on_captured(&self, changes: usize, bytes: usize) {
        self.families.changes_captured.get_or_create(&self.of).inc_by(changes as u64);
        self.families.changes_captured_bytes.get_or_create(&self.of).inc_by(bytes as u64);
    }

    fn on_queue(&self, changes: usize, bytes: usize) {
        self.families.queue_changes.get_or_create(&self.of).set(level(changes));
        self.families.queue_bytes.get_or_create(&self.of).set(level(bytes));
    }

    fn on_resolved(&self, _changes: usize, documents: usize, took: Duration) {
        self.families.batches_resolved.get_or_create(&self.of).inc();
        self.families.documents_resolved.get_or_create(&self.of).inc_by(documents as u64);
        self.families.resolve_seconds.get_or_create(&self.of).observe(took.as_secs_f64());
    }

    fn on_built(&self, index: &str, documents: usize, took: Duration) {
        let of = self.index(index);
        self.families.documents_built.get_or_create(&of).inc_by(documents as u64);
        self.families.builder_call_seconds.get_or_create(&of).observe(took.as_secs_f64());
    }

    fn on_written(&self, written: &Written) {
        let of = self.index(&written.index);
        let origin = match written.origin {
            Origin::Live { committed_at_us } => {
                let lag = since(committed_at_us).as_secs_f64();
                self.families.lag_seconds.get_or_create(&of).observe(lag);
                self.families.last_lag_seconds.get_or_create(&self.of).set(lag);
                "live"
            }
            Origin::Pass { .. } => "pass",
            Origin::SecondLook => "second_look",
        };
        let by = ByOrigin { pipeline: Arc::clone(&self.pipeline), index: Arc::clone(&written.index), origin };
        let Families { documents_written, .. } = &*self.families;
        documents_written.get_or_create(&by).inc_by(written.documents.len() as u64);
        self.families.documents_written_bytes.get_or_create(&of).inc_by(written.bytes as u64);
        self.families.documents_deleted.get_or_create(&of).inc_by(written.absent.len() as u64);
        self.families.writes_stale.get_or_create(&of).inc_by(written.stale as u64);
        self.families.writes.get_or_create(&of).inc();
    }

    fn on_guest_failed(&self, failure: &Failure) {
        let pipeline = || Arc::clone(&self.pipeline);
        let by = match failure.guest() {
            None => return,
            Some(GuestEnd::Limit(limit)) => {
                self.on_limit(limit, 1);
                "limit"
            }
            Some(GuestEnd::Trap(trap)) => {
                self.families.guest_traps.get_or_create(&ByTrap { pipeline: pipeline(), trap }).inc();
                "trap"
            }
            Some(GuestEnd::Error) => "error",
            Some(GuestEnd::Answer) => "answer",
        };
        self.families.guest_failures.get_or_create(&ByEnd { pipeline: pipeline(), by }).inc();
    }

    fn on_limit(&self, limit: &'static str, times: u64) {
        let by = ByLimit { pipeline: Arc::clone(&self.pipeline), limit };
        self.families.guest_limits.get_or_create(&by).inc_by(times);
    }

    fn on_rejected(&self, index: &str, _id: &str, rejection: &Rejection) {
        let by = ByKind {
            pipeline: Arc::clone(&self.pipeline),
            index: index.into(),
            kind: rejection.kind.chars().take(KIND_MAX).collect(),
        };
        self.families.documents_rejected.get_or_create(&by).inc();
    }

    // The reason is a sentence with names in it, so it is logged and not counted by.
    fn on_retry(&self, stage: &'static str, _reason: &str) {
        let by = ByStage { pipeline: Arc::clone(&self.pipeline), stage };
        self.families.retries.get_or_create(&by).inc();
    }

    fn on_confirmed(&self, position: Position) {
        self.families.confirmed_position_bytes.get_or_create(&self.of).set(level(position.bytes()));
    }

    fn on_pass(&self, report: &PassReport) {
        let of = self.index(&report.index);
        let mut passes = self.passes.lock().unwrap_or_else(PoisonError::into_inner);
        let this = (Arc::clone(&report.index), report.id);
        if report.done {
            passes.remove(&this);
            let by = ByReason {
                pipeline: Arc::clone(&self.pipeline),
                index: Arc::clone(&report.index),
                reason: reason(report.reason),
            };
            self.families.passes_done.get_or_create(&by).inc();
        } else {
            passes.insert(this);
        }
        let running = passes.iter().filter(|(index, _)| *index == report.index).count();
        self.families.passes_running.get_or_create(&of).set(level(running));
        self.families.pass_documents.get_or_create(&of).set(level(report.documents));
        if let Some(expected) = report.of {
            self.families.pass_documents_expected.get_or_create(&of).set(level(expected));
        }
    }

    fn on_waiting(&self, waiting: Option<Waiting>) {
        for on in WAITS {
            let by = ByWait { pipeline: Arc::clone(&self.pipeline), on: on.as_str() };
            self.families.waiting.get_or_create(&by).set(i64::from(waiting == Some(on)));
        }
    }

    fn on_live(&self) {
        self.families.live.get_or_create(&self.of).set(1);
    }

    fn on_error(&self, failure: &Failure) {
        let class = match failure.class {
            FailureClass::Transient => "transient",
            FailureClass::Oversize => "oversize",
            FailureClass::Time => "time",
            FailureClass::Deterministic => "deterministic",
            FailureClass::Restart => "restart",
            FailureClass::Fatal => "fatal",
        };
        let by = ByClass { pipeline: Arc::clone(&self.pipeline), class };
        self.families.failures.get_or_create(&by).inc();
    }
}
