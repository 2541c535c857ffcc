//! [`Place`]: what the shared capture knows of one pipeline, and [`Ties`]: what its stream knows of the shared one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::commands::Command;
use crate::edges::{CapturedTable, Failure, FailureClass, Observer, OnLostSlot, Since, StreamStart};
use crate::model::Position;
use crate::pipeline::queue::{QueueReceiver, QueueSender};

/// What a pipeline's stream is opened for.
pub(super) struct Want {
    pub tables: Vec<CapturedTable>,
    /// Their changes have been recorded for a while.
    pub quiet: bool,
    pub known: bool,
    pub since: Option<Since>,
    pub on_lost: OnLostSlot,
    pub observer: Arc<dyn Observer>,
    pub reply: oneshot::Sender<Result<Joined, Failure>>,
}

/// Where a pipeline was let in.
pub(super) enum Joined {
    /// Among the others.
    Here {
        queue: QueueReceiver,
        entry: Entry,
        start: StreamStart,
        /// The catalog of `start` is not of exactly these tables, or it is not of now.
        look_again: bool,
    },
    /// On the copy of the slot that its ties name, now or soon.
    Apart { entry: Entry, slot: String },
}

/// That a pipeline has a stream. Its end tells the driver, wherever it ends.
pub(super) struct Entry {
    commands: mpsc::UnboundedSender<Command>,
    tenant: String,
    pub ties: Arc<Ties>,
    left: bool,
}

impl Entry {
    pub fn new(commands: mpsc::UnboundedSender<Command>, tenant: String, ties: Arc<Ties>) -> Self {
        Self { commands, tenant, ties, left: false }
    }

    /// Whose it is.
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// Ends it; `done` hears when what was confirmed is on its way.
    pub fn leave(&mut self, done: Option<oneshot::Sender<()>>) {
        if !std::mem::replace(&mut self.left, true) {
            let (tenant, number) = (self.tenant.clone(), self.ties.number);
            let _ = self.commands.send(Command::Left { tenant, number, done });
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.leave(None);
    }
}

/// Why a pipeline is not among the others any more.
#[derive(Clone, Debug)]
pub(super) enum Ended {
    /// The shared stream ended: everyone opens theirs again.
    Lost(FailureClass, String),
    /// It held up the others, and goes on by itself on a copy of the slot.
    Cut,
    /// It fell so far behind that nothing is kept for it any more.
    Parked(String),
}

impl Ended {
    /// What its flow is told.
    pub fn failure(self) -> Failure {
        match self {
            Ended::Lost(class, why) => Failure::new(class, why),
            Ended::Parked(why) => Failure::restart(format!("the pipeline was parked: {why}")),
            Ended::Cut => Failure::transient("the pipeline was cut off from the shared stream"),
        }
    }
}

/// What one stream of a pipeline and the shared capture tell each other.
#[derive(Debug)]
pub(super) struct Ties {
    /// Tells apart the streams that one pipeline opened.
    pub number: u64,
    /// What the pipeline confirmed.
    pub confirmed: AtomicU64,
    /// How far it was told that nothing concerns it.
    pub told: AtomicU64,
    /// Everything at or before it was put into the queues that it concerns.
    pub passed: Arc<AtomicU64>,
    /// What its tables are may have changed unseen: it is to look.
    pub look: AtomicBool,
    pub ended: watch::Sender<Option<Ended>>,
    /// The name of the copy, once it is made.
    pub copy: watch::Sender<Option<String>>,
}

impl Ties {
    pub fn new(number: u64, confirmed: Position, passed: Arc<AtomicU64>) -> Arc<Self> {
        Arc::new(Self {
            number,
            confirmed: AtomicU64::new(confirmed.bytes()),
            told: AtomicU64::new(0),
            passed,
            look: AtomicBool::new(false),
            ended: watch::Sender::new(None),
            copy: watch::Sender::new(None),
        })
    }

    pub fn confirmed(&self) -> Position {
        Position::new(self.confirmed.load(Ordering::Acquire))
    }

    pub fn passed(&self) -> Position {
        Position::new(self.passed.load(Ordering::Acquire))
    }

    /// It is among the others again.
    pub fn goes_on(&self) {
        self.ended.send_if_modified(|ended| matches!(ended, Some(Ended::Cut)) && ended.take().is_some());
    }

