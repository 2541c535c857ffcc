//! [`Command`]: what pipelines tell the driver, and what follows from it for their places.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::driver::Driver;
use super::place::{Ended, Place, SlotCopy, Want};
use crate::edges::{Failure, FailureClass};
use crate::model::Position;
use crate::pipeline::queue::QueueReceiver;

/// Markers whose pipeline is known; of more, the oldest are forgotten, and written again by whoever waits for them.
const MARKERS_MAX: usize = 10_000;

/// What pipelines tell the driver, and what it tells itself.
pub(super) enum Command {
    /// There is a pipeline of that name.
    Expect { tenant: String, max_lag: u64 },
    /// It is not coming soon.
    Away { tenant: String },
    /// There is none any more.
    Remove { tenant: String },
    /// It wants a stream.
    Join { tenant: String, want: Want },
    /// Its stream is gone; `done` hears when what it confirmed is on its way.
    Left { tenant: String, number: u64, done: Option<oneshot::Sender<()>> },
    /// It has almost caught up on its copy, and changes over at this marker.
    Attach { tenant: String, number: u64, token: u64, queue: oneshot::Sender<QueueReceiver> },
    /// It changed over, and everything that it read on its copy is confirmed.
    Merged { tenant: String, number: u64 },
    /// Its copy is not what it should be.
    CopyLost { tenant: String, number: u64 },
    /// It has read all that it was given, and needs a copy to go on.
    WantsCopy { tenant: String, number: u64 },
    /// A marker is its.
    Marks { tenant: String, token: u64 },
    /// A copy was made for it, or not.
    Copied { tenant: String, result: Result<SlotCopy, Failure> },
    /// Another try to make one.
    CopyAgain { tenant: String },
}

impl Driver {
    /// Does what it is told. Places stay where they are: those that are removed go when nothing is under way.
    pub fn handle(&mut self, command: Command) {
        self.attention = true;
        match command {
            Command::Expect { tenant, max_lag } => match self.find(&tenant) {
                Some(place) => {
                    (self.places[place].max_lag, self.places[place].awaited) = (max_lag, true);
                }
                None => self.places.push(Place::new(tenant, max_lag)),
            },
            Command::Away { tenant } => {
                if let Some(place) = self.find(&tenant) {
                    self.places[place].awaited = false;
                }
            }
            Command::Remove { tenant } => self.removed.push(tenant),
            Command::Join { tenant, want } => {
                if let Some(place) = self.find(&tenant) {
                    let found = &mut self.places[place];
                    (found.awaited, found.want) = (true, Some(want));
                }
            }
            Command::Left { tenant, number, done } => {
                if let Some(place) = self.of_stream(&tenant, number) {
                    let found = &mut self.places[place];
                    found.left_at = found.ties.as_ref().map_or(Position::ZERO, |ties| ties.confirmed());
                    found.hold = found.held();
                    (found.ties, found.queue, found.joins_at) = (None, None, None);
                    if found.parked {
                        self.drop_copy(place);
                    }
                    self.aim();
                }
                self.leaving.extend(done);
                if self.places.iter().any(|place| place.ties.is_some()) {
                    self.answer_leaving();
                }
            }
            Command::Attach { tenant, number, token, queue } => {
                let Some(place) = self.of_stream(&tenant, number) else { return };
                // Otherwise it would be told that nothing concerns it. It asks again.
                if !self.covers(&self.places[place].tables) {
                    self.widen = true;
                    return;
                }
                let (queue_in, queue_out) = self.queue();
                if queue.send(queue_out).is_ok() {
                    self.places[place].joins_at = Some((token, Arc::new(queue_in)));
                }
            }
            Command::Merged { tenant, number } => {
                if let Some(place) = self.of_stream(&tenant, number)
                    && self.places[place].queue.is_some()
                {
                    self.drop_copy(place);
                }
            }
            Command::CopyLost { tenant, number } => {
                if let Some(place) = self.of_stream(&tenant, number) {
                    self.places[place].take_out(Ended::Lost(
                        FailureClass::Restart,
                        "the pipeline's copy of the slot cannot be read".to_owned(),
                    ));
                    self.drop_copy(place);
                }
            }
            Command::WantsCopy { tenant, number } => {
                if let Some(place) = self.of_stream(&tenant, number)
                    && self.places[place].wants_copy()
                {
                    self.copy(place);
                }
            }
            Command::Marks { tenant, token } => {
                if self.markers.len() >= MARKERS_MAX {
                    self.markers.pop_front();
                }
                self.markers.push_back((token, tenant));
            }
            Command::Copied { tenant, result } => self.copied(&tenant, result),
            Command::CopyAgain { tenant } => {
                if let Some(place) = self.find(&tenant)
                    && self.places[place].wants_copy()
                {
                    self.copy(place);
                }
            }
        }
    }

    /// The place of a pipeline, if that stream is still the one it has.
    fn of_stream(&self, tenant: &str, number: u64) -> Option<usize> {
        self.find(tenant).filter(|place| self.places[*place].ties.as_ref().is_some_and(|ties| ties.number == number))
    }
}
