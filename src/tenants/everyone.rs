//! [`Everyone`]: what the shared stream waits on concerns every pipeline that reads it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::edges::{Observer, Waiting};

/// Tells all of them.
#[derive(Debug, Default)]
pub(super) struct Everyone(Mutex<Vec<Arc<dyn Observer>>>);

impl Everyone {
    /// From now on these.
    pub fn are(&self, observers: impl Iterator<Item = Arc<dyn Observer>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = observers.collect();
    }

    fn each(&self, tell: impl Fn(&dyn Observer)) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(|observer| tell(&**observer));
    }
}

impl Observer for Everyone {
    fn on_waiting(&self, waiting: Option<Waiting>) {
        self.each(|observer| observer.on_waiting(waiting));
    }
    fn on_fence(&self, waited: Duration) {
        self.each(|observer| observer.on_fence(waited));
    }
}
