//! [`Status`]: how a pipeline stands now, for `/ready` and `/api/v1/status`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::since;
use crate::edges::{Failure, Observer, PassReport, SlotReport, Waiting, Written};
use crate::model::{Origin, Position, Rejection};

/// Where a pipeline is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// It opens its edges.
    Starting,
    /// A pass is under way, beside live changes.
    Backfilling,
    /// All passes are done, and changes are followed.
    Live,
    /// It waits for an operator to resume it, and keeps its place.
    Paused,
    /// It was told to stop, and did.
    Stopped,
    /// It ended with a failure.
    Failed,
}

/// Who paused a pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PausedBy {
    /// An operator, until one resumes it or the process ends.
    Operator,
    /// `paused = true` in its configuration.
    Configuration,
    /// Itself: too many of its documents failed.
    Failures,
}

/// One pipeline as it stands. Numbers that may exceed 2^53 are texts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PipelineView {
    /// Its name.
    pub pipeline: String,
    /// Its builder's version; empty until it is loaded.
    pub builder: String,
    /// Where it is in its life.
    pub phase: Phase,
    /// Whether it does what it should: live, or backfilling, and not stuck.
    pub ready: bool,
    /// Who paused it, while it is.
    pub paused_by: Option<PausedBy>,
    /// What it waits on, if it does.
    pub waiting_on: Option<&'static str>,
    /// For how long.
    pub waiting_ms: u64,
    /// The position confirmed last.
    pub confirmed_position: Option<String>,
    /// From commit to durable, of the documents that became durable last.
    pub lag_ms: Option<u64>,
    /// Changes taken from the stream.
    pub changes: u64,
    /// Changes that wait in the queue.
    pub queued_changes: usize,
    /// Their bytes.
    pub queued_bytes: usize,
    /// Documents written; one written twice counts twice.
    pub documents: u64,
    /// Deletes of documents.
    pub deleted: u64,
    /// Writes that lost against a later one.
    pub stale: u64,
    /// Documents refused for themselves.
    pub rejected: u64,
    /// The passes that are under way.
    pub passes: Vec<PassView>,
    /// Its replication slot, once it was looked at.
    pub slot: Option<SlotView>,
    /// The last failure that was not tried again, or is being.
    pub last_failure: Option<String>,
}

/// A pass under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PassView {
    /// Its number, as text.
    pub id: String,
    /// The index.
    pub index: String,
    /// Why.
    pub reason: String,
    /// Documents done.
    pub documents: u64,
    /// About how many there are.
    pub of: Option<u64>,
    /// Whether everything is written, and only late writes are waited for.
    pub settling: bool,
}

/// A replication slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SlotView {
    /// Bytes of log that the source keeps for it.
    pub retained_bytes: Option<String>,
    /// Bytes that may still be written before the source may give it up; none where there is no such limit.
    pub safe_bytes: Option<String>,
    /// The server's word for how it stands.
    pub status: String,
}

/// Keeps the view of one pipeline.
#[derive(Debug)]
pub struct Status {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    view: PipelineView,
    passes: BTreeMap<u64, PassReport>,
    waiting_since: Option<Instant>,
    was_live: bool,
}

impl Status {
    /// A wait longer than this makes a pipeline unready.
    pub const WAITING_MAX: Duration = Duration::from_secs(60);

    /// A pipeline that is about to start.
    pub fn new(pipeline: impl Into<String>) -> Arc<Self> {
        let view = PipelineView {
            pipeline: pipeline.into(),
            builder: String::new(),
            phase: Phase::Starting,
            ready: false,
            paused_by: None,
            waiting_on: None,
            waiting_ms: 0,
            confirmed_position: None,
            lag_ms: None,
            changes: 0,
            queued_changes: 0,
            queued_bytes: 0,
            documents: 0,
            deleted: 0,
            stale: 0,
            rejected: 0,
            passes: Vec::new(),
            slot: None,
            last_failure: None,
        };
        let state = State { view, passes: BTreeMap::new(), waiting_since: None, was_live: false };
        Arc::new(Self { state: Mutex::new(state) })
    }

    /// As it stands now.
    pub fn view(&self) -> PipelineView {
        let state = self.state();
        let waited = state.waiting_since.map(|since| since.elapsed()).unwrap_or_default();
        let mut view = state.view.clone();
        view.waiting_ms = waited.as_millis() as u64;
        view.ready = matches!(view.phase, Phase::Live | Phase::Backfilling) && waited <= Self::WAITING_MAX;
        view.passes = state
            .passes
            .values()
            .map(|pass| PassView {
                id: pass.id.to_string(),
                index: pass.index.to_string(),
                reason: pass.reason.to_string(),
                documents: pass.documents,
                of: pass.of,
                settling: pass.settling,
            })
            .collect();
        view
    }

    /// Its builder is loaded.
    pub fn builder_is(&self, version: &str) {
        self.state().view.builder = version.to_owned();
    }

