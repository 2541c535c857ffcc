//! [`TenantStream`]: one pipeline's stream of changes, from the queue that the shared stream fills, or from a copy of the slot while
//! the pipeline goes by itself.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::capture::SharedCapture;
use super::driver::Command;
use super::place::{Ended, Joined, Ties};
use crate::edges::{
    CaptureEvent, CapturedTable, ChangeStream, Failure, FailureClass, Lost, Observer, OnLostSlot, OpenRequest,
    StreamStart,
};
use crate::model::Position;
use crate::pipeline::queue::QueueReceiver;

/// How long `close` waits until what was confirmed is on its way.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);
/// How soon after a try to join the others another one is made.
const JOIN_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct TenantStream {
    presence: Presence,
    start: StreamStart,
    from: From,
    /// Everything at or before it was given out.
    at: Position,
    /// In the middle of a transaction.
    inside: bool,
    idle_due: Instant,
    /// The copy that it left, until all that was read there is confirmed.
    left: Option<(Apart, Position)>,
    denied: Lost,
}

enum From {
    /// The shared stream.
    Queue(QueueReceiver),
    /// A copy that is being made.
    Waiting,
    Opening(AbortOnDropHandle<Result<Apart, Failure>>),
    /// A copy.
    Copy(Apart),
}

/// The stream of a copy.
struct Apart {
    stream: Box<dyn ChangeStream>,
    joining: Option<Joining>,
    join_due: Instant,
    /// Ends the whole when the copy's stream ends, also while nobody asks it for anything.
    _lost: AbortOnDropHandle<()>,
}

/// On the way back to the others.
struct Joining {
    token: u64,
    queue: QueueReceiver,
    _marking: AbortOnDropHandle<()>,
}

/// That a pipeline has a stream. Its end tells the others.
struct Presence {
    name: String,
    shared: Arc<SharedCapture>,
    tables: Vec<CapturedTable>,
    observer: Arc<dyn Observer>,
    ties: Arc<Ties>,
    left: bool,
}

impl Presence {
    /// The name of the copy, once it is made.
    async fn copy_made(&self) -> Result<String, Failure> {
        let (mut copy, lost) = (self.ties.copy.subscribe(), self.lost());
        tokio::select! {
            failure = lost => Err(failure),
            made = copy.wait_for(Option::is_some) => match made.map(|made| made.clone()) {
                Ok(Some(name)) => Ok(name),
                _ => Err(Failure::transient("the shared capture has ended")),
            },
        }
    }

    /// Opens it on a task of its own, since whoever waits may give up and come again.
    fn opening(&self, name: String) -> AbortOnDropHandle<Result<Apart, Failure>> {
        let (shared, ties, tenant) = (Arc::clone(&self.shared), Arc::clone(&self.ties), self.name.clone());
        let (tables, observer) = (self.tables.clone(), Arc::clone(&self.observer));
        AbortOnDropHandle::new(tokio::spawn(async move {
            let request =
                OpenRequest { tables: &tables, known: true, since: None, on_lost: OnLostSlot::Refuse, observer };
            match shared.source().on_copy(&name)?.open(&request).await {
                Ok(stream) => {
                    let lost = stream.lost();
                    let _lost = AbortOnDropHandle::new(tokio::spawn(async move {
                        ties.end(Ended::Lost(lost.await.chain()));
                    }));
                    Ok(Apart { stream, joining: None, join_due: Instant::now(), _lost })
                }
                Err(failure) if failure.class == FailureClass::Fatal => {
                    // It is gone, or good for nothing: the next opening begins without it.
                    shared.tell(Command::CopyLost { tenant });
                    Err(Failure::restart(format!("the copy {name} of the slot cannot be read")).with_source(failure))
                }
                Err(failure) => Err(failure),
            }
        }))
    }

    fn lost(&self) -> Lost {
        let mut ended = self.ties.ended.subscribe();
        Box::pin(async move {
            let gone = |ended: &Option<Ended>| matches!(ended, Some(Ended::Lost(_) | Ended::Parked(_)));
            match ended.wait_for(gone).await.map(|ended| ended.clone()) {
                Ok(Some(ended)) => failure(ended),
                _ => Failure::transient("the shared capture has ended"),
            }
        })
    }

