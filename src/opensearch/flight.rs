//! How many bulk requests are under way: one more after many that went well, half as many when the search engine says, or
//! shows, that it is too much.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Requests that must go well for each one allowed now, before one more is.
const GROW_AFTER: usize = 16;

/// An answer that took longer is no reason to ask for more at once.
const LATENCY_GOOD: Duration = Duration::from_secs(2);

/// An answer that took longer says that it is too much.
const LATENCY_BAD: Duration = Duration::from_secs(15);

/// A bound that moves between 1 and its most, for all that write to one search engine.
#[derive(Debug)]
pub(super) struct Flight {
    room: Arc<Semaphore>,
    most: usize,
    bound: Mutex<Bound>,
}

#[derive(Debug)]
struct Bound {
    /// Requests that are meant to be under way at most.
    now: usize,
    /// Permits that are out and will not come back.
    owed: usize,
    went_well: usize,
    /// When it shrank last: what was sent before says nothing about the bound since.
    shrank: Instant,
}

impl Slot {
    /// The request begins now, not when there was room for it.
    pub(super) fn begins(&mut self) -> Instant {
        self.begun = Instant::now();
        self.begun
    }
}

/// How a request went, for the bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Went {
    Well,
    /// Refused as load, or not answered.
    TooMuch,
    /// Answered, with something that says nothing about load.
    Otherwise,
}

/// Room for one request. Dropped, it is free again.
#[derive(Debug)]
pub(super) struct Slot {
    permit: OwnedSemaphorePermit,
    begun: Instant,
}

impl Flight {
    pub(super) fn new(first: usize, most: usize) -> Self {
        let most = most.clamp(1, Semaphore::MAX_PERMITS);
        let now = first.clamp(1, most);
        let bound = Bound { now, owed: 0, went_well: 0, shrank: Instant::now() };
        Self { room: Arc::new(Semaphore::new(now)), most, bound: Mutex::new(bound) }
    }

    /// Waits for room for one request.
    pub(super) async fn enter(&self) -> Slot {
        let permit = Arc::clone(&self.room).acquire_owned().await.expect("the semaphore is never closed");
        Slot { permit, begun: Instant::now() }
    }

    /// The request was answered, or will not be.
    pub(super) fn leave(&self, slot: Slot, went: Went) {
        self.leave_at(slot, went, Instant::now());
    }

    fn leave_at(&self, slot: Slot, went: Went, now: Instant) {
        let took = now.duration_since(slot.begun);
        let mut bound = self.lock();
        if went == Went::TooMuch || took > LATENCY_BAD {
            if slot.begun >= bound.shrank {
                self.shrink(&mut bound, now);
            }
        } else if went == Went::Well && took <= LATENCY_GOOD {
            self.grow(&mut bound);
        }
        if bound.owed > 0 {
            bound.owed -= 1;
            slot.permit.forget();
        }
    }

    fn shrink(&self, bound: &mut Bound, now: Instant) {
        let less = (bound.now / 2).max(1);
        let gone = bound.now - less;
        bound.owed += gone - self.room.forget_permits(gone);
        bound.now = less;
        bound.went_well = 0;
        bound.shrank = now;
    }

    fn grow(&self, bound: &mut Bound) {
        bound.went_well += 1;
        // Room that nobody used was not tried.
        let used = self.room.available_permits() == 0;
        if bound.now < self.most && used && bound.went_well >= GROW_AFTER * bound.now {
            bound.now += 1;
            bound.went_well = 0;
            match bound.owed {
                0 => self.room.add_permits(1),
                _ => bound.owed -= 1,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Bound> {
        self.bound.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn slots(flight: &Flight, count: usize) -> Vec<Slot> {
        let mut slots = Vec::new();
        for _ in 0..count {
            slots.push(flight.enter().await);
        }
        slots
    }

    #[tokio::test]
    async fn load_halves_the_bound_once_for_all_that_was_under_way() {
        let flight = Flight::new(8, 8);
        let sent = slots(&flight, 8).await;
        let later = Instant::now() + Duration::from_millis(5);
        sent.into_iter().for_each(|slot| flight.leave_at(slot, Went::TooMuch, later));
        assert_eq!((flight.lock().now, flight.room.available_permits()), (4, 4));
        for bound in [2, 1, 1] {
            let begun = flight.lock().shrank + Duration::from_millis(5);
            let slot = Slot { begun, ..flight.enter().await };
            flight.leave_at(slot, Went::TooMuch, begun);
            assert_eq!((flight.lock().now, flight.room.available_permits()), (bound, bound));
        }
    }

    #[tokio::test]
    async fn the_bound_grows_to_its_most_while_all_of_it_is_used() {
        let flight = Flight::new(1, 3);
        for _ in 0..10 * GROW_AFTER {
            let all = flight.lock().now;
            slots(&flight, all).await.into_iter().for_each(|slot| flight.leave(slot, Went::Well));
        }
        assert_eq!((flight.lock().now, flight.room.available_permits()), (3, 3));

        let idle = Flight::new(2, 3);
        for _ in 0..10 * GROW_AFTER {
            let slot = idle.enter().await;
            idle.leave(slot, Went::Well);
        }
        assert_eq!(idle.lock().now, 2);
    }

    #[tokio::test]
    async fn a_slow_answer_is_load_too() {
        let flight = Flight::new(4, 4);
        let slot = flight.enter().await;
        let late = slot.begun + LATENCY_BAD * 2;
        flight.leave_at(slot, Went::Well, late);
        assert_eq!((flight.lock().now, flight.room.available_permits()), (2, 2));
    }
}