    /// It is about to start, again perhaps.
    pub fn starting(&self) {
        let mut state = self.state();
        state.waiting_since = None;
        state.view.waiting_on = None;
        state.view.paused_by = None;
        state.view.last_failure = None;
        state.view.phase = Phase::Starting;
    }

    /// It has ended, and waits for an operator.
    pub fn paused(&self, by: PausedBy, failure: Option<&Failure>) {
        self.ended(failure);
        let mut state = self.state();
        state.waiting_since = Some(Instant::now());
        state.view.waiting_on = Some(Waiting::Operator.as_str());
        state.view.paused_by = Some(by);
        state.view.phase = Phase::Paused;
    }

    /// It ended.
    pub fn ended(&self, failure: Option<&Failure>) {
        let mut state = self.state();
        state.waiting_since = None;
        state.passes.clear();
        state.view.waiting_on = None;
        state.view.paused_by = None;
        (state.view.queued_changes, state.view.queued_bytes) = (0, 0);
        state.view.phase = match failure {
            Some(_) => Phase::Failed,
            None => Phase::Stopped,
        };
        if let Some(failure) = failure {
            state.view.last_failure = Some(failure.chain());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Documents are moving or a pass was reported: the start is over.
    fn advance(&mut self) {
        self.view.phase = match self.was_live && self.passes.values().all(|pass| pass.settling) {
            true => Phase::Live,
            false => Phase::Backfilling,
        };
    }
}

impl Observer for Status {
    fn on_start(&self) {
        let mut state = self.state();
        state.passes.clear();
        state.was_live = false;
        state.view.phase = Phase::Starting;
    }

    fn on_slot(&self, report: &SlotReport) {
        self.state().view.slot = Some(SlotView {
            retained_bytes: report.retained_bytes.map(|bytes| bytes.to_string()),
            safe_bytes: report.safe_bytes.map(|bytes| bytes.to_string()),
            status: report.status.clone(),
        });
    }

    fn on_captured(&self, changes: usize, _bytes: usize) {
        self.state().view.changes += changes as u64;
    }

    fn on_queue(&self, changes: usize, bytes: usize) {
        let mut state = self.state();
        (state.view.queued_changes, state.view.queued_bytes) = (changes, bytes);
    }

    fn on_written(&self, written: &Written) {
        let mut state = self.state();
        state.view.documents += written.documents.len() as u64;
        state.view.deleted += written.absent.len() as u64;
        state.view.stale += written.stale as u64;
        if let Origin::Live { committed_at_us } = written.origin {
            state.view.lag_ms = Some(since(committed_at_us).as_millis() as u64);
        }
        state.advance();
    }

    fn on_rejected(&self, _index: &str, _id: &str, _rejection: &Rejection) {
        self.state().view.rejected += 1;
    }

    fn on_confirmed(&self, position: Position) {
        self.state().view.confirmed_position = Some(position.to_string());
    }

    fn on_pass(&self, report: &PassReport) {
        let mut state = self.state();
        match report.done {
            true => drop(state.passes.remove(&report.id)),
            false => drop(state.passes.insert(report.id, report.clone())),
        }
        state.advance();
    }

    fn on_waiting(&self, waiting: Option<Waiting>) {
        let mut state = self.state();
        let word = waiting.map(Waiting::as_str);
        if state.view.waiting_on != word {
            state.view.waiting_on = word;
            state.waiting_since = word.map(|_| Instant::now());
        }
    }

    fn on_live(&self) {
        let mut state = self.state();
        state.was_live = true;
        state.advance();
    }

    fn on_error(&self, failure: &Failure) {
        self.state().view.last_failure = Some(failure.chain());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::PassReason;

    fn pass(done: bool) -> PassReport {
        PassReport {
            id: 1,
            index: "users".into(),
            reason: PassReason::Backfill,
            documents: 5,
            of: Some(10),
            settling: false,
            done,
        }
    }

    #[test]
    fn a_pipeline_is_ready_while_it_backfills_and_while_it_is_live() {
        let status = Status::new("shop");
        assert!(!status.view().ready);
        status.on_pass(&pass(false));
        let view = status.view();
        assert_eq!((view.phase, view.ready, view.passes.len()), (Phase::Backfilling, true, 1));
        status.on_pass(&pass(true));
        status.on_live();
        assert_eq!(status.view().phase, Phase::Live);
        // A pass while it is live, such as a TRUNCATE asks for.
        status.on_pass(&pass(false));
        assert_eq!(status.view().phase, Phase::Backfilling);
        status.on_pass(&pass(true));
        assert_eq!(status.view().phase, Phase::Live);
        status.ended(Some(&Failure::fatal("gone")));
        let view = status.view();
        assert_eq!((view.phase, view.ready), (Phase::Failed, false));
        assert_eq!(view.last_failure.as_deref(), Some("gone"));
    }
}
