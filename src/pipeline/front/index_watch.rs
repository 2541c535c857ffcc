//! Index watch: whether the indexes are the ones they were at the start, every now and then. One that was deleted, made anew or
//! restored under the flow may have lost what was confirmed, and its writes go on as if nothing were: only the comparison at a
//! start can say what follows.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::edges::{Failure, FailureClass, IndexAdmin, Observer};
use crate::pipeline::ledger::Ledger;

/// Looks until stopped, at the indexes that are declared.
///
/// # Errors
///
/// `Restart` when an index is another or gone; what the sink says when it must not be written any more.
pub async fn run(
    indexes: Arc<dyn IndexAdmin>,
    ledger: Arc<Ledger>,
    declared: Vec<String>,
    observer: Arc<dyn Observer>,
    every: Duration,
    stop: CancellationToken,
) -> Result<(), Failure> {
    let known = ledger
        .read(|state| {
            let known = declared.iter().filter_map(|name| state.generations.get(name));
            known.map(|generation| (generation.name.clone(), generation.uuid.clone())).collect::<Vec<_>>()
        })
        .await;
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(every) => {}
        }
        for (name, uuid) in &known {
            let found = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                found = indexes.uuid(name) => found,
            };
            match found {
                Ok(Some(found)) if found == *uuid => {}
                Ok(Some(_)) => {
                    return Err(Failure::restart(format!(
                        "index {name} is not the one that it was: it was made anew or restored"
                    )));
                }
                Ok(None) => return Err(Failure::restart(format!("index {name} was deleted"))),
                // A closed index and a sink that cannot be reached pass; what is written meanwhile waits too.
                Err(failure) if failure.class == FailureClass::Transient => observer.on_error(&failure),
                Err(failure) => return Err(failure),
            }
        }
    }
}
