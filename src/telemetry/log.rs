//! [`Log`]: what a person should read of a pipeline, as log lines. What repeats is said once in a while.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::pace::Pace;
use crate::edges::{Failure, FailureClass, Observer, PassReport, SlotReport, Waiting};
use crate::model::{Position, Rejection};

/// How often the same trouble is said.
const EVERY: Duration = Duration::from_secs(10);

/// How often a slot in danger is said.
const SLOT_EVERY: Duration = Duration::from_secs(60);
/// From here on what a slot retains is worth a warning.
const RETAINED_BYTES_HIGH: u64 = 1 << 30;
/// So little is left before the source may give the slot up.
const SAFE_BYTES_LOW: i64 = 256 << 20;

/// Logs one pipeline.
#[derive(Debug)]
pub struct Log {
    pipeline: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    pace: Pace,
    waiting: Option<Waiting>,
    slot_said: Option<Instant>,
    live: bool,
    /// Passes whose beginning was said.
    begun: Vec<u64>,
}

impl Log {
    /// For a pipeline of that name.
    pub fn new(pipeline: impl Into<String>) -> Self {
        Self {
            pipeline: pipeline.into(),
            state: Mutex::new(State {
                pace: Pace::new(EVERY),
                waiting: None,
                slot_said: None,
                live: false,
                begun: Vec::new(),
            }),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn slot_is_due(&self) -> bool {
        let mut state = self.state();
        let now = Instant::now();
        let due = state.slot_said.is_none_or(|said| now.duration_since(said) >= SLOT_EVERY);
        if due {
            state.slot_said = Some(now);
        }
        due
    }

    fn admit(&self, text: &str) -> Option<u64> {
        self.state().pace.admit(text, Instant::now())
    }
}

impl Observer for Log {
    fn on_start(&self) {
        let mut state = self.state();
        state.live = false;
        state.begun.clear();
    }

    fn on_slot(&self, report: &SlotReport) {
        let SlotReport { retained_bytes, safe_bytes, status, lost } = report;
        let retained = retained_bytes.unwrap_or_default();
        let narrow = safe_bytes.is_some_and(|safe| safe < SAFE_BYTES_LOW);
        let in_danger = narrow || !matches!(status.as_str(), "reserved" | "extended" | "");
        if (in_danger || retained > RETAINED_BYTES_HIGH) && self.slot_is_due() {
            tracing::warn!(
                pipeline = %self.pipeline, retained_bytes = retained, safe_bytes, status, lost,
                "the replication slot keeps a lot of the source's log: see what the pipeline waits on, or the source's disk fills \
                 and it may give the slot up"
            );
        }
    }

    fn on_rejected(&self, index: &str, id: &str, rejection: &Rejection) {
        // By kind and index: a million bad documents are one kind of trouble.
        if let Some(more) = self.admit(&format!("{index} {}", rejection.kind)) {
            tracing::warn!(
                pipeline = %self.pipeline, index, id, kind = %rejection.kind, reason = %rejection.reason,
                not_logged = more, "a document was rejected"
            );
        }
    }

    fn on_retry(&self, stage: &'static str, reason: &str) {
        tracing::debug!(pipeline = %self.pipeline, stage, reason, "tried again");
    }

    fn on_confirmed(&self, position: Position) {
        tracing::trace!(pipeline = %self.pipeline, %position, "confirmed");
    }

    fn on_pass(&self, report: &PassReport) {
        let PassReport { id, index, .. } = report;
        let mut state = self.state();
        let known = state.begun.contains(id);
        if report.done {
            state.begun.retain(|begun| begun != id);
            tracing::info!(
                pipeline = %self.pipeline, %index, reason = %report.reason, documents = report.documents, "pass done"
            );
        } else if !known {
            state.begun.push(*id);
            tracing::info!(
                pipeline = %self.pipeline, %index, reason = %report.reason, documents = report.documents,
                about = report.of, "pass under way"
            );
        }
    }

    fn on_waiting(&self, waiting: Option<Waiting>) {
        let mut state = self.state();
        if state.waiting == waiting {
            return;
        }
        state.waiting = waiting;
        // Such waits come and go many times a second on a busy system; status and metrics show them.
        if let Some(
            waiting
            @ (Waiting::Source | Waiting::SlotInUse | Waiting::QuietPoint | Waiting::Visibility | Waiting::Sink),
        ) = waiting
            && state.pace.admit(waiting.as_str(), Instant::now()).is_some()
        {
            tracing::info!(pipeline = %self.pipeline, waiting_on = waiting.as_str(), "waiting");
        }
    }

    fn on_live(&self) {
        let mut state = self.state();
        if !std::mem::replace(&mut state.live, true) {
            tracing::info!(pipeline = %self.pipeline, "live: all passes are done, and changes are followed");
        }
    }

    fn on_error(&self, failure: &Failure) {
        let text = failure.chain();
        match failure.class {
            // Whoever runs the pipeline gets it as the answer, and says it once.
            FailureClass::Fatal => tracing::debug!(pipeline = %self.pipeline, failure = %text, "fatal"),
            class => {
                if let Some(more) = self.admit(&text) {
                    tracing::warn!(pipeline = %self.pipeline, ?class, not_logged = more, "tried again: {text}");
                }
            }
        }
    }
}
