//! The order of publication: one document of two rows, two transactions, two workers.
//!
//! Rule: transactions are published strictly in commit order, even where a later commit is visible first. The label is
//! the highest position that was published, so a label says "everything at or before it" only if nothing before it is
//! missing.

use crate::check::{Protocol, breaks, holds};
use crate::list::List;

struct Order {
    in_commit_order: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct State {
    committed: u8,
    /// Bits, as everywhere below: transaction 1 is bit 0.
    visible: u8,
    published: u8,
    /// Published, and not taken by a worker yet.
    waiting: List<u8, 2>,
    workers: [Worker; 2],
    net: List<Request, 2>,
    index: (u8, u8),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Worker {
    #[default]
    Idle,
    Labelled(u8),
    Waits,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Request {
    label: u8,
    content: u8,
    worker: u8,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Commit,
    Show(u8),
    Publish(u8),
    Take(u8),
    Send(u8),
    Apply(u8),
}

fn bit(transaction: u8) -> u8 {
    1 << (transaction - 1)
}

fn effects(content: u8) -> &'static str {
    ["neither transaction", "transaction 1 alone", "transaction 2 alone", "both transactions"][usize::from(content)]
}

impl Protocol for Order {
    type State = State;
    type Step = Step;

    fn start(&self) -> State {
        State::default()
    }

    fn steps(&self, s: &State, steps: &mut Vec<Step>) {
        if s.committed < 2 {
            steps.push(Step::Commit);
        }
        for one in 1..=s.committed {
            if s.visible & bit(one) == 0 {
                steps.push(Step::Show(one));
            }
            let next = !self.in_commit_order || s.published == bit(one) - 1;
            if s.visible & bit(one) != 0 && s.published & bit(one) == 0 && next {
                steps.push(Step::Publish(one));
            }
        }
        for (number, worker) in (0..).zip(&s.workers) {
            match worker {
                Worker::Idle if !s.waiting.is_empty() => steps.push(Step::Take(number)),
                Worker::Labelled(_) => steps.push(Step::Send(number)),
                _ => {}
            }
        }
        steps.extend((0..s.net.len() as u8).map(Step::Apply));
    }

    fn after(&self, before: &State, step: &Step) -> State {
        let mut s = *before;
        match *step {
            Step::Commit => s.committed += 1,
            Step::Show(one) => s.visible |= bit(one),
            Step::Publish(one) => {
                s.published |= bit(one);
                s.waiting.push(one);
            }
            Step::Take(number) => {
                s.waiting.remove(0);
                s.workers[usize::from(number)] = Worker::Labelled(label(&s));
            }
            Step::Send(worker) => {
                let Worker::Labelled(label) = s.workers[usize::from(worker)] else { return s };
                s.workers[usize::from(worker)] = Worker::Waits;
                s.net.push(Request { label, content: s.visible, worker });
                s.net.sort_unstable();
            }
            Step::Apply(place) => {
                let request = s.net.remove(usize::from(place));
                s.workers[usize::from(request.worker)] = Worker::Idle;
                if request.label >= s.index.0 {
                    s.index = (request.label, request.content);
                }
            }
        }
        s
    }

    fn ended(&self, s: &State) -> bool {
        s.published == 3 && s.waiting.is_empty() && s.workers == [Worker::Idle; 2]
    }

    fn wrong(&self, s: &State) -> Option<String> {
        (self.ended(s) && s.index.1 != 3).then(|| format!("the index shows {}", effects(s.index.1)))
    }

    fn words(&self, s: &State, step: &Step) -> String {
        match *step {
            Step::Commit => format!("transaction {}: commit record in the log, not visible yet", s.committed + 1),
            Step::Show(one) => format!("transaction {one} becomes visible"),
            Step::Publish(one) => format!("transaction {one} is published"),
            Step::Take(number) => format!("worker {number} takes transaction {}, label {}", s.waiting[0], label(s)),
            Step::Send(number) => format!("worker {number} reads {} and sends", effects(s.visible)),
            Step::Apply(place) => {
                let Request { label, content, worker } = s.net[usize::from(place)];
                let outcome = if label >= s.index.0 { "written" } else { "409" };
                format!("the server applies {} of worker {worker}, label {label}: {outcome}", effects(content))
            }
        }
    }
}

/// The highest position that was published.
fn label(s: &State) -> u8 {
    8 - s.published.leading_zeros() as u8
}

#[test]
fn transactions_are_published_in_commit_order() {
    holds("the fence in commit order", Order { in_commit_order: true });
    breaks("each transaction published as soon as it is visible itself", Order { in_commit_order: false });
}
