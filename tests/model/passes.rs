//! Passes asked for again while they run or rest: two documents walked one after the other, three TRUNCATEs, crashes.
//!
//! Rules: a request is durable before the position that it allows is confirmed; the record holds the *position* of the
//! newest request, and the pass ends by compare-and-set on it; a newer request makes the walk begin anew, either at
//! once (it resets the progress in the same write) or after the present walk (it goes on, and the position it began at
//! is in the record too).

use crate::check::{Protocol, breaks, holds};

#[derive(Clone, Copy)]
struct Passes {
    /// The record holds the newest request's position; otherwise only that there is one.
    position: bool,
    /// What a newer request does to progress.
    newer: Newer,
    /// The record is written before the request's position is confirmed.
    record_first: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Newer {
    Resets,
    /// The present walk goes on; the position that it began at is recorded and compared at its end.
    Follows,
    /// Progress is kept, and nothing says which request it belongs to.
    Keeps,
}

const ALL: Passes = Passes { position: true, newer: Newer::Resets, record_first: true };
const REQUESTS: u8 = 3;
const CRASHES: u8 = 2;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct State {
    /// TRUNCATEs published, taken, and confirmed.
    published: u8,
    taken: u8,
    confirmed: u8,
    /// Taken and not recorded yet (without the rule).
    unrecorded: u8,
    /// The record: what was asked (0: no record), what the walk began at, how far it is.
    asked: u8,
    begun: u8,
    progress: u8,
    /// Where each document was read last.
    documents: [u8; 2],
    /// What the running walk began at; 0: none runs.
    running: u8,
    crashes: u8,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Truncate,
    Ask,
    Record,
    Confirm,
    Begin,
    Again,
    Chunk,
    End,
    Crash,
}

impl Passes {
    fn record(&self, s: &mut State, request: u8) {
        if s.asked == 0 {
            (s.begun, s.progress) = (if self.position { request } else { 1 }, 0);
        } else if self.position && self.newer == Newer::Resets {
            (s.begun, s.progress) = (request, 0);
        }
        s.asked = if self.position { request } else { 1 };
    }

    /// The walk belongs to an older request than the newest.
    fn is_overtaken(&self, s: &State) -> bool {
        let began = if self.newer == Newer::Keeps { s.running } else { s.begun };
        self.position && began < s.asked
    }
}

impl Protocol for Passes {
    type State = State;
    type Step = Step;

    fn start(&self) -> State {
        State { crashes: CRASHES, ..State::default() }
    }

    fn steps(&self, s: &State, steps: &mut Vec<Step>) {
        if s.published < REQUESTS {
            steps.push(Step::Truncate);
        }
        if s.taken < s.published {
            steps.push(Step::Ask);
        }
        if s.unrecorded > 0 {
            steps.push(Step::Record);
        }
        if s.confirmed < s.taken {
            steps.push(Step::Confirm);
        }
        if s.asked > 0 && s.running == 0 {
            steps.push(Step::Begin);
        }
        if s.running > 0 {
            steps.push(match s.progress {
                0 | 1 => Step::Chunk,
                _ if self.is_overtaken(s) => Step::Again,
                _ => Step::End,
            });
        }
        if s.crashes > 0 {
            steps.push(Step::Crash);
        }
    }

    fn after(&self, before: &State, step: &Step) -> State {
        let mut s = *before;
        match *step {
            Step::Truncate => s.published += 1,
            Step::Ask => {
                s.taken += 1;
                if self.record_first {
                    let taken = s.taken;
                    self.record(&mut s, taken);
                } else {
                    s.unrecorded = s.taken;
                }
            }
            Step::Record => {
                let request = std::mem::take(&mut s.unrecorded);
                self.record(&mut s, request);
            }
            Step::Confirm => s.confirmed = s.taken,
            Step::Begin => s.running = s.asked,
            Step::Again => (s.begun, s.running, s.progress) = (s.asked, s.asked, 0),
            Step::Chunk => {
                s.documents[usize::from(s.progress)] = s.published;
                s.progress += 1;
            }
            Step::End => (s.asked, s.begun, s.running, s.progress) = (0, 0, 0, 0),
            Step::Crash => {
                s.crashes -= 1;
                (s.taken, s.unrecorded, s.running) = (s.confirmed, 0, 0);
            }
        }
        s
    }

    fn ended(&self, s: &State) -> bool {
        s.published == REQUESTS && is_quiet(s)
    }

    fn wrong(&self, s: &State) -> Option<String> {
        let stale = s.documents.iter().position(|read| *read < s.published)?;
        let read = s.documents[stale];
        is_quiet(s).then(|| format!("document {stale} was read at {read}, the last TRUNCATE was at {}", s.published))
    }

    fn words(&self, s: &State, step: &Step) -> String {
        match *step {
            Step::Truncate => format!("TRUNCATE is committed and published at {}", s.published + 1),
            Step::Ask if self.record_first => format!("the request of {} is recorded", s.taken + 1),
            Step::Ask => format!("the request of {} is noted in memory", s.taken + 1),
            Step::Record => format!("the request of {} is recorded", s.unrecorded),
            Step::Confirm => format!("the slot is confirmed at {}", s.taken),
            Step::Begin => format!("the pass begins at progress {}", s.progress),
            Step::Again => "it was asked for again: the walk begins anew".to_owned(),
            Step::Chunk => format!("document {} is read at {} and written", s.progress, s.published),
            Step::End => "the pass ends".to_owned(),
            Step::Crash => format!("kill -9 and start; the stream begins behind {}", s.confirmed),
        }
    }
}

/// Every request was taken, and no pass is left.
fn is_quiet(s: &State) -> bool {
    s.taken == s.published && s.asked == 0 && s.unrecorded == 0
}

#[test]
fn a_pass_that_is_asked_for_again_is_done_again() {
    holds("a newer request resets the walk", ALL);
    holds("a newer request follows the walk", Passes { newer: Newer::Follows, ..ALL });
    breaks("the record is a flag", Passes { position: false, ..ALL });
    breaks("progress is kept for a newer request", Passes { newer: Newer::Keeps, ..ALL });
    breaks("the slot is confirmed before the request is recorded", Passes { record_first: false, ..ALL });
}
