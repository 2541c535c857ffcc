//! Two processes on one destination: the first stands still for as long as it likes between any two steps (SIGSTOP, a
//! paused machine), the second takes slot and destination over, the first goes on.
//!
//! Rules:
//! - the state is written by compare-and-set only, and a lost compare ends the process: otherwise the first writes back
//!   a state without the pass that the second recorded, and the position that allowed it is confirmed already;
//! - a process sends documents only with a fresh proof that it owns the state: it was read, a short time ago, and named
//!   this process. Compare-and-set guards the state, not the documents, and the second's window at its start, which is
//!   longer than a proof is fresh and a request can be held, covers what was sent with an earlier one. Neither how old the
//!   bytes are nor when they were read does: a process that goes on after the window may read a row that is deleted next.

use crate::check::{Protocol, breaks, holds};

#[derive(Clone, Copy)]
struct Owner {
    compare_and_set: bool,
    proves_before_it_sends: bool,
}

const ALL: Owner = Owner { compare_and_set: true, proves_before_it_sends: true };

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct State {
    /// The durable state: its revision, and whether a pass is recorded.
    revision: u8,
    pass: bool,
    first: First,
    second: Second,
    /// The row is there; TRUNCATE (or a deletion) takes it away.
    row: bool,
    truncated: Done,
    /// The document, and whether the server still knows the version of its deletion.
    document: bool,
    deletion_known: bool,
    crashed: bool,
    /// The second process's window at its start has closed.
    window_closed: bool,
}

/// The process that was there first, and has the state of revision 1 in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum First {
    /// It has read nothing.
    #[default]
    On,
    /// It read the document while the row was there, and has not sent it.
    Read,
    /// And has seen that the state names it; it sends soon, or asks again.
    Proved,
    Sent,
    Gone,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Second {
    #[default]
    NotYet,
    On,
}

/// What became of the TRUNCATE.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Done {
    #[default]
    NotYet,
    Published,
    Recorded,
    Confirmed,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    TakeOver,
    WindowCloses,
    Truncate,
    Record,
    Confirm,
    Pass,
    Forget,
    Read,
    Prove,
    Expire,
    Send,
    Apply,
    WriteState,
    Crash,
}

impl Protocol for Owner {
    type State = State;
    type Step = Step;

    fn start(&self) -> State {
        State { revision: 1, row: true, document: true, ..State::default() }
    }

    fn steps(&self, s: &State, steps: &mut Vec<Step>) {
        let on = s.second == Second::On;
        let cases = [
            (Step::TakeOver, !on),
            (Step::WindowCloses, on && !s.window_closed && !matches!(s.first, First::Proved | First::Sent)),
            (Step::Truncate, on && s.truncated == Done::NotYet),
            (Step::Record, on && s.truncated == Done::Published),
            (Step::Confirm, on && s.truncated == Done::Recorded),
            (Step::Pass, on && s.pass && s.window_closed),
            (Step::Forget, !s.document && s.deletion_known),
            (Step::Read, s.first == First::On && s.row),
            (Step::Prove, s.first == First::Read && self.proves_before_it_sends),
            (Step::Expire, s.first == First::Proved),
            (Step::Send, s.first == if self.proves_before_it_sends { First::Proved } else { First::Read }),
            (Step::Apply, s.first == First::Sent),
            (Step::WriteState, s.first == First::On && on),
            (Step::Crash, on && !s.crashed),
        ];
        steps.extend(cases.into_iter().filter(|(_, may)| *may).map(|(step, _)| step));
    }

    fn after(&self, before: &State, step: &Step) -> State {
        let mut s = *before;
        match *step {
            Step::TakeOver => {
                s.second = Second::On;
                s.revision += 1;
            }
            Step::WindowCloses => {
                s.window_closed = true;
            }
            Step::Truncate => (s.truncated, s.row) = (Done::Published, false),
            Step::Record => {
                (s.truncated, s.pass) = (Done::Recorded, true);
                s.revision += 1;
            }
            Step::Confirm => s.truncated = Done::Confirmed,
            Step::Pass => {
                (s.document, s.deletion_known, s.pass) = (s.row, !s.row, false);
                s.revision += 1;
            }
            Step::Forget => s.deletion_known = false,
            Step::Read => s.first = First::Read,
            Step::Prove => s.first = if s.second == Second::On { First::Gone } else { First::Proved },
            Step::Expire => s.first = First::Read,
            Step::Send => s.first = First::Sent,
            Step::Apply => {
                s.document |= !s.deletion_known;
                s.first = First::Gone;
            }
            Step::WriteState => {
                if !self.compare_and_set {
                    s.pass = false;
                    s.revision += 1;
                }
                s.first = First::Gone;
            }
            // Another process of the second's kind: what it held in memory is gone; the state and the slot are not.
            Step::Crash => {
                s.crashed = true;
                s.window_closed = false;
                if s.truncated < Done::Confirmed && s.truncated > Done::NotYet {
                    s.truncated = Done::Published;
                }
                s.revision += 1;
            }
        }
        s
    }

    fn ended(&self, s: &State) -> bool {
        s.truncated == Done::Confirmed && !s.pass && s.first == First::Gone && s.window_closed
    }

    fn wrong(&self, s: &State) -> Option<String> {
        (self.ended(s) && s.document != s.row).then(|| "the document is there, its row is not".to_owned())
    }

    fn words(&self, s: &State, step: &Step) -> String {
        match step {
            Step::TakeOver => "the second process takes over and starts".to_owned(),
            Step::WindowCloses => "the second's late window closes".to_owned(),
            Step::Truncate => "TRUNCATE is committed and published".to_owned(),
            Step::Record => "the second records a pass".to_owned(),
            Step::Confirm => "the second confirms the slot behind the TRUNCATE".to_owned(),
            Step::Pass => "the second's pass deletes the document and ends".to_owned(),
            Step::Forget => "the server forgets the version of the deletion".to_owned(),
            Step::Read => "the first reads the document, whose row is there".to_owned(),
            Step::Prove if s.second == Second::On => {
                "the first sees that the state names the second, and ends".to_owned()
            }
            Step::Prove => "the first sees that the state names it".to_owned(),
            Step::Expire => "the first has not sent for so long that it must ask again".to_owned(),
            Step::Send => "the first sends it".to_owned(),
            Step::Apply if s.deletion_known => "the server applies the first's request: 409".to_owned(),
            Step::Apply => "the server applies the first's request: written".to_owned(),
            Step::WriteState if self.compare_and_set => {
                "the first writes its state: the compare fails, it ends".to_owned()
            }
            Step::WriteState => "the first writes its state over the second's, and ends".to_owned(),
            Step::Crash => "the second is killed and starts again".to_owned(),
        }
    }
}

#[test]
fn a_process_that_was_stopped_and_goes_on_harms_nothing() {
    holds("two processes", ALL);
    breaks("the state is written without compare", Owner { compare_and_set: false, ..ALL });
    breaks("documents are sent without a proof", Owner { proves_before_it_sends: false, ..ALL });
}
