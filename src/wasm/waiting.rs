//! [`Waiting`]: how long a call waited for what it asked for (the database), without what it waited for a processor after that was
//! there.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

/// See the module. Counts for the one future that is polled through it.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    before: Duration,
    /// When the last poll ended, while the future waits.
    since: Option<Instant>,
    woken: Arc<Woken>,
}

impl Waiting {
    pub(super) fn poll<F: Future + ?Sized>(&mut self, future: Pin<&mut F>, context: &Context<'_>) -> Poll<F::Output> {
        self.before = self.so_far();
        self.since = None;
        self.woken.arm(context.waker());
        let answer = future.poll(&mut Context::from_waker(&Waker::from(Arc::clone(&self.woken))));
        if answer.is_pending() {
            self.since = Some(Instant::now());
        }
        answer
    }

    /// The present wait included.
    pub(super) fn so_far(&self) -> Duration {
        let Some(since) = self.since else { return self.before };
        let until = locked(&self.woken.at).unwrap_or_else(Instant::now);
        self.before + until.saturating_duration_since(since)
    }
}

/// The waker that a waiting call leaves behind: it notes when it was called, and calls the task's.
#[derive(Debug, Default)]
struct Woken {
    at: Mutex<Option<Instant>>,
    waker: Mutex<Option<Waker>>,
}

impl Woken {
    fn arm(&self, waker: &Waker) {
        *locked(&self.at) = None;
        let mut kept = locked(&self.waker);
        if kept.as_ref().is_none_or(|kept| !kept.will_wake(waker)) {
            *kept = Some(waker.clone());
        }
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        locked(&self.at).get_or_insert_with(Instant::now);
        let waker = locked(&self.waker).clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waiting_for_something_counts_and_waiting_for_ones_turn_does_not() {
        let mut waiting = Waiting::default();
        let turn = Duration::from_millis(300);
        let mut work = Box::pin(async {
            // As a guest at a tick: its next turn is there at once, and comes late.
            let mut yielded = false;
            std::future::poll_fn(|context| match std::mem::replace(&mut yielded, true) {
                true => Poll::Ready(()),
                false => {
                    context.waker().wake_by_ref();
                    Poll::Pending
                }
            })
            .await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        });
        let mut late = true;
        std::future::poll_fn(|context| {
            let answer = waiting.poll(work.as_mut(), context);
            if std::mem::take(&mut late) {
                std::thread::sleep(turn);
            }
            answer
        })
        .await;
        assert!(waiting.so_far() >= Duration::from_millis(30), "{:?}", waiting.so_far());
        assert!(waiting.so_far() < turn, "{:?}", waiting.so_far());
    }
}
