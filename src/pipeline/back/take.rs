//! Take: the next task, for this worker alone.

use tokio_util::sync::CancellationToken;

use crate::edges::{Failure, Lease, WorkQueue};

/// The next task; `None` when there will be none, or the flow stops.
pub(super) async fn next(queue: &dyn WorkQueue, stop: &CancellationToken) -> Result<Option<Lease>, Failure> {
    tokio::select! {
        biased;
        () = stop.cancelled() => Ok(None),
        lease = queue.next() => lease,
    }
}
