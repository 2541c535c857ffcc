//! What may happen to one document, and when: the guards. The effects are in `after.rs`.

use super::Flow;
use super::after::version;
use super::state::{ABSENT, Barrier, Entry, Look, Owner, Pass, Phase, Stage, State, Write};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The commit record of the next transaction is in the log.
    Commit,
    /// The entry at this position is visible to snapshots from now on.
    Show(u8),
    Publish,
    /// So many items become a batch.
    Take(u8),
    /// A task is made for whoever waits; or for the pass, too.
    Make,
    MakeForPass,
    /// A task takes its label (where that is a step of its own).
    Stamp(u8),
    /// A task takes its snapshot, without a label (without the rule).
    Read(u8),
    /// A task takes its snapshot, makes the document and sends it.
    Send(u8),
    /// The server applies the request at that place.
    Apply(u8),
    /// The late request at that place is never applied.
    Lose(u8),
    /// The outcome of a task's request is unknown.
    Unknown(u8),
    /// The front half learns that a task is finished.
    Report(u8),
    /// A task goes to another worker.
    GiveBack(u8),
    DeadlinePasses,
    WindowCloses,
    /// A request of another document has no known outcome.
    OtherUnknown,
    /// The server forgets the version of a deletion.
    Forget,
    Confirm,
    Swap,
    WriteMarker,
    BarrierReached,
    /// The sweep does not find the document in the index, or nothing older than the marker.
    SweepFindsNothing,
    /// Too much is remembered: a sweep is recorded instead.
    HandOver,
    /// The record of a change of builder is written after its pass (without the rule).
    RecordLast,
    /// `kill -9` and a start with this builder.
    Crash(u8),
    CleanRestart,
}

impl Flow {
    pub(super) fn guard(&self, s: &State, steps: &mut Vec<Step>) {
        self.source(s, steps);
        self.front(s, steps);
        self.back(s, steps);
        self.server(s, steps);
        self.window(s, steps);
        self.swap(s, steps);
        if s.left.crash > 0 {
            let builders: &[u8] =
                if self.bounds.restart_with.is_empty() { &[s.builder] } else { self.bounds.restart_with };
            steps.extend(builders.iter().map(|builder| Step::Crash(*builder)));
        }
        if s.left.clean > 0 && self.is_drained(s) {
            steps.push(Step::CleanRestart);
        }
    }

    /// A row that an invisible transaction wrote is locked.
    fn source(&self, s: &State, steps: &mut Vec<Step>) {
        let root = |write: &Write| !matches!(write, Write::Child(_));
        if let Some(next) = self.bounds.transactions.get(usize::from(s.begun)) {
            let locked = s.log.iter().zip(1..).any(|(entry, position)| match entry {
                Entry::Commit(number) if !s.shows(position) => {
                    let open = self.bounds.transactions[usize::from(*number)];
                    open.iter().any(|one| next.iter().any(|other| root(one) == root(other)))
                }
                _ => false,
            });
            if !locked {
                steps.push(Step::Commit);
            }
        }
        let positions = 1..=s.log.len() as u8;
        steps.extend(positions.filter(|position| !s.shows(*position)).map(Step::Show));
        let next = s.published + 1;
        if usize::from(next) <= s.log.len() && (!self.rules.fence || s.shows(next)) {
            steps.push(Step::Publish);
        }
    }

    fn front(&self, s: &State, steps: &mut Vec<Step>) {
        if s.batches.has_room() {
            let mut end = (s.taken, s.rows);
            for items in 1..=self.bounds.batch {
                let Some(next) = self.next_item(s, end) else { break };
                end = next;
                steps.push(Step::Take(items));
            }
        }
        let hand = if self.rules.one_hand {
            s.tasks.iter().all(|task| task.stage == Stage::Free)
        } else {
            s.tasks.iter().any(|task| task.stage == Stage::Free)
        };
        if hand && (s.look == Look::Due || s.batches.iter().any(|batch| batch.phase == Phase::Wanted)) {
            steps.push(Step::Make);
        }
        if s.pass == Pass::Todo && s.barrier == Barrier::None {
            if !(self.bounds.other_ids && s.builder > 1 || s.record.held) {
                if hand {
                    steps.push(Step::MakeForPass);
                }
            } else if self.sweep_may_begin(s) {
                if s.index.content == ABSENT || s.index.version >= version(s.fresh) {
                    steps.push(Step::SweepFindsNothing);
                } else if hand {
                    steps.push(Step::MakeForPass);
                }
            }
        }
        if s.written > s.confirmed {
            steps.push(Step::Confirm);
        }
    }

