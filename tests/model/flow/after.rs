//! What a step does to the state of one document: the effects.

use super::Flow;
use super::state::{
    ABSENT, Barrier, Batch, Entry, Look, Owner, Pass, Phase, Record, Request, Stage, State, Task, Write, content,
};
use super::steps::Step;

/// Versions begin at 1: 0 is no version.
pub(super) fn version(label: u8) -> u8 {
    label + 1
}

impl Flow {
    pub(super) fn effect(&self, before: &State, step: Step) -> State {
        let mut s = *before;
        match step {
            Step::Commit => {
                s.log.push(Entry::Commit(s.begun));
                s.begun += 1;
            }
            Step::Show(position) => s.visible |= 1 << (position - 1),
            Step::Publish => s.published += 1,
            Step::Take(items) => self.take(&mut s, items),
            Step::Make => self.make(&mut s, false),
            Step::MakeForPass => self.make(&mut s, true),
            Step::Stamp(number) => self.stamp(&mut s, number),
            Step::Read(number) => {
                let builder = s.tasks[usize::from(number)].builder;
                let read = self.assemble(&s, builder);
                let task = &mut s.tasks[usize::from(number)];
                (task.stage, task.content) = (Stage::Read, read);
            }
            Step::Send(number) => {
                let task = s.tasks[usize::from(number)];
                let content = self.assemble(&s, task.builder);
                s.tasks[usize::from(number)].stage = Stage::Sent;
                s.send(Request { version: version(task.label), content, owner: Owner::Task(number) });
            }
            Step::Apply(place) => self.apply(&mut s, place),
            Step::Lose(place) => {
                s.net.remove(usize::from(place));
            }
            Step::Unknown(number) => self.unknown(&mut s, number),
            Step::Report(number) => self.report(&mut s, number),
            Step::GiveBack(number) => {
                s.left.give_back -= 1;
                if !self.rules.lease_keeps_unknown {
                    s.tasks[usize::from(number)].unknown = false;
                    cover(&mut s, number);
                }
            }
            Step::DeadlinePasses => s.look = Look::Due,
            Step::WindowCloses => s.window = false,
            Step::OtherUnknown => {
                s.left.other -= 1;
                s.window = true;
            }
            Step::Forget => {
                s.left.forget -= 1;
                s.index.version = 0;
            }
            Step::Confirm => s.confirmed = s.written,
            Step::Swap => self.swap_builder(&mut s),
            Step::WriteMarker => {
                s.log.push(Entry::Marker);
                s.fresh = s.log.len() as u8;
                s.barrier = Barrier::Marked(s.fresh);
                s.record.marked = true;
            }
            Step::BarrierReached => s.barrier = Barrier::None,
            Step::SweepFindsNothing => end_pass(&mut s),
            Step::HandOver => self.hand_over(&mut s),
            Step::RecordLast => s.record = Record { builder: s.builder, ..Record::default() },
            Step::Crash(builder) => {
                s.left.crash -= 1;
                self.restart(&mut s, builder);
            }
            Step::CleanRestart => {
                s.left.clean -= 1;
                s.clean = true;
                let builder = s.builder;
                self.restart(&mut s, builder);
            }
        }
        s
    }

    fn take(&self, s: &mut State, items: u8) {
        let (mut end, mut wants) = (0, false);
        for _ in 0..items {
            let at = (s.taken, s.rows);
            let Some(next) = self.next_item(s, at) else { return };
            match s.log[usize::from(at.0)] {
                Entry::Commit(number) if self.is_truncate(number) => self.ask(s),
                Entry::Commit(_) => wants |= !self.bounds.cut || next.0 == at.0,
                _ => {}
            }
            if next.0 > at.0 || !self.rules.end_marks {
                end = at.0 + 1;
            }
            (s.taken, s.rows) = next;
        }
        let wanted = wants && !(self.bounds.other_ids && s.builder > 1);
        s.batches.push(Batch { end, phase: if wanted { Phase::Wanted } else { Phase::Done } });
        s.advance();
    }

    fn is_truncate(&self, number: u8) -> bool {
        self.bounds.transactions[usize::from(number)].contains(&Write::Truncate)
    }

