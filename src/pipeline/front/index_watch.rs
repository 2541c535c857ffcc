//! Index watch: whether the indexes that are written are still the ones that the state speaks of. One that was made anew,
//! restored from a snapshot or deleted does not hold what was confirmed, whatever its writes answer.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::edges::{Failure, FailureClass, IndexAdmin};
use crate::pipeline::ledger::Ledger;

/// Looks at the declared indexes until stopped.
///
/// # Errors
///
/// `Restart` when an index is another: the comparison at the start says what to do. `Fatal` when a person must act.
pub async fn run(
    indexes: Arc<dyn IndexAdmin>,
    declared: Vec<String>,
    ledger: Arc<Ledger>,
    every: Duration,
    stop: CancellationToken,
) -> Result<(), Failure> {
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(every) => {}
        }
        let written = ledger
            .read(|state| declared.iter().filter_map(|index| state.generations.get(index).cloned()).collect::<Vec<_>>())
            .await;
        for known in written {
            let looked = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                looked = indexes.uuid(&known.name) => looked,
            };
            match looked {
                Ok(Some(found)) if found == known.uuid => {}
                Ok(found) => {
                    let what = if found.is_some() { "was made anew or restored" } else { "is gone" };
                    return Err(Failure::restart(format!("index {} {what} while it was written", known.name)));
                }
                Err(failure) if failure.class == FailureClass::Transient => {
                    tracing::debug!("the index could not be looked at: {}", failure.chain());
                }
                Err(failure) => return Err(failure),
            }
        }
    }
}
