//! [`Room`]: how many read connections all the pipelines of one source may have open together. Whoever needs one more takes the
//! place of one that is idle, whosever it is.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::pool::Pool;
use crate::edges::Failure;

/// See the module.
#[derive(Debug)]
pub(super) struct Room {
    max: usize,
    places: Arc<Semaphore>,
    /// Half of them, for connections that are kept while their reader waits for something that needs another one.
    kept: Arc<Semaphore>,
    waiting: AtomicUsize,
    pools: Mutex<Vec<Weak<Pool>>>,
}

impl Room {
    pub fn new(max: usize) -> Arc<Self> {
        let max = max.max(1);
        let places = Arc::new(Semaphore::new(max));
        let kept = Arc::new(Semaphore::new((max / 2).max(1)));
        Arc::new(Self { max, places, kept, waiting: AtomicUsize::new(0), pools: Mutex::default() })
    }

    /// One more pool opens connections in it.
    pub fn shelter(&self, pool: &Arc<Pool>) {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.retain(|pool| pool.strong_count() > 0);
        pools.push(Arc::downgrade(pool));
    }

    /// A place for one more connection, which is to be kept as long as that is open. In the order of asking.
    ///
    /// # Errors
    ///
    /// `Transient` when none became free.
    pub async fn place(&self, wait_max: Duration) -> Result<OwnedSemaphorePermit, Failure> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(place);
        }
        // From now on whoever comes to rest is closed instead.
        let _waiting = Waiting::new(&self.waiting);
        self.close_idle();
        match tokio::time::timeout(wait_max, Arc::clone(&self.places).acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            _ => Err(Failure::transient(format!(
                "failed to begin a read: all {} read connections of the source's pipelines were busy for {wait_max:?}",
                self.max
            ))
            .with_advice("raise read_connections_total of the source, if the server has connections to spare")),
        }
    }

    /// Leave to keep a connection while waiting for what other connections read; to be taken before that connection. In the order
    /// of asking, for as long as it takes.
    pub async fn keep(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.kept).acquire_owned().await.ok()
    }

    /// Whether somebody waits for a place.
    pub fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    fn close_idle(&self) {
        let pools: Vec<_> =
            self.pools.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade).collect();
        // The one that rested longest.
        let oldest = pools.iter().filter_map(|pool| Some((pool.oldest_idle()?, pool))).min_by_key(|(since, _)| *since);
        if let Some((_, pool)) = oldest {
            pool.close_oldest();
        }
    }
}

/// Counted while it is there.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
