//! How many bulk requests are under way: more while they go well, half as many when the search engine says that it is too
//! much.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A bound that moves between 1 and its most.
#[derive(Debug)]
pub(super) struct Flight {
    room: Arc<Semaphore>,
    /// What the bound is meant to be; permits that are out still count until they come back.
    bound: AtomicUsize,
    most: usize,
    went_well: AtomicUsize,
}

/// Requests that must go well, one after the other, before one more is allowed.
const GROW_AFTER: usize = 32;

impl Flight {
    pub(super) fn new(first: usize, most: usize) -> Self {
        let most = most.max(1);
        let first = first.clamp(1, most);
        Self {
            room: Arc::new(Semaphore::new(first)),
            bound: AtomicUsize::new(first),
            most,
            went_well: AtomicUsize::new(0),
        }
    }

    /// Waits for room for one request.
    pub(super) async fn enter(&self) -> Option<OwnedSemaphorePermit> {
        // Never closed.
        Arc::clone(&self.room).acquire_owned().await.ok()
    }

    /// A request went well.
    pub(super) fn went_well(&self) {
        if (self.went_well.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(GROW_AFTER)
            && self.change(|bound| (bound < self.most).then_some(bound + 1)).is_some()
        {
            self.room.add_permits(1);
        }
    }

    /// The search engine said that it is too much.
    pub(super) fn too_much(&self, permit: OwnedSemaphorePermit) {
        self.went_well.store(0, Ordering::Relaxed);
        if self.change(|bound| (bound > 1).then_some(bound - 1)).is_some() {
            permit.forget();
        }
    }

    fn change(&self, change: impl Fn(usize) -> Option<usize>) -> Option<usize> {
        self.bound.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_bound_shrinks_under_load_and_grows_when_it_goes_well() {
        let flight = Flight::new(2, 3);
        for _ in 0..5 {
            flight.too_much(flight.enter().await.unwrap());
        }
        assert_eq!(flight.room.available_permits(), 1);
        (0..10 * GROW_AFTER).for_each(|_| flight.went_well());
        assert_eq!(flight.room.available_permits(), 3);
    }
}
