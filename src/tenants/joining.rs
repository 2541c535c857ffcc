//! Joining: where a pipeline is let in, among the others or by itself.

use std::sync::Arc;

use super::driver::Driver;
use super::place::{Entry, Joined, Ties, Want};
use crate::edges::{Failure, Since, StreamStart, Waiting};
use crate::model::Position;

impl Driver {
    /// Lets in those who came later, as far as that is possible now; whether the stream must be opened again for somebody.
    pub fn let_in_late(&mut self) -> bool {
        let mut reopen = false;
        for place in 0..self.places.len() {
            // It may have given up meanwhile.
            let Some(want) = self.places[place].want.take().filter(|want| !want.reply.is_closed()) else {
                continue;
            };
            let Some(start) = self.start.clone() else { continue };
            let passed = self.passed();
            let since = since_in(&start, want.since.as_ref(), passed);
            let within = since.filter(|since| *since >= self.confirmed);
            let again = match since {
                _ if self.places[place].copy.is_some() && since.is_some_and(|since| since < passed) => {
                    self.let_in_apart(place, want, since.unwrap_or(passed));
                    continue;
                }
                _ if !self.covers(&want.tables) && !want.quiet => {
                    // Nobody else is to wait for that.
                    let failure = Failure::transient("the stream was opened without the pipeline's tables");
                    let _ = want.reply.send(Err(failure));
                    continue;
                }
                _ if !self.covers(&want.tables) => true,
                // It misses something that can still be had.
                Some(since) if since < passed && within.is_some() => {
                    if passed.bytes() - self.confirmed.bytes() > self.options.rewind_within {
                        self.let_in_apart(place, want, since);
                        continue;
                    }
                    true
                }
                _ => false,
            };
            if again {
                // What it has is kept until then.
                self.places[place].hold = within.or(self.places[place].hold);
                want.observer.on_waiting(Some(Waiting::Neighbour));
                self.places[place].want = Some(want);
                reopen = true;
                continue;
            }
            self.let_in(place, want, StreamStart { confirmed: passed, created: false, ..start }, passed, true);
        }
        reopen
    }

    /// Lets a pipeline in among the others: what is at or before `skip` it has. `late` when `start` is not of now.
    pub fn let_in(&mut self, place: usize, want: Want, start: StreamStart, skip: Position, late: bool) {
        let ties = self.ties(skip);
        let (queue_in, queue) = self.queue();
        let exactly = want.tables.iter().all(|table| self.captured.contains(table));
        let entry = self.entry(place, &ties);
        let found = &mut self.places[place];
        let wanted = want.tables.clone();
        let catalog = start.catalog.iter().filter(|(name, _)| wanted.iter().any(|table| table.table == **name));
        let catalog = catalog.map(|(name, sign)| (name.clone(), sign.clone())).collect();
        let joined =
            Joined::Here { queue, entry, start: StreamStart { catalog, ..start }, look_again: late || !exactly };
        // If it gives up before it has read this, the entry tells.
        let _ = want.reply.send(Ok(joined));
        found.hold = Some(skip);
        (found.awaited, found.tables, found.observer) = (true, want.tables, Some(want.observer));
        (found.ties, found.queue, found.skip) = (Some(ties), Some(Arc::new(queue_in)), skip);
        (found.sent, found.idle_at) = (skip, skip);
        found.parked = false;
        self.drop_copy(place);
        self.aim();
    }

    /// Lets a pipeline in that goes by itself, from what it has.
    pub fn let_in_apart(&mut self, place: usize, want: Want, since: Position) {
        let ties = self.ties(since);
        let slot = self.start.as_ref().map(|start| start.identity.slot.clone()).unwrap_or_default();
        let entry = self.entry(place, &ties);
        let found = &mut self.places[place];
        let _ = want.reply.send(Ok(Joined::Apart { entry, slot }));
        (found.sent, found.idle_at) = (since, since);
        (found.awaited, found.tables, found.observer) = (true, want.tables, Some(want.observer));
        (found.ties, found.parked) = (Some(Arc::clone(&ties)), false);
        match &found.copy {
            Some(copy) => drop(ties.copy.send_replace(Some(copy.name.clone()))),
            None => {
                found.hold = Some(since);
                self.copy(place);
            }
        }
    }

    fn entry(&self, place: usize, ties: &Arc<Ties>) -> Entry {
        Entry::new(self.commands.clone(), self.places[place].name.clone(), Arc::clone(ties))
    }
}

/// Where a destination has everything up to in the log of that source. Behind the end of the log (`end` is what is known of it) it
/// says nothing: the log went back, and what is written there now is something else.
pub(super) fn since_in(start: &StreamStart, since: Option<&Since>, end: Position) -> Option<Position> {
    let known = since.filter(|since| since.source == start.identity && !start.created)?.position;
    (known <= start.flushed.max(end)).then_some(known)
}
