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

use super::apart::{Apart, Presence};
use super::place::{Ended, Joined};
use crate::edges::{CaptureEvent, Catalog, ChangeStream, Failure, Lost, OpenRequest, StreamStart};
use crate::model::Position;
use crate::pipeline::queue::QueueReceiver;

/// How long `close` waits until what was confirmed is on its way.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);
/// How soon after a try to join the others another one is made; it doubles while the pipeline is soon cut off again.
const JOIN_AGAIN_FIRST: Duration = Duration::from_secs(1);
const JOIN_AGAIN_LONGEST: Duration = Duration::from_secs(60);
/// Among the others for that long, it keeps up.
const KEEPS_UP_AFTER: Duration = Duration::from_secs(30);
/// How often it is looked how far a pipeline on a copy is behind the others, when its copy brings nothing.
const LOOK_BEHIND_EVERY: Duration = Duration::from_millis(200);
/// How soon after a look at the catalog that failed another one is made.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(5);

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
    /// What it told of the definitions of its tables.
    known: Catalog,
    look_due: Option<Instant>,
    /// The copy that it left, until all that was read there is confirmed.
    left: Option<(Apart, Position)>,
    joined: Instant,
    join_pause: Duration,
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

impl TenantStream {
    /// The stream of a pipeline that was let in.
    ///
    /// # Errors
    ///
    /// `Transient` when the source cannot be asked, or the copy is not free yet; `Restart` when it was parked meanwhile.
    pub async fn open(
        shared: Arc<super::SharedCapture>,
        request: &OpenRequest<'_>,
        joined: Joined,
        denied: Lost,
    ) -> Result<Self, Failure> {
        let (from, start, presence) = match joined {
            Joined::Here { queue, entry, start, look_again } => {
                let presence = Presence::new(shared, request, entry);
                let start = match look_again {
                    false => start,
                    true => {
                        let now = presence.shared.source().stand(&presence.tables).await?;
                        if now.identity != start.identity {
                            let found = "the source is another than the one whose stream was joined";
                            return Err(Failure::transient(found));
                        }
                        StreamStart { confirmed: start.confirmed, created: start.created, ..now }
                    }
                };
                (From::Queue(queue), start, presence)
            }
            Joined::Apart { entry, slot } => {
                let presence = Presence::new(shared, request, entry);
                let name = presence.copy_made().await?;
                let opened = presence.opening(name, None).await;
                let apart = opened.map_err(|error| Failure::transient("opening was cut off").with_source(error))??;
                let mut start = apart.stream.start().clone();
                start.identity.slot = slot;
                (From::Copy(apart), start, presence)
            }
        };
        let now = Instant::now();
        Ok(Self {
            at: presence.entry.ties.confirmed(),
            presence,
            known: start.catalog.clone(),
            start,
            from,
            inside: false,
            idle_due: now,
            look_due: None,
            left: None,
            joined: now,
            join_pause: JOIN_AGAIN_FIRST,
            denied,
        })
    }

