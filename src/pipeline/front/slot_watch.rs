//! Slot watch: how the replication slot stands, every few seconds, for whoever looks after the source's disk.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::edges::{ChangeCapture, Failure, Observer};

/// Looks until stopped. A look that fails is no failure of the flow: the stream has its own opinion.
pub async fn run(
    source: Arc<dyn ChangeCapture>,
    observer: Arc<dyn Observer>,
    every: Duration,
    stop: CancellationToken,
) -> Result<(), Failure> {
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            looked = source.slot() => match looked {
                Ok(Some(report)) => observer.on_slot(&report),
                Ok(None) => {}
                Err(failure) => tracing::debug!("the slot could not be looked at: {}", failure.chain()),
            },
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(every) => {}
        }
    }
}