    /// A pass is recorded before the batch that asks for it is done. One at a time here; `passes.rs` has the rest.
    fn ask(&self, s: &mut State) {
        s.pass = Pass::Todo;
        s.record = Record { pending: true, ..s.record };
    }

    /// With one hand, all who wait share the task.
    fn make(&self, s: &mut State, pass: bool) {
        let Some(number) = s.tasks.iter().position(|task| task.stage == Stage::Free) else { return };
        let apart = self.bounds.stamp_apart || !self.rules.label_first;
        let (stage, label) = if apart { (Stage::Unstamped, 0) } else { (Stage::Made, s.published) };
        let (due, window) = (s.look == Look::Due, s.window);
        s.tasks[number] = Task { stage, builder: s.builder, label, pass, due, window, ..Task::default() };
        if pass {
            s.pass = Pass::Running;
        }
        for batch in s.batches.iter_mut().filter(|batch| batch.phase == Phase::Wanted) {
            if !pass || self.rules.one_hand {
                batch.phase = Phase::Held(number as u8);
            }
            if !self.rules.one_hand {
                return;
            }
        }
    }

    fn stamp(&self, s: &mut State, number: u8) {
        let label = s.published;
        let task = &mut s.tasks[usize::from(number)];
        task.label = label;
        if task.stage == Stage::Unstamped {
            task.stage = Stage::Made;
            return;
        }
        let request = Request { version: version(label), content: task.content, owner: Owner::Task(number) };
        (task.stage, task.content) = (Stage::Sent, ABSENT);
        s.send(request);
    }

    /// What `builder` makes of the rows that a snapshot shows now.
    pub(super) fn assemble(&self, s: &State, builder: u8) -> u8 {
        let (mut root, mut child) = (0, 0);
        for (entry, position) in s.log.iter().zip(1..) {
            let Entry::Commit(number) = entry else { continue };
            if !s.shows(position) {
                continue;
            }
            for write in self.bounds.transactions[usize::from(*number)] {
                match *write {
                    Write::Root(value) => root = value,
                    Write::NoRoot | Write::Truncate => root = 0,
                    Write::Child(value) => child = value,
                }
            }
        }
        if root == 0 || self.bounds.other_ids && builder > 1 { ABSENT } else { content(builder, root, child) }
    }

    pub(super) fn is_taken(&self, s: &State, request: &Request) -> bool {
        !self.rules.versions
            || request.version > s.index.version
            || self.rules.equal_wins && request.version == s.index.version
    }

    fn apply(&self, s: &mut State, place: u8) {
        let request = s.net.remove(usize::from(place));
        if self.is_taken(s, &request) {
            (s.index.version, s.index.content) = (request.version, request.content);
        }
        if let Owner::Task(number) = request.owner {
            let task = &mut s.tasks[usize::from(number)];
            (task.stage, task.content) = (Stage::Answered, request.content);
        }
    }

    /// The document is assembled again at once, by the present builder.
    fn unknown(&self, s: &mut State, number: u8) {
        s.left.unknown -= 1;
        for request in s.net.iter_mut().filter(|request| request.owner == Owner::Task(number)) {
            request.owner = Owner::GivenUp(number);
        }
        s.net.sort_unstable();
        let task = &mut s.tasks[usize::from(number)];
        (task.stage, task.unknown) = (Stage::Made, true);
        if !self.rules.label_first {
            task.stage = Stage::Unstamped;
        }
        if self.rules.old_reads_first {
            again_with(task, s.builder, s.published);
        }
    }

    /// The late window's rules, on the report of a finished task.
    fn report(&self, s: &mut State, number: u8) {
        let task = std::mem::take(&mut s.tasks[usize::from(number)]);
        cover(s, number);
        if task.unknown && self.rules.window_at_unknown {
            s.window = true;
            if s.look != Look::None {
                s.look = if self.rules.unknown_moves_deadline { Look::Remembered } else { Look::Overtaken };
            }
        }
        let due = if self.rules.due_when_made { task.due } else { s.look == Look::Due };
        let known = !task.unknown || !self.rules.unknown_is_not_final;
        let looked = s.look != Look::None;
        let window = s.window || task.window && self.rules.window_when_made;
        if task.content != ABSENT || looked && due && known {
            s.look = Look::None;
            self.settle(s, number, task.pass, true);
        } else if looked || window && self.rules.second_look {
            if !looked {
                s.look = if s.window { Look::Remembered } else { Look::Due };
            }
            self.settle(s, number, task.pass, false);
        } else {
            self.settle(s, number, task.pass, true);
        }
    }

