//! How large one bulk request is: half as large when one was not answered in time, because what is sent again as large as before
//! would be as late as before; larger again, slowly, while answers come soon.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::options::OpenSearchOptions;

/// A request of so many bytes is never too large: it is not answered for another reason.
const BYTES_MIN: usize = 64 << 10;

/// An answer that took longer is no reason to send more at once.
const SOON: Duration = Duration::from_secs(2);

/// A bound on the bytes of one request, for all that write to one search engine.
#[derive(Debug)]
pub(super) struct RequestSize {
    most: usize,
    soon: Duration,
    bound: Mutex<Bound>,
}

#[derive(Debug)]
struct Bound {
    bytes: usize,
    /// The largest that was sent since it shrank.
    largest: usize,
    /// When it shrank last: what was sent before says nothing about the bound since.
    shrank: Instant,
}

impl RequestSize {
    pub(super) fn new(options: &OpenSearchOptions) -> Self {
        let most = options.bulk_bytes_max.max(1);
        Self {
            most,
            // Far enough from an answer that comes too late, whatever that is.
            soon: SOON.min(options.request_timeout / 4),
            bound: Mutex::new(Bound { bytes: most, largest: 0, shrank: Instant::now() }),
        }
    }

    /// Bytes of one request at most, as answers come now.
    pub(super) fn bytes_max(&self) -> usize {
        self.lock().bytes
    }

    /// A request of so many bytes leaves.
    pub(super) fn sent(&self, bytes: usize) {
        let mut bound = self.lock();
        bound.largest = bound.largest.max(bytes);
    }

    /// A request that was sent at `begun` was not answered.
    pub(super) fn unanswered(&self, begun: Instant) {
        let mut bound = self.lock();
        let from = bound.bytes.min(bound.largest);
        if begun >= bound.shrank && from > BYTES_MIN {
            *bound = Bound { bytes: (from / 2).max(BYTES_MIN), largest: 0, shrank: Instant::now() };
        }
    }

    /// A request was answered after that time; `full` is whether the bound is why it was no larger, since another one says
    /// nothing of a larger one. Whether the bound grew.
    pub(super) fn answered(&self, full: bool, took: Duration) -> bool {
        let mut bound = self.lock();
        let grows = full && took <= self.soon && bound.bytes < self.most;
        if grows {
            bound.bytes = (bound.bytes + bound.bytes.div_ceil(4)).min(self.most);
        }
        grows
    }

    fn lock(&self) -> MutexGuard<'_, Bound> {
        self.bound.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(10);

    fn size(request_timeout: Duration) -> RequestSize {
        RequestSize::new(&OpenSearchOptions { request_timeout, ..OpenSearchOptions::default() })
    }

    #[test]
    fn a_request_that_is_not_answered_halves_the_size_once_for_all_that_was_under_way() {
        let size = size(Duration::from_secs(60));
        let begun = Instant::now();
        [800_000, 3_000, 800_000].into_iter().for_each(|bytes| size.sent(bytes));
        (0..3).for_each(|_| size.unanswered(begun));
        assert_eq!(size.bytes_max(), 400_000);
    }

    #[test]
    fn a_small_request_that_is_not_answered_says_nothing_of_the_size() {
        let size = size(Duration::from_secs(60));
        for _ in 0..10 {
            size.sent(BYTES_MIN);
            size.unanswered(Instant::now());
        }
        assert_eq!(size.bytes_max(), size.most);
        for _ in 0..10 {
            size.sent(800_000);
            size.unanswered(Instant::now());
        }
        assert_eq!(size.bytes_max(), BYTES_MIN);
    }

    #[test]
    fn the_size_grows_to_its_most_while_full_requests_are_answered_soon() {
        let size = size(Duration::from_secs(1));
        size.sent(800_000);
        size.unanswered(Instant::now());
        assert!(!size.answered(false, SHORT), "a small one says nothing");
        assert!(!size.answered(true, Duration::from_millis(300)), "that was not soon");
        assert_eq!(size.bytes_max(), 400_000);
        let grown = (0..20).filter(|_| size.answered(true, SHORT)).count();
        assert!(grown < 20, "then it is as large as it may be, and more of them may be tried");
        assert_eq!(size.bytes_max(), size.most);
    }
}
