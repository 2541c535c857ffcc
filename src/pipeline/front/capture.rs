//! Capture: keeps the stream open, publishes what comes, and sends confirmed positions back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::dispatch::Published;
use super::queue::QueueSender;
use crate::edges::{
    CaptureEvent, CapturedTable, Catalog, ChangeCapture, ChangeStream, Failure, FailureClass, Observer, OnLostSlot,
    OpenRequest, Since, StreamStart, Waiting,
};
use crate::model::Position;
use crate::pipeline::backoff::Backoff;
use crate::pipeline::policy::FlowLimits;

/// Hears when markers come back that were written into the source's log.
#[derive(Clone, Debug, Default)]
pub struct Markers {
    waiting: Arc<Mutex<HashMap<u64, mpsc::UnboundedSender<Position>>>>,
}

impl Markers {
    /// Writes a marker and waits until it was published. Another one is written every `every`, since a connection that was lost may
    /// have taken the first with it; whichever comes first is the answer, so a long backlog only makes this wait.
    ///
    /// # Errors
    ///
    /// As the source has them when it cannot be written to.
    pub async fn round_trip(&self, source: &dyn ChangeCapture, every: Duration) -> Result<Position, Failure> {
        let (seen, mut positions) = mpsc::unbounded_channel();
        let mut asked = Asked { markers: self, tokens: Vec::new() };
        loop {
            let token = rand::random();
            // Registered first: it may come back before the answer to having written it.
            self.lock().insert(token, seen.clone());
            asked.tokens.push(token);
            source.mark(token).await?;
            if let Ok(Some(position)) = tokio::time::timeout(every, positions.recv()).await {
                return Ok(position);
            }
        }
    }

