//! The queue between capture and batch: bounded by count and by bytes; waiting is the back-pressure.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::edges::{CaptureEvent, Observer};

/// A queue of at most `events_max` events and about `bytes_max` bytes.
pub fn bounded(events_max: usize, bytes_max: usize, observer: Arc<dyn Observer>) -> (QueueSender, QueueReceiver) {
    let (sender, receiver) = mpsc::channel(events_max.max(1));
    // A semaphore counts to usize::MAX >> 3, and permits are asked for in u32.
    let bytes_max = bytes_max.clamp(1, u32::MAX as usize);
    let depth = Arc::new(Depth { events: AtomicUsize::new(0), bytes: AtomicUsize::new(0), observer });
    let bytes = Arc::new(Semaphore::new(bytes_max));
    (QueueSender { sender, bytes, bytes_max, depth: Arc::clone(&depth) }, QueueReceiver { receiver, depth })
}

#[derive(Debug)]
struct Depth {
    events: AtomicUsize,
    bytes: AtomicUsize,
    observer: Arc<dyn Observer>,
}

impl Depth {
    fn tell(&self) {
        self.observer.on_queue(self.events.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed));
    }
}

/// One queued event.
#[derive(Debug)]
pub struct Queued {
    /// The event.
    pub event: CaptureEvent,
    /// What it holds in memory.
    pub bytes: usize,
    /// Its share of the bound, free again when this is dropped.
    pub room: OwnedSemaphorePermit,
}

/// The end that capture holds.
#[derive(Debug)]
pub struct QueueSender {
    sender: mpsc::Sender<Queued>,
    bytes: Arc<Semaphore>,
    bytes_max: usize,
    depth: Arc<Depth>,
}

impl QueueSender {
    /// Waits for room and puts the event at the end; gives nothing back: `false` when the other end is gone.
    pub async fn send(&self, event: CaptureEvent) -> bool {
        let bytes = match &event {
            CaptureEvent::Change(change) => change.bytes(),
            _ => size_of::<CaptureEvent>(),
        };
        // An event larger than the whole bound is let in alone.
        let permits = bytes.min(self.bytes_max) as u32;
        let Ok(room) = Arc::clone(&self.bytes).acquire_many_owned(permits).await else {
            return false;
        };
        let Ok(place) = self.sender.reserve().await else {
            return false;
        };
        // Counted before it can be taken, so that the depth never falls below zero; and not before it can be put, since whoever waits
        // for that may give up.
        self.depth.events.fetch_add(1, Ordering::Relaxed);
        self.depth.bytes.fetch_add(bytes, Ordering::Relaxed);
        place.send(Queued { event, bytes, room });
        true
    }
}

/// The end that batch holds.
#[derive(Debug)]
pub struct QueueReceiver {
    receiver: mpsc::Receiver<Queued>,
    depth: Arc<Depth>,
}

impl QueueReceiver {
    /// The next event; `None` when capture has ended and all are taken.
    pub async fn recv(&mut self) -> Option<Queued> {
        let queued = self.receiver.recv().await?;
        self.took(&queued);
        Some(queued)
    }

    /// The next event if there is one now.
    pub fn try_recv(&mut self) -> Option<Queued> {
        let queued = self.receiver.try_recv().ok()?;
        self.took(&queued);
        Some(queued)
    }

    /// Tells the observer how full the queue is.
    pub fn tell_depth(&self) {
        self.depth.tell();
    }

    fn took(&self, queued: &Queued) {
        self.depth.events.fetch_sub(1, Ordering::Relaxed);
        self.depth.bytes.fetch_sub(queued.bytes, Ordering::Relaxed);
    }
}