    fn sweep_may_begin(&self, s: &State) -> bool {
        let under_way = || s.tasks.iter().filter(|task| task.stage != Stage::Free);
        let unanswered = self.rules.sweep_after_answers && under_way().any(|task| task.builder < s.builder);
        let unreported = self.rules.sweep_after_reports && under_way().any(|task| task.unknown);
        !(unanswered || unreported || self.rules.sweep_after_window && s.window)
    }

    fn back(&self, s: &State, steps: &mut Vec<Step>) {
        for (number, task) in (0..).zip(&s.tasks) {
            match task.stage {
                Stage::Unstamped if self.rules.label_first => steps.push(Step::Stamp(number)),
                Stage::Unstamped => steps.push(Step::Read(number)),
                Stage::Made if s.net.has_room() => steps.push(Step::Send(number)),
                Stage::Read if s.net.has_room() => steps.push(Step::Stamp(number)),
                Stage::Sent if s.left.unknown > 0 => steps.push(Step::Unknown(number)),
                Stage::Answered => steps.push(Step::Report(number)),
                _ => {}
            }
            if task.stage == Stage::Made && task.unknown && s.left.give_back > 0 {
                steps.push(Step::GiveBack(number));
            }
        }
    }

    fn server(&self, s: &State, steps: &mut Vec<Step>) {
        for (place, request) in s.net.iter().enumerate() {
            if place > 0 && s.net[place - 1] == *request {
                continue;
            }
            steps.push(Step::Apply(place as u8));
            if !matches!(request.owner, Owner::Task(_)) {
                steps.push(Step::Lose(place as u8));
            }
        }
        if s.left.forget > 0 && s.index.content == ABSENT && s.index.version > 0 {
            steps.push(Step::Forget);
        }
    }

    /// Time is not counted: a deadline passes, and a window closes, once no request that it covers is left.
    fn window(&self, s: &State, steps: &mut Vec<Step>) {
        let covered = s.net.iter().any(|request| request.owner == Owner::Late);
        let may_pass = !self.rules.window_outlasts || !covered;
        if s.look == Look::Remembered && may_pass || s.look == Look::Overtaken {
            steps.push(Step::DeadlinePasses);
        }
        if s.window && !matches!(s.look, Look::Remembered | Look::Overtaken) && may_pass {
            steps.push(Step::WindowCloses);
        }
        if s.left.hand_over > 0 && s.look != Look::None && s.pass == Pass::None && s.barrier == Barrier::None {
            steps.push(Step::HandOver);
        }
        if s.left.other > 0 && !s.window {
            steps.push(Step::OtherUnknown);
        }
    }

    fn swap(&self, s: &State, steps: &mut Vec<Step>) {
        let unread = s.tasks.iter().any(|task| {
            matches!(task.stage, Stage::Unstamped | Stage::Made | Stage::Read) && task.builder != s.builder
        });
        if s.left.swap > 0 && s.barrier == Barrier::None && s.pass == Pass::None {
            steps.push(Step::Swap);
        }
        match s.barrier {
            Barrier::Unmarked if s.log.has_room() && !(self.rules.old_reads_first && unread) => {
                steps.push(Step::WriteMarker);
            }
            Barrier::Marked(position) if s.published >= position => steps.push(Step::BarrierReached),
            _ => {}
        }
        let recorded = s.record.builder == s.builder;
        if !recorded && s.barrier == Barrier::None && s.pass == Pass::None {
            steps.push(Step::RecordLast);
        }
    }

    /// Everything taken is written and confirmed.
    fn is_drained(&self, s: &State) -> bool {
        let idle = s.tasks.iter().all(|task| task.stage == Stage::Free) && s.batches.is_empty();
        let quiet = !s.window && s.look == Look::None;
        idle && s.rows == 0 && s.confirmed == s.written && (quiet || !self.rules.clean_is_quiet)
    }

    /// Behind the item that follows `(taken, rows)`, if capture published it: a row, the end of a transaction, or
    /// (where batches do not cut) all of one.
    pub(super) fn next_item(&self, s: &State, (taken, rows): (u8, u8)) -> Option<(u8, u8)> {
        if taken >= s.published {
            return None;
        }
        let count = match s.log[usize::from(taken)] {
            Entry::Commit(number) => self.bounds.transactions[usize::from(number)].len() as u8,
            _ => 0,
        };
        Some(if self.bounds.cut && rows < count { (taken, rows + 1) } else { (taken + 1, 0) })
    }
}