    fn seen(&self, token: u64, position: Position) {
        if let Some(waiting) = self.lock().remove(&token) {
            // Whoever asked may have given up.
            let _ = waiting.send(position);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, mpsc::UnboundedSender<Position>>> {
        self.waiting.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Takes markers off the list when nobody waits for them any more.
struct Asked<'a> {
    markers: &'a Markers,
    tokens: Vec<u64>,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        let mut waiting = self.markers.lock();
        self.tokens.iter().for_each(|token| {
            waiting.remove(token);
        });
    }
}

/// Opens the stream, again and again while the world is in the way.
pub async fn open(
    capture: &dyn ChangeCapture,
    request: &OpenRequest<'_>,
    limits: &FlowLimits,
    stop: &CancellationToken,
) -> Result<Box<dyn ChangeStream>, Failure> {
    let observer = &request.observer;
    let mut backoff = Backoff::new(limits);
    loop {
        let opened = tokio::select! {
            () = stop.cancelled() => return Err(Failure::transient("stopped before the stream of changes was open")),
            opened = capture.open(request) => opened,
        };
        match opened {
            Ok(stream) => {
                observer.on_waiting(None);
                return Ok(stream);
            }
            Err(failure) if failure.class == FailureClass::Transient => {
                let waiting = failure.waiting().unwrap_or(Waiting::Source);
                observer.on_waiting(Some(waiting));
                if waiting == Waiting::SlotInUse {
                    backoff.at_most(limits.slot_in_use_wait);
                }
                observer.on_retry("capture.open", failure.message());
                observer.on_error(&failure);
                if !backoff.wait(stop).await {
                    return Err(failure);
                }
            }
            Err(failure) => return Err(failure),
        }
    }
}

/// What capture works with.
pub struct Capture {
    /// The source.
    pub source: Arc<dyn ChangeCapture>,
    /// The tables to open it with.
    pub tables: Vec<CapturedTable>,
    /// Where events go.
    pub queue: QueueSender,
    /// What to do when it does not hold what it should.
    pub on_lost: OnLostSlot,
    /// What was published.
    pub published: Arc<Published>,
    /// What to confirm; when its other end is gone, everything is said.
    pub confirmed: watch::Receiver<Position>,
    /// Who waits for markers.
    pub markers: Markers,
    /// Told of what happens.
    pub observer: Arc<dyn Observer>,
    /// Its limits.
    pub limits: FlowLimits,
    /// No more changes are wanted; those that were captured are drained.
    pub stop: CancellationToken,
}

impl Capture {
    /// Runs until it is stopped, then holds the stream until the last position was confirmed.
    pub async fn run(mut self, mut stream: Box<dyn ChangeStream>) -> Result<(), Failure> {
        let start = stream.start().clone();
        let mut catalog = start.catalog.clone();
        let mut confirmed = start.confirmed;
        let mut next_xid = 0;
        // What a new stream says first.
        let mut first = None;
        loop {
            let follows = self.follow(&mut *stream, first.take(), &mut confirmed, &mut catalog, &mut next_xid);
            let lost = match follows.await? {
                Followed::Stopped => break,
                Followed::Lost(failure) => failure,
            };
            self.observer.on_retry("capture.stream", lost.message());
            self.observer.on_error(&lost);
            drop(stream);
            let request = OpenRequest {
                tables: &self.tables,
                known: true,
                since: Some(Since { source: start.identity.clone(), position: confirmed }),
                on_lost: self.on_lost,
                observer: Arc::clone(&self.observer),
            };
            stream = match open(&*self.source, &request, &self.limits, &self.stop).await {
                Ok(stream) => stream,
                Err(_) if self.stop.is_cancelled() => return Ok(()),
                Err(failure) => return Err(failure),
            };
            goes_on(&start, confirmed, next_xid, stream.start())?;
            let changed = changed(&catalog, &stream.start().catalog);
            first = (!changed.is_empty()).then_some(CaptureEvent::Catalog { tables: changed });
        }
        drop(self.queue);
        // The rest of the flow drains; its end closes the channel.
        let mut gone = stream.lost();
        loop {
            tokio::select! {
                biased;
                changed = self.confirmed.changed() => match changed {
                    Ok(()) => stream.confirm(*self.confirmed.borrow_and_update()),
                    Err(_) => break,
                },
                // What is not confirmed comes again. If somebody ended that session alone, work is done twice.
                _ = &mut gone => return Ok(()),
            }
        }
        stream.close().await;
        Ok(())
    }

    async fn follow(
        &mut self,
        stream: &mut dyn ChangeStream,
        mut first: Option<CaptureEvent>,
        confirmed: &mut Position,
        catalog: &mut Catalog,
        next_xid: &mut u64,
    ) -> Result<Followed, Failure> {
        enum Next {
            Confirm,
            Event(Result<CaptureEvent, Failure>),
        }
        let mut gone = stream.lost();
        loop {
            // Dropping `next` loses nothing, so the other branches may win at any time.
            let next = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Ok(Followed::Stopped),
                Ok(()) = self.confirmed.changed() => Next::Confirm,
                failure = &mut gone => return lost(failure),
                event = next(&mut *stream, &mut first) => Next::Event(event),
            };
            let event = match next {
                Next::Confirm => {
                    *confirmed = *self.confirmed.borrow_and_update();
                    stream.confirm(*confirmed);
                    continue;
                }
                Next::Event(Ok(event)) => event,
                Next::Event(Err(failure)) => return lost(failure),
            };
            match &event {
                CaptureEvent::Change(change) => {
                    self.published.raise(change.position);
                    self.observer.on_captured(1, change.bytes());
                }
                CaptureEvent::End { position, next_xid: seen, .. } => {
                    self.published.raise_before(*position);
                    *next_xid = (*next_xid).max(*seen);
                }
                CaptureEvent::Marker { token, position } => {
                    self.published.raise(*position);
                    self.markers.seen(*token, *position);
                    continue;
                }
                CaptureEvent::Catalog { .. } | CaptureEvent::Idle { .. } => {}
            }
            // Known when it is in the queue: a stream that is opened again must find the difference otherwise.
            let defined = if let CaptureEvent::Catalog { tables } = &event { tables.clone() } else { Catalog::new() };
            // A full queue is back-pressure; confirmed positions still go back meanwhile.
            let send = self.queue.send(event);
            tokio::pin!(send);
            loop {
                tokio::select! {
                    biased;
                    sent = &mut send => {
                        if !sent {
                            return Ok(Followed::Stopped);
                        }
                        catalog.extend(defined);
                        break;
                    }
                    // What is not sent is not in the queue and comes again.
                    () = self.stop.cancelled() => return Ok(Followed::Stopped),
                    Ok(()) = self.confirmed.changed() => {
                        *confirmed = *self.confirmed.borrow_and_update();
                        stream.confirm(*confirmed);
                    }
                    failure = &mut gone => return lost(failure),
                }
            }
        }
    }
}

/// The event that stands in front of the stream, then those of the stream.
async fn next(stream: &mut dyn ChangeStream, first: &mut Option<CaptureEvent>) -> Result<CaptureEvent, Failure> {
    match first.take() {
        Some(event) => Ok(event),
        None => stream.next().await,
    }
}

enum Followed {
    Stopped,
    Lost(Failure),
}

fn lost(failure: Failure) -> Result<Followed, Failure> {
    match failure.class {
        FailureClass::Transient => Ok(Followed::Lost(failure)),
        _ => Err(failure),
    }
}

/// The tables whose fingerprint is another now.
fn changed(before: &Catalog, now: &Catalog) -> Catalog {
    now.iter()
        .filter(|(table, fingerprint)| before.get(*table) != Some(fingerprint))
        .map(|(table, fingerprint)| (table.clone(), fingerprint.clone()))
        .collect()
}

/// A stream that was opened again must go on where the last one was; otherwise only the comparison at a start knows what
/// follows.
fn goes_on(before: &StreamStart, confirmed: Position, next_xid: u64, now: &StreamStart) -> Result<(), Failure> {
    let (was, is) = (&before.identity, &now.identity);
    if was.slot == is.slot && now.goes_on(before, confirmed) && now.next_xid >= next_xid {
        return Ok(());
    }
    Err(Failure::restart(format!(
        "the source is not where it was: slot {} of database {} (system {}, timeline {}) was confirmed to {confirmed} and \
         now says {} (system {}, timeline {}, log to {}{}{})",
        was.slot,
        was.database,
        was.system_identifier,
        was.timeline,
        now.confirmed,
        is.system_identifier,
        is.timeline,
        now.flushed,
        if now.created { ", slot made anew" } else { "" },
        if now.lost_commits(before) { ", recovered from a crash that may have lost commits" } else { "" },
    )))
}