    /// Ends the stream; the first reason counts, but whoever was only cut off may still be lost or parked.
    pub fn end(&self, why: Ended) {
        self.ended.send_if_modified(|ended| {
            let open = matches!(ended, None | Some(Ended::Cut));
            if open {
                *ended = Some(why);
            }
            open
        });
    }
}

/// A copy of the slot that one pipeline reads, or will.
pub(super) struct SlotCopy {
    pub name: String,
    /// One of a few.
    pub _permit: Option<OwnedSemaphorePermit>,
}

/// What the shared capture knows of one pipeline.
pub(super) struct Place {
    pub name: String,
    pub max_lag: u64,
    /// The others wait for it when they begin.
    pub awaited: bool,
    /// What its last stream was opened for.
    pub tables: Vec<CapturedTable>,
    /// Told what the shared stream waits on.
    pub observer: Option<Arc<dyn Observer>>,
    /// A stream that wants to be let in.
    pub want: Option<Want>,
    /// The stream that is open.
    pub ties: Option<Arc<Ties>>,
    /// What it was confirmed to when it was here last; the slot keeps what is behind it. `None` when nothing is kept for it here.
    pub hold: Option<Position>,
    /// While it is among the others.
    pub queue: Option<Arc<QueueSender>>,
    /// What it has already: at or before it nothing is sent.
    pub skip: Position,
    /// What its last stream had confirmed.
    pub left_at: Position,
    /// Since when it is further behind than it may be.
    pub over_since: Option<Instant>,
    /// The position of what was sent last.
    pub sent: Position,
    /// Up to where it had nothing left to do when that was so last: being behind counts from there.
    pub idle_at: Position,
    /// A change of the current transaction was sent.
    pub touched: bool,
    /// While it goes by itself, or not all of what it read there is confirmed.
    pub copy: Option<SlotCopy>,
    /// The last one is being dropped: another has the same name.
    pub dropping: Option<JoinHandle<()>>,
    /// A copy is being made, or waited for.
    pub copying: bool,
    /// Nothing is kept for it until it comes again.
    pub parked: bool,
    /// Joins when this marker comes.
    pub joins_at: Option<(u64, Arc<QueueSender>)>,
}

impl Place {
    pub fn new(name: String, max_lag: u64) -> Self {
        Self {
            name,
            max_lag,
            awaited: true,
            tables: Vec::new(),
            observer: None,
            want: None,
            ties: None,
            hold: None,
            queue: None,
            skip: Position::ZERO,
            left_at: Position::ZERO,
            over_since: None,
            sent: Position::ZERO,
            idle_at: Position::ZERO,
            touched: false,
            copy: None,
            dropping: None,
            copying: false,
            parked: false,
            joins_at: None,
        }
    }

    /// Whether it goes by itself and has nothing to go on.
    pub fn wants_copy(&self) -> bool {
        let behind = self.ties.is_some() || self.hold.is_some();
        behind && self.queue.is_none() && self.copy.is_none() && !self.parked
    }

    /// Up to where nothing need be kept for it; `None` where it holds nothing here.
    pub fn held(&self) -> Option<Position> {
        self.hold.map(|hold| self.ties.as_ref().map_or(hold, |ties| hold.max(ties.confirmed())))
    }

    /// How many bytes it is behind `passed`; `None` where nothing is kept for it. What it was not given, it is not behind with.
    pub fn lag(&mut self, passed: Position) -> Option<u64> {
        let confirmed = match (&self.ties, self.hold) {
            (Some(ties), _) => {
                let told = Position::new(ties.told.load(Ordering::Acquire));
                if self.queue.is_some() && self.sent.max(told) <= ties.confirmed() {
                    self.idle_at = passed;
                }
                ties.confirmed()
            }
            (None, Some(hold)) => hold,
            (None, None) if self.copy.is_some() => self.left_at,
            (None, None) => return None,
        };
        Some(passed.bytes().saturating_sub(confirmed.max(self.idle_at).bytes()))
    }

    /// Takes it out of the others' stream.
    pub fn take_out(&mut self, why: Ended) {
        self.queue = None;
        self.joins_at = None;
        if let Some(ties) = &self.ties {
            ties.end(why);
        }
    }
}
