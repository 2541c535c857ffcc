//! Several destinations (pipelines or generations) on one slot: who may confirm, who may go on, who must be assembled
//! again. The log is some changes, each of which every destination needs; assembling everything at some moment brings
//! all before it.
//!
//! Rules:
//! - each destination keeps a checkpoint in its own sink, written before the slot is confirmed at it;
//! - the slot is confirmed at the smallest checkpoint of the destinations that count (neither parked nor dropped);
//! - at a start, at a return, and when a destination is put back there is one comparison: `checkpoint >= confirmed`
//!   goes on, otherwise everything is assembled again. Parked, taken out and put back, slot made anew, sink restored:
//!   one case.

use crate::check::{Protocol, breaks, holds};

#[derive(Clone, Copy)]
struct Destinations {
    rules: Rules,
    left: Left,
}

#[derive(Clone, Copy)]
struct Rules {
    comparison: bool,
    /// The slot waits for the checkpoint; otherwise for what was written.
    checkpoint_first: bool,
    smallest: bool,
}

const ALL: Rules = Rules { comparison: true, checkpoint_first: true, smallest: true };
const CHANGES: u8 = 2;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct State {
    log: u8,
    confirmed: u8,
    destinations: [Destination; 2],
    left: Left,
    /// A kill -9 of docmill alone made everything be assembled again.
    needless: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Destination {
    /// The changes that it contains, by bits.
    has: u8,
    /// How far the stream is written.
    done: u8,
    checkpoint: u8,
    /// A backup of its sink: changes and checkpoint.
    backup: Option<(u8, u8)>,
    down: bool,
    mode: Mode,
    /// Everything is to be assembled again.
    again: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Mode {
    #[default]
    Live,
    Parked,
    /// Not in the configuration, or a generation that was rolled away from.
    Out,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Left {
    down: u8,
    crash: u8,
    park: u8,
    out: u8,
    restore: u8,
    recreate: u8,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Commit,
    Write(usize),
    Checkpoint(usize),
    Again(usize),
    Down(usize),
    Up(usize),
    Park(usize),
    Return(usize),
    BackUp(usize),
    Restore(usize),
    TakeOut(usize),
    PutBack,
    Confirm(u8),
    Crash,
    Recreate,
}

impl Destinations {
    /// A start of the process: everything in memory is gone.
    fn start_again(&self, s: &mut State) {
        for destination in s.destinations.iter_mut().filter(|destination| destination.mode != Mode::Out) {
            destination.mode = Mode::Live;
            destination.done = s.confirmed;
            destination.again = self.rules.comparison && destination.checkpoint < s.confirmed;
        }
    }

    fn confirmable(&self, s: &State) -> Option<u8> {
        let counts = s.destinations.iter().filter(|destination| destination.mode == Mode::Live);
        if counts.clone().any(|destination| destination.again) {
            return None;
        }
        let of = |destination: &Destination| {
            if self.rules.checkpoint_first { destination.checkpoint } else { destination.done }
        };
        let position = if self.rules.smallest { counts.map(of).min() } else { counts.map(of).max() };
        position.filter(|position| *position > s.confirmed)
    }
}

impl Protocol for Destinations {
    type State = State;
    type Step = Step;

    fn start(&self) -> State {
        State { left: self.left, ..State::default() }
    }

    fn steps(&self, s: &State, steps: &mut Vec<Step>) {
        let left = &s.left;
        if s.log < CHANGES {
            steps.push(Step::Commit);
        }
        for (number, one) in s.destinations.iter().enumerate() {
            if one.down {
                steps.push(Step::Up(number));
            } else if one.mode == Mode::Live {
                if one.again {
                    steps.push(Step::Again(number));
                } else if one.done < s.log {
                    steps.push(Step::Write(number));
                }
                if !one.again && one.checkpoint < one.done {
                    steps.push(Step::Checkpoint(number));
                }
            } else if one.mode == Mode::Parked {
                steps.push(Step::Return(number));
            }
            if left.down > 0 && !one.down {
                steps.push(Step::Down(number));
            }
            if left.park > 0 && one.mode == Mode::Live {
                steps.push(Step::Park(number));
            }
            if left.out > 0 {
                steps.push(Step::TakeOut(number));
            }
            match one.backup {
                None if left.restore > 0 => steps.push(Step::BackUp(number)),
                Some((has, _)) if left.restore > 0 && has != one.has => steps.push(Step::Restore(number)),
                _ => {}
            }
        }
        if s.destinations.iter().any(|one| one.mode == Mode::Out) {
            steps.push(Step::PutBack);
        }
        steps.extend(self.confirmable(s).map(Step::Confirm));
        if left.crash > 0 {
            steps.push(Step::Crash);
        }
        if left.recreate > 0 {
            steps.push(Step::Recreate);
        }
    }

    fn after(&self, before: &State, step: &Step) -> State {
        let mut s = *before;
        let (log, confirmed) = (s.log, s.confirmed);
        match *step {
            Step::Commit => s.log += 1,
            Step::Write(number) => {
                let one = &mut s.destinations[number];
                one.has |= 1 << one.done;
                one.done += 1;
            }
            Step::Checkpoint(number) => s.destinations[number].checkpoint = s.destinations[number].done,
            Step::Again(number) => {
                let one = &mut s.destinations[number];
                (one.has, one.done, one.checkpoint, one.again) = ((1 << log) - 1, log, log, false);
            }
            Step::Down(number) => {
                s.left.down -= 1;
                s.destinations[number].down = true;
            }
            Step::Up(number) => s.destinations[number].down = false,
            Step::Park(number) => {
                s.left.park -= 1;
                s.destinations[number].mode = Mode::Parked;
            }
            Step::Return(number) => {
                let rules = &self.rules;
                let one = &mut s.destinations[number];
                one.again = rules.comparison && one.checkpoint < confirmed;
                (one.mode, one.done) = (Mode::Live, confirmed);
            }
            Step::BackUp(number) => {
                s.destinations[number].backup = Some((s.destinations[number].has, s.destinations[number].checkpoint));
            }
            Step::Restore(number) => {
                s.left.restore -= 1;
                let one = &mut s.destinations[number];
                (one.has, one.checkpoint) = one.backup.unwrap_or_default();
                self.start_again(&mut s);
            }
            Step::TakeOut(number) => {
                s.left.out -= 1;
                s.destinations.iter_mut().for_each(|one| one.mode = Mode::Live);
                s.destinations[number].mode = Mode::Out;
                self.start_again(&mut s);
            }
            Step::PutBack => {
                s.destinations.iter_mut().for_each(|one| one.mode = Mode::Live);
                self.start_again(&mut s);
            }
            Step::Confirm(position) => s.confirmed = position,
            Step::Crash => {
                s.left.crash -= 1;
                self.start_again(&mut s);
                let pairs = before.destinations.iter().zip(&s.destinations);
                s.needless = pairs.into_iter().any(|(old, new)| old.mode == Mode::Live && !old.again && new.again);
            }
            Step::Recreate => {
                s.left.recreate -= 1;
                s.confirmed = log;
                self.start_again(&mut s);
            }
        }
        s
    }

    fn ended(&self, s: &State) -> bool {
        s.log == CHANGES && is_quiet(s)
    }

    fn wrong(&self, s: &State) -> Option<String> {
        if s.needless {
            return Some("everything is assembled again, although nothing was missing".to_owned());
        }
        let lacking = s.destinations.iter().position(|one| one.has != (1 << s.log) - 1)?;
        let changes: Vec<u8> =
            (1..=s.log).filter(|change| s.destinations[lacking].has >> (change - 1) & 1 == 0).collect();
        is_quiet(s).then(|| format!("destination {lacking} lacks changes {changes:?}, and nothing will bring them"))
    }

    fn words(&self, s: &State, step: &Step) -> String {
        match *step {
            Step::Commit => format!("change {} is committed", s.log + 1),
            Step::Write(number) => format!("destination {number} writes change {}", s.destinations[number].done + 1),
            Step::Checkpoint(number) => format!("destination {number}: checkpoint {}", s.destinations[number].done),
            Step::Again(number) => format!("destination {number}: everything is assembled again, as of {}", s.log),
            Step::Down(number) => format!("the sink of destination {number} is down"),
            Step::Up(number) => format!("the sink of destination {number} is back"),
            Step::Park(number) => format!("destination {number} is parked"),
            Step::Return(number) => format!("destination {number} returns"),
            Step::BackUp(number) => format!("a snapshot of the sink of destination {number} is taken"),
            Step::Restore(number) => {
                format!("the sink of destination {number} is restored from its snapshot; docmill starts")
            }
            Step::TakeOut(number) => format!("docmill starts without destination {number} in its configuration"),
            Step::PutBack => "docmill starts with every destination in its configuration".to_owned(),
            Step::Confirm(position) => format!("the slot is confirmed at {position}"),
            Step::Crash => format!("kill -9 and start; the stream begins behind {}", s.confirmed),
            Step::Recreate => format!("the slot is dropped and made again at {}; docmill starts", s.log),
        }
    }
}

/// Every destination is there and has written everything that was committed.
fn is_quiet(s: &State) -> bool {
    s.destinations.iter().all(|one| one.mode == Mode::Live && one.done == s.log && !one.down && !one.again)
}

const NONE: Left = Left { down: 0, crash: 0, park: 0, out: 0, restore: 0, recreate: 0 };

#[test]
fn a_destination_that_misses_changes_is_assembled_again_and_no_other_is() {
    let some = Left { down: 1, crash: 1, park: 1, out: 1, ..NONE };
    holds("sink down, kill -9, parked, out of the configuration", Destinations { rules: ALL, left: some });
    let others = Left { crash: 1, park: 1, restore: 1, recreate: 1, ..NONE };
    holds("kill -9, parked, restored, slot made anew", Destinations { rules: ALL, left: others });
    let none = Rules { comparison: false, ..ALL };
    let cases = [
        ("parked", Left { park: 1, ..NONE }),
        ("out of the configuration", Left { out: 1, ..NONE }),
        ("restored", Left { restore: 1, ..NONE }),
        ("slot made anew", Left { recreate: 1, ..NONE }),
    ];
    for (what, left) in cases {
        breaks(&format!("no comparison: {what}"), Destinations { rules: none, left });
    }
    let crash = Left { crash: 1, ..NONE };
    breaks(
        "confirmed before the checkpoint",
        Destinations { rules: Rules { checkpoint_first: false, ..ALL }, left: crash },
    );
    breaks(
        "confirmed at the highest checkpoint",
        Destinations { rules: Rules { smallest: false, ..ALL }, left: crash },
    );
}
