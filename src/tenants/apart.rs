//! [`Apart`]: a pipeline by itself, on a copy of the slot, and its way back to the others.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::capture::SharedCapture;
use super::commands::Command;
use super::place::{Ended, Entry};
use crate::edges::{
    CapturedTable, ChangeStream, Failure, FailureClass, Lost, Observer, OnLostSlot, OpenRequest, StreamStart,
};
use crate::pipeline::queue::QueueReceiver;

/// How long the marker at which a pipeline changes over may take before another is written.
const JOIN_MARKER_WAIT: Duration = Duration::from_secs(30);

/// That a pipeline has a stream, and what it takes to open one of a copy.
pub(super) struct Presence {
    pub shared: Arc<SharedCapture>,
    pub tables: Vec<CapturedTable>,
    observer: Arc<dyn Observer>,
    pub entry: Entry,
}

impl Presence {
    pub fn new(shared: Arc<SharedCapture>, request: &OpenRequest<'_>, entry: Entry) -> Self {
        Self { shared, tables: request.tables.to_vec(), observer: Arc::clone(&request.observer), entry }
    }

    /// The name of the copy, once it is made.
    ///
    /// # Errors
    ///
    /// Why there will be none.
    pub async fn copy_made(&self) -> Result<String, Failure> {
        let (mut copy, lost) = (self.entry.ties.copy.subscribe(), self.lost());
        if copy.borrow().is_none() {
            let number = self.entry.ties.number;
            self.shared.tell(Command::WantsCopy { tenant: self.entry.tenant().to_owned(), number });
        }
        tokio::select! {
            failure = lost => Err(failure),
            made = copy.wait_for(Option::is_some) => match made.map(|made| made.clone()) {
                Ok(Some(name)) => Ok(name),
                _ => Err(Failure::transient("the shared stream has ended")),
            },
        }
    }

    /// Opens it on a task of its own, since whoever waits may give up and come again. It must go on where the pipeline was that has
    /// `before`.
    pub fn opening(&self, name: String, before: Option<&StreamStart>) -> AbortOnDropHandle<Result<Apart, Failure>> {
        let (shared, ties, tenant) =
            (Arc::clone(&self.shared), Arc::clone(&self.entry.ties), self.entry.tenant().to_owned());
        let (tables, observer, before) = (self.tables.clone(), Arc::clone(&self.observer), before.cloned());
        AbortOnDropHandle::new(tokio::spawn(async move {
            let request =
                OpenRequest { tables: &tables, known: true, since: None, on_lost: OnLostSlot::Refuse, observer };
            let opened = match shared.source().on_copy(&name)?.open(&request).await {
                Ok(stream) if before.is_none_or(|before| stream.start().goes_on(&before, ties.confirmed())) => {
                    Ok(stream)
                }
                Ok(_) => Err(Failure::fatal(format!("slot {name} is not where the pipeline was"))),
                Err(failure) => Err(failure),
            };
            match opened {
                Ok(stream) => {
                    let lost = stream.lost();
                    let _lost = AbortOnDropHandle::new(tokio::spawn(async move {
                        let failure = lost.await;
                        ties.end(Ended::Lost(failure.class, failure.chain()));
                    }));
                    Ok(Apart { stream, joining: None, join_due: Instant::now(), _lost })
                }
                Err(failure) if failure.class == FailureClass::Fatal => {
                    // It is gone, moved or good for nothing: the next opening begins without it.
                    shared.tell(Command::CopyLost { tenant, number: ties.number });
                    Err(Failure::restart(format!("the copy {name} of the slot cannot be read")).with_source(failure))
                }
                Err(failure) => Err(failure),
            }
        }))
    }

    /// The copy is not needed any more.
    pub fn merged(&self) {
        let (tenant, number) = (self.entry.tenant().to_owned(), self.entry.ties.number);
        self.shared.tell(Command::Merged { tenant, number });
    }

    /// Ends when the shared stream has, or the pipeline was parked.
    pub fn lost(&self) -> Lost {
        let (mut ended, gone) = (self.entry.ties.ended.subscribe(), self.shared.gone());
        Box::pin(async move {
            let lost = |ended: &Option<Ended>| matches!(ended, Some(Ended::Lost(..) | Ended::Parked(_)));
            tokio::select! {
                ended = ended.wait_for(lost) => match ended.map(|ended| ended.clone()) {
                    Ok(Some(ended)) => ended.failure(),
                    _ => Failure::transient("the shared stream has ended"),
                },
                () = gone => Failure::fatal("the task that reads changes for several pipelines has ended by an internal error"),
            }
        })
    }
}

/// The stream of a copy.
pub(super) struct Apart {
    pub stream: Box<dyn ChangeStream>,
    joining: Option<Joining>,
    /// When something is to be done about joining.
    pub join_due: Instant,
    /// Ends the whole when the copy's stream ends, also while nobody asks it for anything.
    _lost: AbortOnDropHandle<()>,
}

/// On the way back to the others.
struct Joining {
    token: u64,
    queue: QueueReceiver,
    _marking: AbortOnDropHandle<()>,
}

impl Apart {
    /// Writes the marker at which the pipeline changes over, unless one is on its way; tries again after `pause`.
    pub async fn try_to_join(&mut self, presence: &Presence, pause: Duration) {
        if self.join_due > Instant::now() {
            return;
        }
        // One that has not come by now will not.
        self.joining = None;
        self.join_due = Instant::now() + pause;
        let token = rand::random();
        let (reply, queue) = oneshot::channel();
        let (tenant, number) = (presence.entry.tenant().to_owned(), presence.entry.ties.number);
        presence.shared.tell(Command::Attach { tenant, number, token, queue: reply });
        let Ok(queue) = queue.await else { return };
        let source = Arc::clone(presence.shared.source());
        let _marking = AbortOnDropHandle::new(tokio::spawn(async move {
            if let Err(failure) = source.mark(token).await {
                tracing::debug!("no marker to join at: {}", failure.chain());
            }
        }));
        self.join_due = Instant::now() + JOIN_MARKER_WAIT;
        self.joining = Some(Joining { token, queue, _marking });
    }

    /// The queue that goes on behind this marker, if it is the one that was waited for.
    pub fn joins_at(&mut self, token: u64) -> Option<QueueReceiver> {
        self.joining.take_if(|joining| joining.token == token).map(|joining| joining.queue)
    }
}