    /// The next event of the queue, or how far the others are when there is none for a while.
    async fn next_queued(&mut self) -> Result<Option<CaptureEvent>, Failure> {
        let From::Queue(queue) = &mut self.from else { return Ok(None) };
        let ties = &self.presence.entry.ties;
        let every = self.presence.shared.idle_every();
        let queued = tokio::select! {
            biased;
            queued = queue.recv() => queued,
            () = tokio::time::sleep_until(self.idle_due) => {
                self.idle_due = Instant::now() + every;
                // In this order: what concerns us and was passed is in the queue by then.
                let passed = ties.passed();
                match queue.try_recv() {
                    Some(queued) => Some(queued),
                    // Cut off, it is not given what is passed since.
                    None if ties.ended.borrow().is_some() || self.inside || passed <= self.at => return Ok(None),
                    None => {
                        self.at = passed;
                        ties.told.store(passed.bytes(), Ordering::Release);
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
                CaptureEvent::Catalog { tables } => self.known.extend(tables.clone()),
                CaptureEvent::Marker { .. } => {}
            }
            return Ok(Some(queued.event));
        }
        // What is in the middle comes again, whole.
        self.inside = false;
        let ended = ties.ended.borrow().clone();
        match ended {
            Some(Ended::Cut) => {
                self.join_pause = match self.joined.elapsed() < KEEPS_UP_AFTER {
                    true => (self.join_pause * 2).min(JOIN_AGAIN_LONGEST),
                    false => JOIN_AGAIN_FIRST,
                };
                self.from = From::Waiting;
                Ok(None)
            }
            Some(ended) => Err(ended.failure()),
            None => Err(Failure::transient("the shared stream has ended")),
        }
    }

    /// The next event of the copy that is new.
    async fn next_apart(&mut self) -> Result<Option<CaptureEvent>, Failure> {
        let From::Copy(apart) = &mut self.from else { return Ok(None) };
        let behind = self.presence.entry.ties.passed().bytes().saturating_sub(self.at.bytes());
        if !self.inside && behind <= self.presence.shared.options().join_within {
            apart.try_to_join(&self.presence, self.join_pause).await;
        }
        let again = apart.join_due.max(Instant::now() + LOOK_BEHIND_EVERY);
        let event = tokio::select! {
            biased;
            () = tokio::time::sleep_until(again) => return Ok(None),
            event = apart.stream.next() => event?,
        };
        match &event {
            CaptureEvent::Marker { token, position } => {
                if let Some(queue) = apart.joins_at(*token) {
                    let From::Copy(apart) = std::mem::replace(&mut self.from, From::Queue(queue)) else {
                        return Ok(None);
                    };
                    self.left = Some((apart, *position));
                    self.at = self.at.max(*position);
                    (self.inside, self.joined) = (false, Instant::now());
                    // The shared stream told its changes of definitions to those who were there.
                    self.look_due = Some(Instant::now());
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
            CaptureEvent::Catalog { tables } => self.known.extend(tables.clone()),
        }
        Ok(Some(event))
    }

    /// Whether tables are defined in another way now than was told: between two streams neither of them says so.
    async fn look(&mut self) -> Option<CaptureEvent> {
        let ties = &self.presence.entry.ties;
        if ties.look.load(Ordering::Relaxed) && ties.look.swap(false, Ordering::AcqRel) {
            self.look_due = Some(Instant::now());
        }
        if self.look_due.is_none_or(|due| due > Instant::now()) {
            return None;
        }
        match self.presence.shared.source().stand(&self.presence.tables).await {
            Ok(now) => {
                self.look_due = None;
                self.redefined(&now.catalog)
            }
            Err(failure) => {
                tracing::debug!("the definitions of tables could not be read: {}", failure.chain());
                self.look_due = Some(Instant::now() + LOOK_AGAIN_AFTER);
                None
            }
        }
    }

    fn redefined(&mut self, now: &Catalog) -> Option<CaptureEvent> {
        let differs = now.iter().filter(|(table, sign)| self.known.get(*table) != Some(sign));
        let tables: Catalog = differs.map(|(table, sign)| (table.clone(), sign.clone())).collect();
        self.known.extend(tables.clone());
        (!tables.is_empty()).then_some(CaptureEvent::Catalog { tables })
    }

    /// Lets go of the copy that was left, once what was read there is confirmed.
    fn let_go(&mut self) {
        let confirmed = self.presence.entry.ties.confirmed();
        if self.left.take_if(|(_, until)| confirmed >= *until).is_some() {
            self.presence.merged();
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
            self.let_go();
            if let Some(event) = self.look().await {
                return Ok(event);
            }
            let event = match &mut self.from {
                From::Queue(_) => self.next_queued().await?,
                From::Waiting => {
                    // The copy that was left serves again where it is still there.
                    self.left = None;
                    let name = self.presence.copy_made().await?;
                    self.from = From::Opening(self.presence.opening(name, Some(&self.start)));
                    None
                }
                From::Opening(opening) => {
                    let opened = opening.await;
                    let opened =
                        opened.map_err(|error| Failure::transient("opening was cut off").with_source(error))?;
                    let mut apart = opened?;
                    apart.join_due = Instant::now() + self.join_pause;
                    let catalog = apart.stream.start().catalog.clone();
                    self.from = From::Copy(apart);
                    self.redefined(&catalog)
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
        self.presence.entry.ties.confirmed.fetch_max(position.bytes(), Ordering::AcqRel);
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
        self.presence.entry.leave(Some(done));
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, heard).await;
    }
}