    fn leave(&mut self, done: Option<oneshot::Sender<()>>) {
        self.left = true;
        self.shared.tell(Command::Left { tenant: self.name.clone(), number: self.ties.number, done });
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        if !self.left {
            self.leave(None);
        }
    }
}

impl TenantStream {
    /// The stream of a pipeline that was let in.
    ///
    /// # Errors
    ///
    /// `Transient` when the source cannot be asked, or the copy is not free yet; `Restart` when it was parked meanwhile.
    pub async fn open(
        name: String,
        shared: Arc<SharedCapture>,
        request: &OpenRequest<'_>,
        joined: Joined,
        denied: Lost,
    ) -> Result<Self, Failure> {
        let (tables, observer) = (request.tables.to_vec(), Arc::clone(&request.observer));
        let ties = match &joined {
            Joined::Here { ties, .. } | Joined::Apart { ties, .. } => Arc::clone(ties),
        };
        let at = ties.confirmed();
        let presence = Presence { name, shared, tables, observer, ties, left: false };
        let (from, start) = match joined {
            Joined::Here { queue, start, look_again: false, .. } => (From::Queue(queue), start),
            Joined::Here { queue, start, .. } => {
                let now = presence.shared.source().stand(&presence.tables).await?;
                if now.identity != start.identity {
                    return Err(Failure::transient("the source is another than the one whose stream was joined"));
                }
                (From::Queue(queue), StreamStart { confirmed: start.confirmed, created: start.created, ..now })
            }
            Joined::Apart { slot, .. } => {
                let name = presence.copy_made().await?;
                let opened = presence.opening(name).await;
                let apart = opened.map_err(|error| Failure::transient("opening was cut off").with_source(error))??;
                let mut start = apart.stream.start().clone();
                start.identity.slot = slot;
                (From::Copy(apart), start)
            }
        };
        let idle_due = Instant::now();
        Ok(Self { presence, start, from, at, inside: false, idle_due, left: None, denied })
    }

    /// The next event of the queue, or how far the others are when there is none for a while.
    async fn next_queued(&mut self) -> Result<Option<CaptureEvent>, Failure> {
        let From::Queue(queue) = &mut self.from else { return Ok(None) };
        let every = self.presence.shared.idle_every();
        let queued = tokio::select! {
            biased;
            queued = queue.recv() => queued,
            () = tokio::time::sleep_until(self.idle_due) => {
                self.idle_due = Instant::now() + every;
                // In this order: what concerns us and was passed is in the queue by then.
                let passed = self.presence.ties.passed();
                match queue.try_recv() {
                    Some(queued) => Some(queued),
                    // Cut off or ended, it was not given what was passed since.
                    None if self.presence.ties.ended.borrow().is_some() => None,
                    None if self.inside || passed <= self.at => return Ok(None),
                    None => {
                        self.at = passed;
                        self.presence.ties.told.store(passed.bytes(), Ordering::Release);
                        return Ok(Some(CaptureEvent::Idle { position: passed }));
                    }
                }
            }
        };
        if let Some(queued) = queued {
            match &queued.event {
                CaptureEvent::Change(_) => self.inside = true,
                CaptureEvent::End { position, .. } | CaptureEvent::Idle { position } => {
                    self.inside = false;
                    self.at = self.at.max(*position);
                }
                CaptureEvent::Marker { .. } | CaptureEvent::Catalog { .. } => {}
            }
            return Ok(Some(queued.event));
        }
        // What is in the middle comes again, whole.
        self.inside = false;
        let ended = self.presence.ties.ended.borrow().clone();
        match ended {
            Some(Ended::Cut) => {
                self.from = From::Waiting;
                Ok(None)
            }
            Some(ended) => Err(failure(ended)),
            None => Err(Failure::transient("the shared stream has ended")),
        }
    }

