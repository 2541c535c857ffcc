//! Copies of the slot: where a pipeline goes on that the others do not wait for. They are the server's, so they outlive a process;
//! the next one finds them by their names.

use std::sync::Arc;
use std::time::Duration;

use super::commands::Command;
use super::driver::Driver;
use super::place::SlotCopy;
use crate::edges::{Failure, SharedSource, StreamStart};

/// How long after a copy could not be dropped it is tried again: it keeps log as long as it is there.
const DROP_AGAIN_AFTER: Duration = Duration::from_secs(10);

impl Driver {
    /// Makes a copy of the slot for a pipeline, once one of the few is free.
    pub fn copy(&mut self, place: usize) {
        let found = &mut self.places[place];
        if found.copy.is_some() || std::mem::replace(&mut found.copying, true) {
            return;
        }
        let Some(start) = &self.start else {
            found.copying = false;
            return;
        };
        let (source, copies, commands) = (Arc::clone(&self.source), Arc::clone(&self.copies), self.commands.clone());
        let (tenant, name) = (found.name.clone(), copy_name(start, &found.name));
        let dropping = found.dropping.take();
        tokio::spawn(async move {
            if let Some(dropping) = dropping {
                let _ = dropping.await;
            }
            let result = match copies.acquire_owned().await {
                Ok(permit) => source.copy(&name).await.map(|()| SlotCopy { name, _permit: Some(permit) }),
                Err(_) => return,
            };
            let _ = commands.send(Command::Copied { tenant, result });
        });
    }

    /// Drops a pipeline's copy, where it has one.
    pub fn drop_copy(&mut self, place: usize) {
        let Some(copy) = self.places[place].copy.take() else { return };
        if let Some(ties) = &self.places[place].ties {
            ties.copy.send_replace(None);
        }
        self.places[place].dropping = Some(tokio::spawn(drop_at_last(Arc::clone(&self.source), copy)));
    }

    /// Finds the copies that an earlier process made, and drops those of nobody.
    ///
    /// # Errors
    ///
    /// When they cannot be looked for: then it is not known who may go on where it was.
    pub async fn find_copies(&mut self) -> Result<(), Failure> {
        let Some(start) = self.start.clone() else { return Ok(()) };
        for (name, confirmed) in self.source.copies().await? {
            let whose = self.places.iter_mut().find(|place| copy_name(&start, &place.name) == name);
            match whose {
                Some(place) if place.copy.is_some() || place.copying => {}
                Some(place) => {
                    let permit = Arc::clone(&self.copies).try_acquire_owned().ok();
                    (place.copy, place.left_at) = (Some(SlotCopy { name, _permit: permit }), confirmed);
                }
                None => {
                    tracing::info!(slot = name, "a copy of the slot that no pipeline needs is dropped");
                    tokio::spawn(drop_at_last(Arc::clone(&self.source), SlotCopy { name, _permit: None }));
                }
            }
        }
        Ok(())
    }

    pub fn copied(&mut self, tenant: &str, result: Result<SlotCopy, Failure>) {
        match (self.find(tenant), result) {
            (Some(place), Ok(copy)) => {
                let found = &mut self.places[place];
                found.copying = false;
                let wanted = found.wants_copy();
                let name = copy.name.clone();
                found.copy = Some(copy);
                if !wanted {
                    // It was parked, or let in otherwise, meanwhile.
                    self.drop_copy(place);
                    return;
                }
                tracing::info!(pipeline = tenant, slot = name, "the pipeline goes on by itself, on a copy of the slot");
                found.left_at = found.held().unwrap_or(found.left_at);
                found.hold = None;
                if let Some(ties) = &found.ties {
                    ties.copy.send_replace(Some(name));
                }
            }
            (Some(place), Err(failure)) => {
                self.places[place].copying = false;
                tracing::warn!(pipeline = tenant, "no copy of the slot: {}", failure.chain());
                let (commands, after, tenant) =
                    (self.commands.clone(), self.options.copy_again_after, tenant.to_owned());
                tokio::spawn(async move {
                    tokio::time::sleep(after).await;
                    let _ = commands.send(Command::CopyAgain { tenant });
                });
            }
            (None, Ok(copy)) => drop(tokio::spawn(drop_at_last(Arc::clone(&self.source), copy))),
            (None, Err(_)) => {}
        }
    }
}

/// Drops a copy, however often that takes, and gives its permit back then.
async fn drop_at_last(source: Arc<dyn SharedSource>, copy: SlotCopy) {
    while let Err(failure) = source.drop_copy(&copy.name).await {
        tracing::warn!(slot = copy.name, "a copy of the slot that nobody needs is still there: {}", failure.chain());
        tokio::time::sleep(DROP_AGAIN_AFTER).await;
    }
}

/// The copy of the slot that a pipeline has. The hash keeps it short; two underscores stand in no name of a slot that is ours
/// otherwise.
fn copy_name(start: &StreamStart, tenant: &str) -> String {
    let byte = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    // FNV-1a: the same in every process.
    let hash = tenant.bytes().fold(0xcbf2_9ce4_8422_2325, byte);
    format!("{}__{hash:016x}", start.identity.slot)
}
