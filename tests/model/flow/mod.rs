//! One document.

mod after;
mod rules;
mod state;
mod steps;
mod words;
mod tests;

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
        State { builder: 1, record: Record { builder: 1, ..Record::default() }, left: self.bounds.left, ..State::default() }
    }

    fn steps(&self, state: &State, steps: &mut Vec<Step>) {
        self.guard(state, steps);
    }

    fn after(&self, state: &State, step: &Step) -> State {
        self.effect(state, *step)
    }

    fn ended(&self, s: &State) -> bool {
        usize::from(s.begun) == self.bounds.transactions.len()
            && s.visible.count_ones() as usize == s.log.len()
            && usize::from(s.published) == s.log.len()
            && s.taken == s.published
            && s.batches.is_empty()
            && s.tasks.iter().all(|task| task.stage == Stage::Free)
            && s.net.is_empty()
            && s.look == Look::None
            && s.barrier == Barrier::None
            && s.pass == Pass::None
    }

    fn wrong(&self, s: &State) -> Option<String> {
        if !self.ended(s) {
            return None;
        }
        let want = self.assemble(s, s.builder);
        let found = s.index.content;
        (found != want).then(|| {
            format!("the index has {}, the rows give {}", words::document(found), words::document(want))
        })
    }

    fn words(&self, state: &State, step: &Step) -> String {
        self.tell(state, *step)
    }
}