    /// The next event of the copy that is new.
    async fn next_apart(&mut self) -> Result<Option<CaptureEvent>, Failure> {
        let From::Copy(apart) = &mut self.from else { return Ok(None) };
        let behind = self.presence.ties.passed().bytes().saturating_sub(self.at.bytes());
        if apart.joining.is_none()
            && !self.inside
            && behind <= self.presence.shared.options().join_within
            && apart.join_due <= Instant::now()
        {
            apart.join_due = Instant::now() + JOIN_AGAIN_AFTER;
            let token = rand::random();
            let (reply, queue) = oneshot::channel();
            self.presence.shared.tell(Command::Attach {
                tenant: self.presence.name.clone(),
                number: self.presence.ties.number,
                token,
                queue: reply,
            });
            if let Ok(queue) = queue.await {
                let source = Arc::clone(self.presence.shared.source());
                let marking = AbortOnDropHandle::new(tokio::spawn(async move {
                    if let Err(failure) = source.mark(token).await {
                        tracing::debug!("no marker to join at: {}", failure.chain());
                    }
                }));
                apart.joining = Some(Joining { token, queue, _marking: marking });
            }
        }
        let event = tokio::select! {
            biased;
            () = tokio::time::sleep_until(apart.join_due), if apart.joining.is_none() => return Ok(None),
            event = apart.stream.next() => event?,
        };
        match &event {
            CaptureEvent::Marker { token, position } => {
                if let Some(joining) = apart.joining.take_if(|joining| joining.token == *token) {
                    let From::Copy(apart) = std::mem::replace(&mut self.from, From::Queue(joining.queue)) else {
                        return Ok(None);
                    };
                    self.left = Some((apart, *position));
                    self.at = self.at.max(*position);
                    self.inside = false;
                    return Ok(None);
                }
                if *position < self.at {
                    return Ok(None);
                }
            }
            // A transaction whose commit begins before that ended before it.
            CaptureEvent::Change(change) if change.position < self.at => return Ok(None),
            CaptureEvent::Change(_) => self.inside = true,
            CaptureEvent::End { position, .. } | CaptureEvent::Idle { position } => {
                self.inside = false;
                if *position <= self.at {
                    return Ok(None);
                }
                self.at = *position;
            }
            CaptureEvent::Catalog { .. } => {}
        }
        Ok(Some(event))
    }

    /// Lets go of the copy that was left, once what was read there is confirmed.
    async fn let_go(&mut self) {
        if let Some((_, until)) = &self.left
            && self.presence.ties.confirmed() >= *until
            && let Some((apart, _)) = self.left.take()
        {
            drop(apart);
            self.presence
                .shared
                .tell(Command::Merged { tenant: self.presence.name.clone(), number: self.presence.ties.number });
        }
    }
}

#[async_trait]
impl ChangeStream for TenantStream {
    fn start(&self) -> &StreamStart {
        &self.start
    }

    async fn next(&mut self) -> Result<CaptureEvent, Failure> {
        loop {
            if let Some(failure) = (&mut self.denied).now_or_never() {
                return Err(failure);
            }
            self.let_go().await;
            let event = match &mut self.from {
                From::Queue(_) => self.next_queued().await?,
                From::Waiting => {
                    // The copy that was left serves again where it is still there.
                    self.left = None;
                    let name = self.presence.copy_made().await?;
                    self.from = From::Opening(self.presence.opening(name));
                    None
                }
                From::Opening(opening) => {
                    let opened = opening.await;
                    let opened =
                        opened.map_err(|error| Failure::transient("opening was cut off").with_source(error))?;
                    self.from = From::Copy(opened?);
                    None
                }
                From::Copy(_) => self.next_apart().await?,
            };
            if let Some(event) = event {
                return Ok(event);
            }
        }
    }

    fn lost(&self) -> Lost {
        self.presence.lost()
    }

    fn confirm(&self, position: Position) {
        self.presence.ties.confirmed.fetch_max(position.bytes(), Ordering::AcqRel);
        if let From::Copy(apart) = &self.from {
            apart.stream.confirm(position);
        }
        if let Some((apart, until)) = &self.left {
            apart.stream.confirm(position.min(*until));
        }
    }

    async fn close(mut self: Box<Self>) {
        if let From::Copy(apart) = std::mem::replace(&mut self.from, From::Waiting) {
            apart.stream.close().await;
        }
        if let Some((apart, _)) = self.left.take() {
            apart.stream.close().await;
        }
        let (done, heard) = oneshot::channel();
        self.presence.leave(Some(done));
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, heard).await;
    }
}

fn failure(ended: Ended) -> Failure {
    match ended {
        Ended::Lost(why) => Failure::transient(why),
        Ended::Parked(why) => Failure::restart(format!("the pipeline was parked: {why}")),
        Ended::Cut => Failure::transient("the pipeline was cut off from the shared stream"),
    }
}