    /// Whoever the task was for is done, or waits for the second look.
    fn settle(&self, s: &mut State, number: u8, pass: bool, last: bool) {
        for batch in s.batches.iter_mut() {
            match batch.phase {
                Phase::Held(holder) if holder == number => {
                    batch.phase = if last || !self.rules.ack_waits { Phase::Done } else { Phase::Kept };
                }
                Phase::Kept if last => batch.phase = Phase::Done,
                _ => {}
            }
        }
        if pass {
            s.pass = Pass::Kept;
        }
        if s.pass == Pass::Kept && (last || !self.rules.pass_waits) {
            end_pass(s);
        }
        s.advance();
    }

    /// Nobody waits for the remembered document any more: the sweep on record looks at it when the window has closed.
    fn hand_over(&self, s: &mut State) {
        s.left.hand_over -= 1;
        s.look = Look::None;
        s.record = Record { builder: s.builder, pending: true, marked: false, held: true };
        (s.pass, s.barrier) = (Pass::Todo, Barrier::Unmarked);
        for batch in s.batches.iter_mut().filter(|batch| batch.phase == Phase::Kept) {
            batch.phase = Phase::Done;
        }
        s.advance();
    }

    fn swap_builder(&self, s: &mut State) {
        s.left.swap -= 1;
        s.builder += 1;
        s.pass = Pass::Todo;
        s.barrier = if self.rules.barrier { Barrier::Unmarked } else { Barrier::None };
        if self.rules.record_first {
            s.record = Record { builder: s.builder, pending: true, ..Record::default() };
        }
        if self.rules.old_reads_first {
            let (builder, published) = (s.builder, s.published);
            s.tasks
                .iter_mut()
                .filter(|task| matches!(task.stage, Stage::Made | Stage::Unstamped))
                .for_each(|task| again_with(task, builder, published));
        }
        // What builder 2 does not make is nobody's wish any more.
        if self.bounds.other_ids {
            s.batches
                .iter_mut()
                .filter(|batch| batch.phase == Phase::Wanted)
                .for_each(|batch| batch.phase = Phase::Done);
            s.advance();
        }
    }

    fn restart(&self, s: &mut State, builder: u8) {
        s.net.iter_mut().for_each(|request| request.owner = Owner::Late);
        s.net.sort_unstable();
        s.tasks = Default::default();
        s.batches = Default::default();
        s.look = Look::None;
        (s.published, s.taken, s.rows, s.written) = (s.confirmed, s.confirmed, 0, s.confirmed);
        s.window = self.rules.window_at_start && !s.clean;
        if self.rules.clean_is_taken_off {
            s.clean = false;
        }
        s.builder = builder;
        (s.pass, s.barrier) = (Pass::None, Barrier::None);
        let same = s.record.builder == builder;
        if same && !s.record.pending {
            return;
        }
        s.pass = Pass::Todo;
        if same && s.record.marked && !self.rules.barrier_anew {
            return;
        }
        if self.rules.barrier {
            s.barrier = Barrier::Unmarked;
        }
        if self.rules.record_first {
            s.record = Record { builder, pending: true, marked: false, held: same && s.record.held };
        }
    }
}

/// The window that opens now, if one does, covers what the task gave up.
fn cover(s: &mut State, number: u8) {
    for request in s.net.iter_mut().filter(|request| request.owner == Owner::GivenUp(number)) {
        request.owner = Owner::Late;
    }
    s.net.sort_unstable();
}

/// A task that was not read goes back and is made anew.
fn again_with(task: &mut Task, builder: u8, published: u8) {
    if task.builder != builder {
        (task.builder, task.label) = (builder, published);
    }
}

fn end_pass(s: &mut State) {
    s.pass = Pass::None;
    if s.record.builder == s.builder {
        (s.record.pending, s.record.held, s.fresh) = (false, false, 0);
    }
}
