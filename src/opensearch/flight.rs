//! How many bulk requests are under way: one more after many that went well, half as many when the search engine says, or
//! shows, that it is too much.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::edges::{FairShare, Permit, Shares, Tenant};

/// Requests that must go well for each one allowed now, before one more is.
const GROW_AFTER: usize = 16;

/// An answer that took longer is no reason to ask for more at once.
const LATENCY_GOOD: Duration = Duration::from_secs(2);

/// An answer that took longer says that it is too much.
const LATENCY_BAD: Duration = Duration::from_secs(15);

/// A bound that moves between 1 and its most, for all that write to one search engine: of equal shares, beside one another.
#[derive(Debug)]
pub(super) struct Flight {
    room: FairShare,
    most: usize,
    bound: Mutex<Bound>,
}

#[derive(Debug)]
struct Bound {
    /// Requests that are meant to be under way at most.
    now: usize,
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
    _permit: Permit,
    begun: Instant,
}

impl Flight {
    pub(super) fn new(first: usize, most: usize) -> Self {
        let most = most.max(1);
        let now = first.clamp(1, most);
        let bound = Bound { now, went_well: 0, shrank: Instant::now() };
        Self { room: FairShare::new(shares(now)), most, bound: Mutex::new(bound) }
    }

    /// What those that write under one prefix have of it.
    pub(super) fn tenant(&self, index_prefix: &str) -> Tenant {
        self.room.tenant(index_prefix)
    }

    /// Waits for room for one request of that tenant.
    pub(super) async fn enter(tenant: &Tenant) -> Slot {
        Slot { _permit: tenant.acquire().await, begun: Instant::now() }
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
    }

    fn shrink(&self, bound: &mut Bound, now: Instant) {
        bound.now = (bound.now / 2).max(1);
        self.room.set(shares(bound.now));
        bound.went_well = 0;
        bound.shrank = now;
    }

    fn grow(&self, bound: &mut Bound) {
        bound.went_well += 1;
        // Room that nobody used was not tried.
        if bound.now < self.most && self.room.is_used_up() && bound.went_well >= GROW_AFTER * bound.now {
            bound.now += 1;
            bound.went_well = 0;
            self.room.set(shares(bound.now));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Bound> {
        self.bound.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Half for one beside others that write. Nothing is set aside: an answer is soon there.
fn shares(bound: usize) -> Shares {
    Shares { capacity: bound, part: (bound / 2).max(1), reserved: 0 }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    async fn slots(tenant: &Tenant, count: usize) -> Vec<Slot> {
        let mut slots = Vec::new();
        for _ in 0..count {
            slots.push(Flight::enter(tenant).await);
        }
        slots
    }

    /// How many requests it would send at once.
    fn room(flight: &Flight, tenant: &Tenant) -> (usize, usize) {
        let mut held = Vec::new();
        while let Some(slot) = Flight::enter(tenant).now_or_never() {
            held.push(slot);
        }
        (flight.lock().now, held.len())
    }

    #[tokio::test]
    async fn load_halves_the_bound_once_for_all_that_was_under_way() {
        let flight = Flight::new(8, 8);
        let tenant = flight.tenant("");
        let sent = slots(&tenant, 8).await;
        let later = Instant::now() + Duration::from_millis(5);
        sent.into_iter().for_each(|slot| flight.leave_at(slot, Went::TooMuch, later));
        assert_eq!(room(&flight, &tenant), (4, 4));
        for bound in [2, 1, 1] {
            let begun = flight.lock().shrank + Duration::from_millis(5);
            let slot = Slot { begun, ..Flight::enter(&tenant).await };
            flight.leave_at(slot, Went::TooMuch, begun);
            assert_eq!(room(&flight, &tenant), (bound, bound));
        }
    }

    #[tokio::test]
    async fn the_bound_grows_to_its_most_while_all_of_it_is_used() {
        let flight = Flight::new(1, 3);
        let tenant = flight.tenant("");
        for _ in 0..10 * GROW_AFTER {
            let all = flight.lock().now;
            slots(&tenant, all).await.into_iter().for_each(|slot| flight.leave(slot, Went::Well));
        }
        assert_eq!(room(&flight, &tenant), (3, 3));

        let idle = Flight::new(2, 3);
        let tenant = idle.tenant("");
        for _ in 0..10 * GROW_AFTER {
            let slot = Flight::enter(&tenant).await;
            idle.leave(slot, Went::Well);
        }
        assert_eq!(idle.lock().now, 2);
    }

    #[tokio::test]
    async fn a_slow_answer_is_load_too() {
        let flight = Flight::new(4, 4);
        let tenant = flight.tenant("");
        let slot = Flight::enter(&tenant).await;
        let late = slot.begun + LATENCY_BAD * 2;
        flight.leave_at(slot, Went::Well, late);
        assert_eq!(room(&flight, &tenant), (2, 2));
    }

    #[tokio::test]
    async fn who_has_many_requests_under_way_stands_behind_who_has_few() {
        let flight = Flight::new(4, 4);
        let (loud, quiet) = (flight.tenant("loud-"), flight.tenant("quiet-"));
        let mut sent = slots(&loud, 4).await;
        let (mut more, mut one) = (Box::pin(Flight::enter(&loud)), Box::pin(Flight::enter(&quiet)));
        assert!((&mut more).now_or_never().is_none() && (&mut one).now_or_never().is_none());
        flight.leave(sent.remove(0), Went::Well);
        assert!((&mut more).now_or_never().is_none(), "it has three, and asked first");
        assert!((&mut one).now_or_never().is_some());
    }
}
