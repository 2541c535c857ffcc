//! The owner: asks the destination's state, now and then, whether it still names this process. Compare-and-set guards the state;
//! this guards the documents, which have no such thing.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::moment::Moment;
use super::policy::FlowLimits;
use crate::edges::{Failure, FailureClass, Observer, Ownership, State, Waiting};

/// See the module. Reads only, so that a back half elsewhere can have one of its own.
#[derive(Debug)]
pub struct Owner {
    state: Arc<dyn State>,
    pipeline: String,
    token: String,
    limits: FlowLimits,
    observer: Arc<dyn Observer>,
    stop: CancellationToken,
    proved: Mutex<Option<Moment>>,
    /// One asks for all.
    asking: tokio::sync::Mutex<()>,
}

impl Owner {
    /// Of the destination of `pipeline`, whose state names `token` as its owner.
    pub fn new(
        state: Arc<dyn State>,
        pipeline: &str,
        token: &str,
        limits: FlowLimits,
        observer: Arc<dyn Observer>,
        stop: CancellationToken,
    ) -> Self {
        let (pipeline, token) = (pipeline.to_owned(), token.to_owned());
        Self { state, pipeline, token, limits, observer, stop, proved: Mutex::default(), asking: Default::default() }
    }

    fn is_fresh(&self) -> bool {
        let proved = *self.proved.lock().unwrap_or_else(PoisonError::into_inner);
        proved.is_some_and(|proved| proved.elapsed() < self.limits.proof_fresh_for)
    }
}

/// The state names somebody else, or is not there.
pub(super) fn lost(pipeline: &str, is_there: bool) -> Failure {
    let what = if is_there { "was taken over by another process" } else { "was deleted" };
    Failure::fatal(format!("the state of pipeline {pipeline} {what}"))
        .with_advice("an index has one pipeline: see that only one process runs it, and start again")
}

#[async_trait]
impl Ownership for Owner {
    async fn prove(&self) -> Result<(), Failure> {
        if self.is_fresh() {
            return Ok(());
        }
        let _one = self.asking.lock().await;
        let mut backoff = Backoff::new(&self.limits);
        while !self.is_fresh() {
            // What is answered was so after this moment.
            let asked = Moment::now();
            match self.state.load(&self.pipeline).await {
                Ok(Some((found, _))) if found.owner == self.token => {
                    *self.proved.lock().unwrap_or_else(PoisonError::into_inner) = Some(asked);
                }
                Ok(found) => return Err(lost(&self.pipeline, found.is_some())),
                Err(failure) if failure.class == FailureClass::Transient => {
                    self.observer.on_waiting(Some(Waiting::Sink));
                    self.observer.on_retry("state.load", failure.message());
                    self.observer.on_error(&failure);
                    if !backoff.wait(&self.stop).await {
                        return Err(failure);
                    }
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::edges::{MemoryState, Revision, Silent};
    use crate::model::StateDocument;
    use crate::pipeline::start::tests::state;

    /// A state that counts how often it was read, and cannot be at first.
    #[derive(Debug, Default)]
    struct Counting {
        state: MemoryState,
        loads: AtomicU32,
    }

    #[async_trait]
    impl State for Counting {
        async fn load(&self, pipeline: &str) -> Result<Option<(StateDocument, Revision)>, Failure> {
            match self.loads.fetch_add(1, Ordering::SeqCst) {
                0 => Err(Failure::transient("not yet")),
                _ => self.state.load(pipeline).await,
            }
        }

        async fn store(
            &self,
            pipeline: &str,
            document: &StateDocument,
            expected: Option<&Revision>,
        ) -> Result<Revision, Failure> {
            self.state.store(pipeline, document, expected).await
        }
    }

    fn owner(state: &Arc<Counting>, proof_fresh_for: Duration) -> Owner {
        let backoff_first = Duration::from_millis(1);
        let limits = FlowLimits { proof_fresh_for, backoff_first, ..FlowLimits::default() };
        Owner::new(Arc::clone(state) as _, "p", "me", limits, Arc::new(Silent), CancellationToken::new())
    }

    #[tokio::test]
    async fn a_proof_serves_all_for_a_while_and_a_second_owner_ends_it() {
        let counting = Arc::new(Counting::default());
        let mine = StateDocument { owner: "me".into(), ..state() };
        let revision = counting.store("p", &mine, None).await.unwrap();
        let (slow, quick) = (owner(&counting, Duration::from_secs(60)), owner(&counting, Duration::from_millis(1)));
        let (one, other) = tokio::join!(slow.prove(), slow.prove());
        one.and(other).unwrap();
        assert_eq!(counting.loads.load(Ordering::SeqCst), 2, "what failed was tried again, and one asked for both");

        counting.store("p", &StateDocument { owner: "another".into(), ..mine }, Some(&revision)).await.unwrap();
        slow.prove().await.unwrap();
        assert_eq!(quick.prove().await.unwrap_err().class, FailureClass::Fatal);
    }
}
