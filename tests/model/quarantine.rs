//! Quarantine records: one document, versions 1 to n of it, some of which the mapping refuses; writes and the records'
//! puts and clears arrive in any order.
//!
//! Rules: a record is put and cleared under the label of the assembly that was refused or written, and the higher label
//! wins; a cleared record's version is not forgotten while a put may still be late (a deletion of it would be: the end
//! names what that costs).

use crate::check::{Protocol, breaks, holds};
use crate::list::List;

#[derive(Clone, Copy)]
struct Quarantine {
    /// Which versions the mapping takes.
    good: &'static [bool],
    under_label: bool,
    /// The server may forget the version of a cleared record.
    forgets: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct State {
    /// Versions that have not arrived, by bits.
    coming: u8,
    index: u8,
    record: Record,
    effects: List<Effect, 4>,
    forgotten: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Record {
    version: u8,
    there: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Effect {
    version: u8,
    put: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Arrive(u8),
    Record(u8),
    Forget,
}

impl Protocol for Quarantine {
    type State = State;
    type Step = Step;

    fn start(&self) -> State {
        State { coming: (1 << self.good.len()) - 1, ..State::default() }
    }

    fn steps(&self, s: &State, steps: &mut Vec<Step>) {
        steps
            .extend((1..=self.good.len() as u8).filter(|version| s.coming >> (version - 1) & 1 == 1).map(Step::Arrive));
        steps.extend((0..s.effects.len() as u8).map(Step::Record));
        if self.forgets && !s.forgotten && !s.record.there && s.record.version > 0 {
            steps.push(Step::Forget);
        }
    }

    fn after(&self, before: &State, step: &Step) -> State {
        let mut s = *before;
        match *step {
            Step::Arrive(version) => {
                s.coming &= !(1 << (version - 1));
                let good = self.good[usize::from(version - 1)];
                if good {
                    s.index = s.index.max(version);
                }
                s.effects.push(Effect { version, put: !good });
                s.effects.sort_unstable();
            }
            Step::Record(place) => {
                let Effect { version, put } = s.effects.remove(usize::from(place));
                if !self.under_label || version >= s.record.version {
                    s.record = Record { version, there: put };
                }
            }
            Step::Forget => {
                s.forgotten = true;
                s.record.version = 0;
            }
        }
        s
    }

    fn ended(&self, s: &State) -> bool {
        s.coming == 0 && s.effects.is_empty()
    }

    fn wrong(&self, s: &State) -> Option<String> {
        let newest = self.good.len() as u8;
        match (self.ended(s), s.index == newest, s.record.there) {
            (true, false, false) => {
                Some(format!("the index shows version {} of {newest}, and no record says so", s.index))
            }
            (true, true, true) => {
                Some(format!("the index is right, and a record of version {} is left", s.record.version))
            }
            _ => None,
        }
    }

    fn words(&self, s: &State, step: &Step) -> String {
        match *step {
            Step::Arrive(version) => {
                let outcome = match self.good[usize::from(version - 1)] {
                    true if version >= s.index => "written",
                    true => "409",
                    false => "refused by the mapping",
                };
                format!("version {version} arrives: {outcome}")
            }
            Step::Record(place) => {
                let Effect { version, put } = s.effects[usize::from(place)];
                let what = if put { "a record is put" } else { "the record is cleared" };
                let lost = if self.under_label && version < s.record.version { " (too late: 409)" } else { "" };
                format!("{what} for version {version}{lost}")
            }
            Step::Forget => "the server forgets the version of the cleared record".to_owned(),
        }
    }
}

const CONTENTS: [&[bool]; 5] =
    [&[true, false], &[false, true], &[true, false, true], &[true, true, false], &[false, true, false]];

#[test]
fn a_record_is_put_and_cleared_under_its_label() {
    for good in CONTENTS {
        holds(
            &format!("records under labels, good = {good:?}"),
            Quarantine { good, under_label: true, forgets: false },
        );
        breaks(&format!("plain records, good = {good:?}"), Quarantine { good, under_label: false, forgets: false });
    }
}

/// Only a record too many, never one that is missing: the document itself is right.
#[test]
fn a_put_that_is_late_brings_back_a_record_whose_clearing_was_forgotten() {
    breaks(
        "the version of a cleared record is forgotten",
        Quarantine { good: &[false, true], under_label: true, forgets: true },
    );
}
