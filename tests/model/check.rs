//! How a model is explored: breadth first with one thread, so that the first counter-example is a shortest one, printed
//! as numbered steps. May use `stateright`; knows none of the models.

use std::fmt::Debug;
use std::hash::Hash;
use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model, Property};

/// A protocol as steps from state to state.
pub trait Protocol: Send + Sync + 'static {
    /// All that matters.
    type State: Clone + Debug + Eq + Hash + Send + Sync;
    /// One thing that may happen.
    type Step: Clone + Debug + PartialEq + Send + Sync;

    /// Where it begins.
    fn start(&self) -> Self::State;
    /// What may happen in `state`.
    fn steps(&self, state: &Self::State, steps: &mut Vec<Self::Step>);
    /// The state after `step`, which [`steps`](Self::steps) gave for `state`.
    fn after(&self, state: &Self::State, step: &Self::Step) -> Self::State;
    /// Whether everything is delivered and nothing is in flight.
    fn ended(&self, state: &Self::State) -> bool;
    /// What is wrong with `state`: at the end, or where a promise holds at every moment.
    fn wrong(&self, state: &Self::State) -> Option<String>;
    /// `step` in plain words.
    fn words(&self, state: &Self::State, step: &Self::Step) -> String;
}

/// What [`explore`] found.
pub struct Explored {
    /// Different states.
    pub states: usize,
    /// Steps between them.
    pub edges: usize,
    /// The steps to the nearest wrong state, and what is wrong there.
    pub counter_example: Option<(Vec<String>, String)>,
    ends: bool,
}

const RIGHT: &str = "whatever ends is right, and nothing is stuck";
const ENDS: &str = "an end is reached";

struct Checked<P>(P);

/// A state, or the discovery that nothing can happen in it although it is no end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Reached<S> {
    state: S,
    stuck: bool,
}

impl<P: Protocol> Model for Checked<P> {
    type State = Reached<P::State>;
    /// `None`: nothing can happen.
    type Action = Option<P::Step>;

    fn init_states(&self) -> Vec<Self::State> {
        vec![Reached { state: self.0.start(), stuck: false }]
    }

    fn actions(&self, reached: &Self::State, actions: &mut Vec<Self::Action>) {
        if reached.stuck {
            return;
        }
        let mut steps = Vec::with_capacity(16);
        self.0.steps(&reached.state, &mut steps);
        if steps.is_empty() && !self.0.ended(&reached.state) {
            actions.push(None);
        }
        actions.extend(steps.into_iter().map(Some));
    }

    fn next_state(&self, reached: &Self::State, action: Self::Action) -> Option<Self::State> {
        Some(match action {
            Some(step) => Reached { state: self.0.after(&reached.state, &step), stuck: false },
            None => Reached { state: reached.state.clone(), stuck: true },
        })
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(RIGHT, |model: &Self, reached: &Self::State| {
                !reached.stuck && model.0.wrong(&reached.state).is_none()
            }),
            Property::sometimes(ENDS, |model: &Self, reached: &Self::State| model.0.ended(&reached.state)),
        ]
    }
}

/// Explores every state that can be reached, or as far as the first wrong one.
pub fn explore<P: Protocol>(protocol: P) -> Explored {
    let checker = Checked(protocol).checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let protocol = &checker.model().0;
    let counter_example = checker.discovery(RIGHT).map(|path| {
        let stuck = path.last_state().stuck;
        let wrong = if stuck { None } else { protocol.wrong(&path.last_state().state) };
        let steps = path.into_vec().into_iter().filter_map(|(reached, action)| {
            action.flatten().map(|step: P::Step| protocol.words(&reached.state, &step))
        });
        (steps.collect(), wrong.unwrap_or_else(|| "nothing can go on".to_owned()))
    });
    Explored {
        states: checker.unique_state_count(),
        edges: checker.state_count(),
        counter_example,
        ends: checker.discovery(ENDS).is_some(),
    }
}

/// Every end of `protocol` is right.
#[track_caller]
pub fn holds<P: Protocol>(what: &str, protocol: P) {
    let (explored, seconds) = timed(protocol);
    if let Some((steps, wrong)) = &explored.counter_example {
        panic!("{what}: should hold, but:\n{}", numbered(steps, wrong));
    }
    assert!(explored.ends, "{what}: no end is reached, so that nothing was shown");
    println!("holds: {what}: {} states, {} edges, all of them{seconds}", explored.states, explored.edges);
}

/// Without the rule that `protocol` lacks something goes wrong: prints the shortest way to it.
#[track_caller]
pub fn breaks<P: Protocol>(what: &str, protocol: P) {
    let (explored, seconds) = timed(protocol);
    let Some((steps, wrong)) = &explored.counter_example else {
        panic!("{what}: no counter-example in {} states, so that the rule is not needed", explored.states);
    };
    println!(
        "breaks: {what}: {} states, {} edges until the first{seconds}\n{}",
        explored.states,
        explored.edges,
        numbered(steps, wrong)
    );
}

fn timed<P: Protocol>(protocol: P) -> (Explored, String) {
    let begun = Instant::now();
    let explored = explore(protocol);
    (explored, format!(" ({:.1} s)", begun.elapsed().as_secs_f32()))
}

fn numbered(steps: &[String], wrong: &str) -> String {
    let mut lines: Vec<String> =
        steps.iter().enumerate().map(|(place, step)| format!("    {:2}. {step}", place + 1)).collect();
    lines.push(format!("    =>  {wrong}"));
    lines.join("\n")
}
