//! One document, from the source's commit to the index: fence, label, version, one hand, late window, crash, change of
//! builder.
//!
//! ```text
//! commit ─▶ visible ─▶ published ─▶ batch ─▶ task (label) ─▶ snapshot ─▶ request ─▶ server ─▶ report ─▶ watermark ─▶ confirmed
//!    └─ decoded before it is visible            ▲                └─ unknown outcome: late, applied any time in its window
//!                                               └─ second look, pass, sweep
//! ```
//!
//! # The rules
//!
//! **Fence.** A commit is published only when a snapshot shows it, in commit order (`order.rs`).
//!
//! **Label.** The highest position published when the task is made, taken before its snapshot; with the history
//! (`history.rs`) it is the version of what the task writes, and the higher version wins. Nothing relies on equal
//! versions: either may win. After a start labels begin again at the confirmed position.
//!
//! **One hand.** The document is in one task at a time, from before its label until its report. Whoever wants it
//! meanwhile shares the next task.
//!
//! **Late window.** A request whose outcome is unknown may be applied at any time within the window that covers it, and
//! a deletion's version may be forgotten at any time. So, with one `open_until` for all documents:
//! - it is `now + W` after a start (unless the last shutdown was clean), and from every report of a task of which some
//!   request had no known outcome; a task that goes to another worker still knows of those; W is longer than any
//!   request can be late;
//! - *absent*, reported: if the task was **made** at or after the document's deadline, or (not remembered) at or after
//!   `open_until`, it is final. Otherwise the document is remembered, with deadline `open_until`, unless it has a
//!   deadline already. *Made*, not reported: a deletion may be applied, forgotten and undone by a late request before
//!   the deadline, and reported after it;
//! - an unknown outcome in the task of a remembered document moves its deadline to the new `open_until`;
//! - *present*, reported: a remembered document is forgotten; its version protects it;
//! - at its deadline a remembered document is assembled once more, like any other;
//! - batches and passes of a remembered document are done only when it is final or present. Later ones go on;
//! - where too much is remembered, a sweep is recorded (behind a new marker) and nobody waits for the documents any
//!   longer;
//! - a shutdown is clean when everything is written and confirmed and no window is open; the next start takes that word
//!   off durably before its first write.
//!
//! **Change of builder.** The record first; new tasks use the new builder, tasks that have not read are made anew, as
//! are those whose outcome becomes unknown; then a marker, and the pass begins when it is published. A start with
//! another builder, or with a record that is pending, does the same with a *new* marker: labels begin lower than those
//! of the process before.
//!
//! **Sweep** (the new builder has other ids): begins behind the marker, when no window is open, no request of the old
//! builder is unanswered, *and no task with an unknown outcome is unreported*: its window opens only with its report.

mod after;
mod rules;
mod state;
mod steps;
mod tests;
mod words;

use rules::{Bounds, Rules};
use state::{Barrier, Look, Pass, Record, Stage, State};
use steps::Step;

use crate::check::Protocol;

/// The model of one document, under some rules, within some bounds.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    rules: Rules,
    bounds: Bounds,
}

impl Protocol for Flow {
    type State = State;
    type Step = Step;

    fn start(&self) -> State {
        let record = Record { builder: 1, ..Record::default() };
        State { builder: 1, record, left: self.bounds.left, ..State::default() }
    }

    fn steps(&self, state: &State, steps: &mut Vec<Step>) {
        self.guard(state, steps);
    }

    fn after(&self, state: &State, step: &Step) -> State {
        self.effect(state, *step)
    }

    fn ended(&self, s: &State) -> bool {
        usize::from(s.begun) == self.bounds.transactions.len() && is_quiet(s)
    }

    fn wrong(&self, s: &State) -> Option<String> {
        if !is_quiet(s) {
            return None;
        }
        let want = self.assemble(s, s.builder);
        let found = s.index.content;
        (found != want)
            .then(|| format!("the index has {}, the rows give {}", words::document(found), words::document(want)))
    }

    fn words(&self, state: &State, step: &Step) -> String {
        self.tell(state, *step)
    }
}

/// Everything that was committed is delivered, and nothing is in flight.
fn is_quiet(s: &State) -> bool {
    usize::from(s.published) == s.log.len()
        && s.visible.count_ones() as usize == s.log.len()
        && s.taken == s.published
        && s.batches.is_empty()
        && s.tasks.iter().all(|task| task.stage == Stage::Free)
        && s.net.is_empty()
        && s.look == Look::None
        && s.barrier == Barrier::None
        && s.pass == Pass::None
}
