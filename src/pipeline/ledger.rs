//! The ledger: this process's hold on the destination's state. Every writing of it is a compare-and-set, so that a
//! second owner is noticed before the slot is confirmed past what it wrote.

use std::sync::Arc;

use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
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
        let held = Mutex::new(Held {
            document: document.clone(),
            revision,
        });
        let ledger = Self {
            state,
            pipeline: pipeline.to_owned(),
            limits,
            observer,
            stop,
            held,
        };
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
        loop {
            let failure = match self
                .state
                .store(&self.pipeline, &document, held.revision.as_ref())
                .await
            {
                Ok(revision) => {
                    *held = Held {
                        document,
                        revision: Some(revision),
                    };
                    return Ok(());
                }
                Err(failure) if failure.class == FailureClass::Transient => failure,
                Err(failure) => return Err(failure),
            };
            self.observer.on_retry("state.store", failure.message());
            self.observer.on_error(&failure);
            if !backoff.wait(&self.stop).await {
                return Err(failure);
            }
            // The outcome of the write is unknown. If it was applied, what is there now is what we wanted.
            if let Ok(Some((found, revision))) = self.state.load(&self.pipeline).await {
                if found == document {
                    *held = Held {
                        document,
                        revision: Some(revision),
                    };
                    return Ok(());
                }
                if found.owner != document.owner && Some(&revision) != held.revision.as_ref() {
                    return Err(Failure::fatal(format!(
                        "the state of pipeline {} was taken over by another process",
                        self.pipeline
                    ))
                    .with_advice("stop one of the two: an index has one pipeline"));
                }
            }
        }
    }
}
