//! The ledger: this process's hold on the destination's state. Every writing of it is a compare-and-set, so that a
//! second owner is noticed before the slot is confirmed past what it wrote.

use std::sync::Arc;

use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::owner;
use super::policy::FlowLimits;
use crate::edges::{Failure, FailureClass, Observer, Revision, State};
use crate::model::StateDocument;

/// The one writer of a destination's state.
#[derive(Debug)]
pub struct Ledger {
    state: Arc<dyn State>,
    pipeline: String,
    limits: FlowLimits,
    observer: Arc<dyn Observer>,
    stop: CancellationToken,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    document: StateDocument,
    revision: Option<Revision>,
}

impl Ledger {
    /// Writes `document` as the new state, in place of what was read as `revision`, and holds it.
    ///
    /// # Errors
    ///
    /// `Fatal` when somebody else wrote it meanwhile.
    pub async fn claim(
        state: Arc<dyn State>,
        pipeline: &str,
        document: StateDocument,
        revision: Option<Revision>,
        limits: FlowLimits,
        observer: Arc<dyn Observer>,
        stop: CancellationToken,
    ) -> Result<Self, Failure> {
        let held = Mutex::new(Held { document: document.clone(), revision });
        let ledger = Self { state, pipeline: pipeline.to_owned(), limits, observer, stop, held };
        ledger.write(&mut *ledger.held.lock().await, document).await?;
        Ok(ledger)
    }

    /// The state as it was last written.
    pub async fn read<R>(&self, look: impl FnOnce(&StateDocument) -> R) -> R {
        look(&self.held.lock().await.document)
    }

    /// Changes the state and makes the change durable before it returns. A change that changes nothing is not written.
    ///
    /// # Errors
    ///
    /// `Fatal` when somebody else owns the destination by now; `Transient` when the flow stops while the sink cannot
    /// be reached.
    pub async fn update<R>(&self, change: impl FnOnce(&mut StateDocument) -> R) -> Result<R, Failure> {
        let mut held = self.held.lock().await;
        let mut document = held.document.clone();
        let answer = change(&mut document);
        if document != held.document {
            self.write(&mut held, document).await?;
        }
        Ok(answer)
    }

    async fn write(&self, held: &mut Held, document: StateDocument) -> Result<(), Failure> {
        let mut backoff = Backoff::new(&self.limits);
        // Whether some try of this write may have been applied, now or later, without our knowing.
        let mut unknown = false;
        loop {
            let failure = match self.state.store(&self.pipeline, &document, held.revision.as_ref()).await {
                Ok(revision) => {
                    *held = Held { document, revision: Some(revision) };
                    return Ok(());
                }
                // A conflict with our own earlier try is no conflict.
                Err(failure) if failure.class == FailureClass::Transient || unknown => failure,
                Err(failure) => return Err(failure),
            };
            unknown = true;
            self.tell(&failure);
            loop {
                if !backoff.wait(&self.stop).await {
                    return Err(Failure::transient(format!(
                        "stopped while writing the state of pipeline {}",
                        self.pipeline
                    ))
                    .with_source(failure));
                }
                match self.state.load(&self.pipeline).await {
                    Ok(Some((found, revision))) if found == document => {
                        *held = Held { document, revision: Some(revision) };
                        return Ok(());
                    }
                    Ok(found) => {
                        held.revision = self.still_ours(held, &document, found)?;
                        break;
                    }
                    Err(failure) if failure.class == FailureClass::Transient => self.tell(&failure),
                    Err(failure) => return Err(failure),
                }
            }
        }
    }

    /// The revision to go on from, unless what is there now was written by another process.
    fn still_ours(
        &self,
        held: &Held,
        document: &StateDocument,
        found: Option<(StateDocument, Revision)>,
    ) -> Result<Option<Revision>, Failure> {
        match found {
            None if held.revision.is_none() => Ok(None),
            Some((found, revision)) if found.owner == document.owner || Some(&revision) == held.revision.as_ref() => {
                Ok(Some(revision))
            }
            found => Err(owner::lost(&self.pipeline, found.is_some())),
        }
    }

    fn tell(&self, failure: &Failure) {
        self.observer.on_retry("state.store", failure.message());
        self.observer.on_error(failure);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use async_trait::async_trait;

    use super::*;
    use crate::edges::{MemoryState, Silent};
    use crate::model::Position;
    use crate::pipeline::start::tests::state;

    /// A state whose answers to some calls are lost, after the call was applied.
    #[derive(Debug, Default)]
    struct Lossy {
        state: MemoryState,
        lost_stores: AtomicU32,
        lost_loads: AtomicU32,
    }

    fn lost(count: &AtomicU32) -> bool {
        count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
    }

    #[async_trait]
    impl State for Lossy {
        async fn load(&self, pipeline: &str) -> Result<Option<(StateDocument, Revision)>, Failure> {
            if lost(&self.lost_loads) { Err(Failure::transient("cut")) } else { self.state.load(pipeline).await }
        }

        async fn store(
            &self,
            pipeline: &str,
            document: &StateDocument,
            expected: Option<&Revision>,
        ) -> Result<Revision, Failure> {
            let stored = self.state.store(pipeline, document, expected).await?;
            if lost(&self.lost_stores) { Err(Failure::transient("cut")) } else { Ok(stored) }
        }
    }

    async fn claim(state: Arc<Lossy>, owner: &str, revision: Option<Revision>) -> Result<Ledger, Failure> {
        let limits = FlowLimits { backoff_first: std::time::Duration::from_millis(1), ..FlowLimits::default() };
        let document = StateDocument { owner: owner.into(), ..self::state() };
        Ledger::claim(state, "p", document, revision, limits, Arc::new(Silent), CancellationToken::new()).await
    }

    #[tokio::test]
    async fn a_lost_answer_is_not_taken_for_another_owner() {
        let state = Arc::new(Lossy::default());
        state.lost_stores.store(1, Ordering::SeqCst);
        state.lost_loads.store(1, Ordering::SeqCst);
        let ledger = claim(Arc::clone(&state), "me", None).await.unwrap();
        state.lost_stores.store(2, Ordering::SeqCst);
        state.lost_loads.store(2, Ordering::SeqCst);
        ledger.update(|state| state.checkpoint = Position::new(777)).await.unwrap();
        assert_eq!(state.load("p").await.unwrap().unwrap().0.checkpoint, Position::new(777));
    }

    #[tokio::test]
    async fn a_second_owner_stops_the_first() {
        let state = Arc::new(Lossy::default());
        let first = claim(Arc::clone(&state), "one", None).await.unwrap();
        let (_, revision) = state.load("p").await.unwrap().unwrap();
        claim(Arc::clone(&state), "two", Some(revision)).await.unwrap();
        let refused = first.update(|state| state.checkpoint = Position::new(888)).await.unwrap_err();
        assert_eq!(refused.class, FailureClass::Fatal);
    }
}
