//! [`Everyone`]: what the shared stream waits on concerns every pipeline that reads it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::edges::{Observer, Waiting};

/// Tells all of them; but for the fence, which a transaction passes for those whom it concerns.
#[derive(Debug, Default)]
pub(super) struct Everyone {
    observers: Mutex<Vec<Arc<dyn Observer>>>,
    fence_waited: Mutex<Option<Duration>>,
}

impl Everyone {
    /// From now on these.
    pub fn are(&self, observers: impl Iterator<Item = Arc<dyn Observer>>) {
        *locked(&self.observers) = observers.collect();
    }

    /// How long the transaction that was received last waited at the fence, if it did; told once.
    pub fn fence_waited(&self) -> Option<Duration> {
        locked(&self.fence_waited).take()
    }

    fn each(&self, tell: impl Fn(&dyn Observer)) {
        locked(&self.observers).iter().for_each(|observer| tell(&**observer));
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Observer for Everyone {
    fn on_waiting(&self, waiting: Option<Waiting>) {
        self.each(|observer| observer.on_waiting(waiting));
    }
    fn on_fence(&self, waited: Duration) {
        *locked(&self.fence_waited) = Some(waited);
    }
}
