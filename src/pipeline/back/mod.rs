//! The back half: tasks become durable documents. It meets the front half only at the [`WorkQueue`] and could run on
//! another machine: it needs the database, the builder and the sink, and nothing that the front half holds.
//!
//! ```text
//! take ─▶ read (one snapshot) ─▶ build ─▶ write ─▶ finish
//! Lease     Fetched               Built     Durable
//! ```
//!
//! The order is held by types: each stage consumes the one before, and a lease can only be finished with a
//! `Durable`, which only `write` can make.

mod build;
mod finish;
mod read;
mod take;
mod write;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio_util::sync::CancellationToken;

use super::failing::Failing;
use super::policy::{FailurePolicies, FlowLimits};
use crate::edges::{DocumentBuilder, Failure, Observer, Ownership, QuerySet, RowReader, Sink, WorkQueue};
use crate::model::Position;

/// What the workers of the back half share.
#[derive(Debug)]
pub struct Back {
    /// Assembles.
    pub builder: Arc<dyn DocumentBuilder>,
    /// Its statements.
    pub queries: Arc<dyn QuerySet>,
    /// Knows where the source's log ends.
    pub reader: Arc<dyn RowReader>,
    /// Where documents go.
    pub sink: Arc<dyn Sink>,
    /// Whether that is still this process's.
    pub ownership: Arc<dyn Ownership>,
    /// Told of what happens.
    pub observer: Arc<dyn Observer>,
    /// What happens to rejected documents.
    pub policies: FailurePolicies,
    /// Sees when too many of them fail.
    pub failing: Arc<Failing>,
    /// Its limits.
    pub limits: FlowLimits,
    /// Gives up what is being retried; the tasks come again.
    pub stop: CancellationToken,
    /// Where the source's log was last seen to end.
    pub flushed: FlushedPosition,
    /// Ids in one call of the builder, by index: halved where a limit was met.
    pub call_sizes: build::CallSizes,
}

/// Where the source's log was last seen to end on disk.
#[derive(Debug, Default)]
pub struct FlushedPosition(AtomicU64);

impl FlushedPosition {
    fn raise(&self, position: Position) {
        self.0.fetch_max(position.bytes(), Ordering::Relaxed);
    }

    fn get(&self) -> Position {
        Position::new(self.0.load(Ordering::Relaxed))
    }
}

impl Back {
    /// One worker: does the tasks of `queue` until it is closed and empty, or `stop` is cancelled.
    pub async fn work(self: Arc<Self>, queue: Arc<dyn WorkQueue>) -> Result<(), Failure> {
        while let Some(taken) = take::next(&*queue, &self.stop).await? {
            match write::durable(&self, taken.task()).await {
                Ok(durable) => finish::finish(taken, durable),
                // The lease goes back with the drop; nothing is confirmed.
                Err(_) if self.stop.is_cancelled() => return Ok(()),
                Err(failure) => return Err(failure),
            }
        }
        Ok(())
    }
}

pub use build::CallSizes;
