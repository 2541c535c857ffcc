//! The steps of one document in plain words, for counter-examples.

use super::Flow;
use super::state::{ABSENT, Entry, Look, Owner, State, Task, Transaction, Write};
use super::steps::Step;

/// A document, as made by [`content`](super::state::content).
pub fn document(content: u8) -> String {
    if content == ABSENT {
        return "no document".to_owned();
    }
    let (builder, root, child) = (content / 16, content / 4 % 4, content % 4);
    let child = if child == 0 { "no child".to_owned() } else { format!("child {child}") };
    format!("(root {root}, {child}, by builder {builder})")
}

fn rows(transaction: Transaction) -> String {
    let rows: Vec<String> = transaction
        .iter()
        .map(|write| match write {
            Write::Root(value) => format!("root = {value}"),
            Write::Child(value) => format!("child = {value}"),
            Write::NoRoot => "root deleted".to_owned(),
            Write::Truncate => "TRUNCATE of the root's table".to_owned(),
        })
        .collect();
    rows.join(", ")
}

impl Flow {
    pub(super) fn tell(&self, s: &State, step: Step) -> String {
        let task = |number: u8| s.tasks[usize::from(number)];
        match step {
            Step::Commit => {
                let rows = rows(self.bounds.transactions[usize::from(s.begun)]);
                format!("transaction {}: {rows}; commit record at {}, not visible yet", s.begun + 1, s.log.len() + 1)
            }
            Step::Show(position) => format!("the commit at {position} becomes visible"),
            Step::Publish => format!("capture publishes {}", s.published + 1),
            Step::Take(items) => self.tell_take(s, items),
            Step::Make | Step::MakeForPass => self.tell_make(s, step == Step::MakeForPass),
            Step::Stamp(number) => format!("task {number} takes label {}", s.published),
            Step::Read(number) => {
                let read = document(self.assemble(s, task(number).builder));
                format!("task {number} reads {read}; it has no label yet")
            }
            Step::Send(number) => {
                let Task { builder, label, .. } = task(number);
                format!(
                    "task {number} takes its snapshot and sends {}, label {label}",
                    document(self.assemble(s, builder))
                )
            }
            Step::Apply(place) => {
                let request = s.net[usize::from(place)];
                let outcome = if self.is_taken(s, &request) { "written" } else { "409" };
                let who = match request.owner {
                    Owner::Task(number) => format!("the request of task {number}"),
                    Owner::Late | Owner::GivenUp(_) => "a LATE request".to_owned(),
                };
                let (what, label) = (document(request.content), request.version - 1);
                format!("the server applies {who}, {what}, label {label}: {outcome}")
            }
            Step::Lose(place) => {
                format!("the late request with label {} is lost", s.net[usize::from(place)].version - 1)
            }
            Step::Unknown(number) => {
                format!("task {number}: the outcome is unknown; it is to be assembled again, and its request is late")
            }
            Step::Report(number) => {
                let task = task(number);
                let unknown = if task.unknown { ", a request before had no known outcome" } else { "" };
                let due = if task.due { ", made after the deadline" } else { "" };
                format!("task {number} is finished: {}{unknown}{due}", document(task.content))
            }
            Step::GiveBack(number) => format!("task {number} goes to another worker"),
            Step::DeadlinePasses => "the deadline of the remembered document passes".to_owned(),
            Step::WindowCloses => "the late window closes".to_owned(),
            Step::OtherUnknown => "the outcome of another document is unknown: a late window opens".to_owned(),
            Step::Forget => "the server forgets the version of the deletion".to_owned(),
            Step::Confirm => format!("the slot is confirmed at {}", s.written),
            Step::Swap => format!("the builder is swapped: {} is the builder now", s.builder + 1),
            Step::WriteMarker => format!("a marker is written at {}", s.log.len() + 1),
            Step::BarrierReached => "the marker was published: the pass may begin".to_owned(),
            Step::SweepFindsNothing => {
                "the sweep walks the index and does not find the document, or not an older one".to_owned()
            }
            Step::HandOver => "too much is remembered: a sweep is recorded instead".to_owned(),
            Step::RecordLast => format!("the state says now: builder {}", s.builder),
            Step::Crash(builder) => {
                format!("kill -9; start with builder {builder}, the stream begins behind {}", s.confirmed)
            }
            Step::CleanRestart => format!("clean shutdown and start; the stream begins behind {}", s.confirmed),
        }
    }

    fn tell_take(&self, s: &State, items: u8) -> String {
        if s.log[usize::from(s.taken)] == Entry::Marker {
            return "the marker is passed on, it wants no document".to_owned();
        }
        let mut end = (s.taken, s.rows);
        for _ in 0..items {
            end = self.next_item(s, end).unwrap_or(end);
        }
        let inside = if end.1 == 0 { String::new() } else { format!(" and {} row(s) of {}", end.1, end.0 + 1) };
        let begun = if s.rows == 0 { String::new() } else { format!(" (the first {} row(s) before)", s.rows) };
        format!("a batch takes everything to {}{inside}{begun}", end.0)
    }

    fn tell_make(&self, s: &State, pass: bool) -> String {
        let number = s.tasks.iter().position(|task| *task == Task::default()).unwrap_or_default();
        let pass = if pass { " for the pass" } else { "" };
        let look = if s.look == Look::Due { ", the second look" } else { "" };
        let apart = self.bounds.stamp_apart || !self.rules.label_first;
        let label = if apart { String::new() } else { format!(", label {}", s.published) };
        format!("task {number} is made{pass}{look}, builder {}{label}", s.builder)
    }
}
