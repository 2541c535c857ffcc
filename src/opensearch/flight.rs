//! How many bulk requests are under way, and how large one is: one more after many that went well, half as many when the search
//! engine says, or shows, that it is too much; half as large when an answer takes too long, or none comes, because what is sent
//! again as large as before would be as late as before.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::options::OpenSearchOptions;

/// Requests that must go well for each one allowed now, before one more is.
const GROW_AFTER: usize = 16;

/// An answer that took longer is no reason to ask for more at once.
const LATENCY_GOOD: Duration = Duration::from_secs(2);

/// An answer that took longer, or a quarter of the time that a request may take, says that it is too much.
const LATENCY_BAD: Duration = Duration::from_secs(15);

/// Writes of one request that are never too many: a search engine that is late with so few is so for another reason.
const WRITES_MIN: usize = 16;

/// Bounds that move between 1 and their most, for all that write to one search engine.
#[derive(Debug)]
pub(super) struct Flight {
    room: Arc<Semaphore>,
    most: usize,
    writes_most: usize,
    good: Duration,
    bad: Duration,
    bound: Mutex<Bound>,
}

#[derive(Debug)]
struct Bound {
    /// Requests that are meant to be under way at most.
    now: usize,
    /// Permits that are out and will not come back.
    owed: usize,
    went_well: usize,
    /// Writes of one request at most.
    writes: usize,
    /// When it shrank last: what was sent before says nothing about the bound since.
    shrank: Instant,
}

impl Slot {
    /// The request begins now, not when there was room for it.
    pub(super) fn begins(&mut self) {
        self.begun = Instant::now();
    }
}

/// How a request went, for the bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Went {
    Well,
    /// Refused as load, or nobody was there.
    TooMuch,
    /// Sent, and not answered.
    Unanswered,
    /// Answered, with something that says nothing about load.
    Otherwise,
}

/// Room for one request. Dropped, it is free again.
#[derive(Debug)]
pub(super) struct Slot {
    permit: OwnedSemaphorePermit,
    writes: usize,
    begun: Instant,
}

impl Flight {
    pub(super) fn new(options: &OpenSearchOptions) -> Self {
        let most = options.bulk_in_flight_max.clamp(1, Semaphore::MAX_PERMITS);
        let now = options.bulk_in_flight.clamp(1, most);
        let writes_most = options.bulk_writes_max.max(1);
        let bad = LATENCY_BAD.min(options.request_timeout / 4);
        let bound = Bound { now, owed: 0, went_well: 0, writes: writes_most, shrank: Instant::now() };
        Self {
            room: Arc::new(Semaphore::new(now)),
            most,
            writes_most,
            good: LATENCY_GOOD.min(bad),
            bad,
            bound: Mutex::new(bound),
        }
    }

    /// Writes of one request at most, as answers come now.
    pub(super) fn writes_max(&self) -> usize {
        self.lock().writes
    }

    /// Waits for room for one request of that many writes.
    pub(super) async fn enter(&self, writes: usize) -> Slot {
        let permit = Arc::clone(&self.room).acquire_owned().await.expect("the semaphore is never closed");
        Slot { permit, writes, begun: Instant::now() }
    }

    /// The request was answered, or will not be.
    pub(super) fn leave(&self, slot: Slot, went: Went) {
        self.leave_at(slot, went, Instant::now());
    }

    fn leave_at(&self, slot: Slot, went: Went, now: Instant) {
        let took = now.duration_since(slot.begun);
        let mut bound = self.lock();
        if went == Went::Unanswered || took > self.bad {
            bound.writes = bound.writes.min((slot.writes / 2).max(WRITES_MIN.min(self.writes_most)));
        }
        if matches!(went, Went::TooMuch | Went::Unanswered) || took > self.bad {
            if slot.begun >= bound.shrank {
                self.shrink(&mut bound, now);
            }
        } else if went == Went::Well && took <= self.good {
            self.grow(&mut bound, slot.writes);
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

    fn grow(&self, bound: &mut Bound, writes: usize) {
        // A smaller request says nothing of a larger one.
        if writes >= bound.writes {
            bound.writes = (bound.writes + bound.writes.div_ceil(4)).min(self.writes_most);
        }
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

    fn bounded(first: usize, most: usize) -> Flight {
        let (bulk_in_flight, bulk_in_flight_max) = (first, most);
        Flight::new(&OpenSearchOptions { bulk_in_flight, bulk_in_flight_max, ..OpenSearchOptions::default() })
    }

    async fn slots(flight: &Flight, count: usize) -> Vec<Slot> {
        let mut slots = Vec::new();
        for _ in 0..count {
            slots.push(flight.enter(1).await);
        }
        slots
    }

    #[tokio::test]
    async fn load_halves_the_bound_once_for_all_that_was_under_way() {
        let flight = bounded(8, 8);
        let sent = slots(&flight, 8).await;
        let later = Instant::now() + Duration::from_millis(5);
        sent.into_iter().for_each(|slot| flight.leave_at(slot, Went::TooMuch, later));
        assert_eq!((flight.lock().now, flight.room.available_permits()), (4, 4));
        for bound in [2, 1, 1] {
            let begun = flight.lock().shrank + Duration::from_millis(5);
            let slot = Slot { begun, ..flight.enter(1).await };
            flight.leave_at(slot, Went::TooMuch, begun);
            assert_eq!((flight.lock().now, flight.room.available_permits()), (bound, bound));
        }
    }

    #[tokio::test]
    async fn the_bound_grows_to_its_most_while_all_of_it_is_used() {
        let flight = bounded(1, 3);
        for _ in 0..10 * GROW_AFTER {
            let all = flight.lock().now;
            slots(&flight, all).await.into_iter().for_each(|slot| flight.leave(slot, Went::Well));
        }
        assert_eq!((flight.lock().now, flight.room.available_permits()), (3, 3));

        let idle = bounded(2, 3);
        for _ in 0..10 * GROW_AFTER {
            let slot = idle.enter(1).await;
            idle.leave(slot, Went::Well);
        }
        assert_eq!(idle.lock().now, 2);
    }

    #[tokio::test]
    async fn a_slow_answer_is_load_too() {
        let flight = bounded(4, 4);
        let slot = flight.enter(1).await;
        let late = slot.begun + LATENCY_BAD * 2;
        flight.leave_at(slot, Went::Well, late);
        assert_eq!((flight.lock().now, flight.room.available_permits()), (2, 2));
    }

    #[tokio::test]
    async fn requests_that_are_not_answered_in_time_become_smaller_and_grow_again() {
        let options = OpenSearchOptions { request_timeout: Duration::from_secs(1), ..OpenSearchOptions::default() };
        let flight = Flight::new(&options);
        let now = Instant::now();
        flight.leave_at(flight.enter(1_000).await, Went::Unanswered, now);
        assert_eq!(flight.writes_max(), 500);
        let slow = flight.enter(500).await;
        let late = slow.begun + Duration::from_millis(300);
        flight.leave_at(slow, Went::Well, late);
        assert_eq!(flight.writes_max(), 250, "a quarter of the time that a request may take is slow");
        flight.leave(flight.enter(100).await, Went::Well);
        assert_eq!(flight.writes_max(), 250, "a smaller request shows nothing");
        for _ in 0..20 {
            flight.leave(flight.enter(flight.writes_max()).await, Went::Well);
        }
        assert_eq!(flight.writes_max(), options.bulk_writes_max);
        for _ in 0..20 {
            flight.leave(flight.enter(flight.writes_max()).await, Went::Unanswered);
        }
        assert_eq!(flight.writes_max(), WRITES_MIN);
    }
}
