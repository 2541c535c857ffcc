//! The driver: the one task that holds the shared stream. It waits until the pipelines are there, opens, and lets in who comes
//! later; what it does with each event is in `pump`.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use super::options::SharingOptions;
use super::place::{Ended, Joined, Place, SlotCopy, Ties, Want};
use crate::edges::{
    CapturedTable, ChangeStream, Failure, FailureClass, Observer, OnLostSlot, OpenRequest, SharedSource, Silent, Since,
    StreamStart, Waiting,
};
use crate::model::{Columns, Position, TableName};
use crate::pipeline::queue::{self, QueueReceiver};

/// Markers whose pipeline is known; of more, the oldest are forgotten, and written again by whoever waits for them.
const MARKERS_MAX: usize = 10_000;
/// How often a stream is tried to be opened again for those who came later, before everyone opens anew.
const REOPEN_TRIES: usize = 20;
const REOPEN_PAUSE: Duration = Duration::from_millis(100);

/// What pipelines tell the driver, and what it tells itself.
pub(super) enum Command {
    /// There is a pipeline of that name.
    Expect { tenant: String, max_lag: u64 },
    /// It is not coming soon.
    Away { tenant: String },
    /// There is none any more.
    Remove { tenant: String },
    /// It wants a stream.
    Join { tenant: String, want: Want },
    /// Its stream is gone; `done` hears when what it confirmed is on its way.
    Left { tenant: String, number: u64, done: Option<oneshot::Sender<()>> },
    /// It has almost caught up on its copy, and changes over at this marker.
    Attach { tenant: String, number: u64, token: u64, queue: oneshot::Sender<QueueReceiver> },
    /// It changed over, and everything that it read on its copy is confirmed.
    Merged { tenant: String, number: u64 },
    /// Its copy is not what it should be.
    CopyLost { tenant: String },
    /// A marker is its.
    Marks { tenant: String, token: u64 },
    /// A copy was made for it, or not.
    Copied { tenant: String, result: Result<OwnedSemaphorePermit, Failure> },
    /// Another try to make one.
    CopyAgain { tenant: String },
}

/// See the module.
pub(super) struct Driver {
    pub source: Arc<dyn SharedSource>,
    pub options: SharingOptions,
    commands: mpsc::UnboundedSender<Command>,
    pub received: mpsc::UnboundedReceiver<Command>,
    pub places: Vec<Place>,
    removed: Vec<String>,
    /// Somebody came, or went.
    pub attention: bool,
    /// Whom the current transaction concerns.
    pub touched: Vec<usize>,
    /// What the stream that is open is of.
    pub start: Option<StreamStart>,
    pub captured: Vec<CapturedTable>,
    /// Who is among the others and captures a table.
    pub targets: HashMap<TableName, Arc<[usize]>>,
    pub markers: VecDeque<(u64, String)>,
    /// Everything at or before it was put into the queues that it concerns.
    pub passed: Arc<AtomicU64>,
    /// In the middle of a transaction.
    pub inside: bool,
    /// What was confirmed to the source last.
    pub confirmed: Position,
    pub leaving: Vec<oneshot::Sender<()>>,
    everyone: Arc<Everyone>,
    reopened: Instant,
    numbers: u64,
    copies: Arc<Semaphore>,
    /// Openings that failed one after the other in a way that a person must act on.
    refused: usize,
}

impl Driver {
    pub fn new(
        source: Arc<dyn SharedSource>,
        options: SharingOptions,
        commands: mpsc::UnboundedSender<Command>,
        received: mpsc::UnboundedReceiver<Command>,
    ) -> Self {
        let copies = Arc::new(Semaphore::new(options.copies_max.max(1)));
        Self {
            source,
            options,
            commands,
            received,
            places: Vec::new(),
            removed: Vec::new(),
            attention: true,
            touched: Vec::new(),
            start: None,
            captured: Vec::new(),
            targets: HashMap::new(),
            markers: VecDeque::new(),
            passed: Arc::default(),
            inside: false,
            confirmed: Position::ZERO,
            leaving: Vec::new(),
            everyone: Arc::default(),
            reopened: Instant::now(),
            numbers: 0,
            copies,
            refused: 0,
        }
    }

    /// Runs until nobody can ask for anything any more.
    pub async fn run(mut self) {
        while self.gather().await {
            match self.open().await {
                Ok(stream) => self.pump(stream).await,
                Err(failure) => self.refuse(failure).await,
            }
            self.answer_leaving();
        }
    }

    /// Waits until somebody wants a stream, and for those who are expected to want one, too.
    async fn gather(&mut self) -> bool {
        let mut until = None;
        loop {
            self.remove_places();
            if self.places.iter().any(|place| place.want.is_some()) {
                let until = *until.get_or_insert_with(|| Instant::now() + self.options.gather_for);
                let missing = self.places.iter().any(|place| place.awaited && place.want.is_none());
                if !missing {
                    return true;
                }
                if Instant::now() >= until {
                    for place in self.places.iter_mut().filter(|place| place.awaited && place.want.is_none()) {
                        tracing::info!(pipeline = %place.name, "the others begin without it");
                        place.awaited = false;
                    }
                    return true;
                }
                for want in self.places.iter().filter_map(|place| place.want.as_ref()) {
                    want.observer.on_waiting(Some(Waiting::Neighbour));
                }
            }
            let command = match until {
                Some(until) => match tokio::time::timeout_at(until, self.received.recv()).await {
                    Ok(command) => command,
                    Err(_) => continue,
                },
                None => self.received.recv().await,
            };
            match command {
                Some(command) => self.handle(command),
                None => return false,
            }
            self.answer_leaving();
        }
    }

    /// Opens the stream of everything that is wanted, and lets in who wants it.
    async fn open(&mut self) -> Result<Box<dyn ChangeStream>, Failure> {
        let stream = self.open_stream().await?;
        self.refused = 0;
        let start = stream.start().clone();
        self.passed = Arc::new(AtomicU64::new(start.confirmed.bytes()));
        (self.confirmed, self.inside) = (start.confirmed, false);
        self.markers.clear();
        self.clear_touched();
        self.start = Some(start.clone());
        self.reopened = Instant::now();
        self.find_copies().await;
        for place in 0..self.places.len() {
            let (want, found) = (self.places[place].want.take(), &mut self.places[place]);
            // For everyone that is expected, or was here: whoever has everything up to here can still come.
            let kept = found.copy.is_none() && !found.parked;
            found.hold = kept.then_some(start.confirmed);
            let Some(want) = want else { continue };
            let since = since_in(&start, want.since.as_ref());
            match since.filter(|since| *since < start.confirmed) {
                Some(since) if found.copy.is_some() => self.let_in_apart(place, want, since),
                _ => {
                    let skip = since.unwrap_or(start.confirmed).max(start.confirmed);
                    self.drop_copy(place);
                    self.let_in(place, want, start.clone(), skip, false);
                }
            }
        }
        // Of those who come later, it was made for none.
        self.start = Some(StreamStart { created: false, ..start });
        self.aim();
        Ok(stream)
    }

    async fn open_stream(&mut self) -> Result<Box<dyn ChangeStream>, Failure> {
        let here = |place: &&Place| place.want.is_some() || place.queue.is_some();
        let mut captured: BTreeMap<TableName, CapturedTable> = BTreeMap::new();
        let mut known = false;
        let mut on_lost = OnLostSlot::Refuse;
        for place in self.places.iter().filter(here) {
            let tables = place.want.as_ref().map_or(&place.tables, |want| &want.tables);
            tables.iter().for_each(|table| add(&mut captured, table));
            known |= place.want.as_ref().is_none_or(|want| want.known);
            if place.want.as_ref().is_none_or(|want| want.on_lost == OnLostSlot::Rebuild) {
                on_lost = OnLostSlot::Rebuild;
            }
        }
        self.captured = captured.into_values().collect();
        self.tell_observers();
        let observer = Arc::clone(&self.everyone) as Arc<dyn Observer>;
        self.source.open(&OpenRequest { tables: &self.captured, known, since: None, on_lost, observer }).await
    }

    /// Opens the stream again, from where the slot is confirmed, for those who came later; the others skip what they had.
    ///
    /// # Errors
    ///
    /// What everyone is told, when the stream does not go on where it was.
    pub async fn open_again(&mut self) -> Result<Box<dyn ChangeStream>, Failure> {
        self.reopened = Instant::now();
        let mut tries = 0;
        let stream = loop {
            match self.open_stream().await {
                Ok(stream) => break stream,
                // The server may not have seen yet that the last one is closed.
                Err(failure) if failure.class == FailureClass::Transient && tries < REOPEN_TRIES => {
                    tries += 1;
                    tokio::time::sleep(REOPEN_PAUSE).await;
                }
                Err(failure) => return Err(failure),
            }
        };
        let (start, passed) = (stream.start().clone(), self.passed());
        let before = self.start.as_ref();
        let goes_on = before.is_some_and(|before| {
            before.identity == start.identity
                && !start.created
                && (!start.loses_commits || before.crash_sign == start.crash_sign)
                && start.confirmed <= passed.max(self.confirmed)
                && start.flushed >= passed
        });
        if !goes_on {
            return Err(Failure::transient("the source is not where it was when its stream was opened again"));
        }
        self.confirmed = start.confirmed;
        self.clear_touched();
        for place in self.places.iter_mut().filter(|place| place.queue.is_some()) {
            place.skip = place.skip.max(passed);
        }
        for place in 0..self.places.len() {
            let Some(want) = self.places[place].want.take() else { continue };
            let since = since_in(&start, want.since.as_ref()).filter(|since| *since >= start.confirmed);
            // Who misses nothing of what was passed, or everything, begins where the others are.
            let at = since.unwrap_or(passed).max(start.confirmed);
            let begins = StreamStart { confirmed: if since.is_some() { start.confirmed } else { at }, ..start.clone() };
            self.let_in(place, want, begins, at, false);
        }
        self.start = Some(start);
        self.aim();
        Ok(stream)
    }

    /// Lets in those who came later, as far as that is possible now; whether the stream must be opened again for somebody.
    pub fn let_in_late(&mut self) -> bool {
        let mut reopen = false;
        for place in 0..self.places.len() {
            let Some(want) = self.places[place].want.take() else { continue };
            let Some(start) = self.start.clone() else { continue };
            let passed = self.passed();
            let since = since_in(&start, want.since.as_ref());
            let within = since.filter(|since| *since >= self.confirmed);
            let again = match since {
                _ if self.places[place].copy.is_some() && since.is_some_and(|since| since < passed) => {
                    self.let_in_apart(place, want, since.unwrap_or(passed));
                    continue;
                }
                _ if !want.tables.iter().all(|table| self.captured.contains(table)) => true,
                // It misses something that can still be had.
                Some(since) if since < passed && within.is_some() => {
                    if passed.bytes() - self.confirmed.bytes() > self.options.rewind_within {
                        self.let_in_apart(place, want, since);
                        continue;
                    }
                    true
                }
                _ => false,
            };
            if again {
                // What it has is kept until then.
                self.places[place].hold = within.or(self.places[place].hold);
                want.observer.on_waiting(Some(Waiting::Neighbour));
                self.places[place].want = Some(want);
                reopen = true;
                continue;
            }
            self.drop_copy(place);
            self.let_in(place, want, StreamStart { confirmed: passed, created: false, ..start }, passed, true);
        }
        reopen && self.reopened.elapsed() >= self.options.reopen_every
    }

    fn let_in(&mut self, place: usize, want: Want, start: StreamStart, skip: Position, late: bool) {
        let ties = self.ties(skip);
        let (queue_in, queue) = self.queue();
        let exactly = want.tables.iter().all(|table| self.captured.contains(table));
        let found = &mut self.places[place];
        let (hold, wanted) = (found.hold, want.tables.clone());
        let catalog = start.catalog.iter().filter(|(name, _)| wanted.iter().any(|table| table.table == **name));
        let catalog = catalog.map(|(name, sign)| (name.clone(), sign.clone())).collect();
        found.hold = Some(skip);
        let joined = Joined::Here {
            queue,
            ties: Arc::clone(&ties),
            start: StreamStart { catalog, ..start },
            look_again: late || !exactly,
        };
        if want.reply.send(Ok(joined)).is_err() {
            // It gave up meanwhile, and may ask again.
            found.hold = hold;
            return;
        }
        (found.awaited, found.tables, found.observer) = (true, want.tables, Some(want.observer));
        (found.ties, found.queue, found.skip) = (Some(ties), Some(Arc::new(queue_in)), skip);
        (found.sent, found.idle_at) = (skip, skip);
        found.parked = false;
        self.aim();
    }

    fn let_in_apart(&mut self, place: usize, want: Want, since: Position) {
        let ties = self.ties(since);
        let slot = self.start.as_ref().map(|start| start.identity.slot.clone()).unwrap_or_default();
        let found = &mut self.places[place];
        if want.reply.send(Ok(Joined::Apart { ties: Arc::clone(&ties), slot })).is_err() {
            return;
        }
        (found.awaited, found.tables, found.observer) = (true, want.tables, Some(want.observer));
        (found.ties, found.parked) = (Some(Arc::clone(&ties)), false);
        match &found.copy {
            Some(copy) => drop(ties.copy.send_replace(Some(copy.name.clone()))),
            None => {
                found.hold = Some(since);
                self.copy(place);
            }
        }
    }

    /// Makes a copy of the slot for a pipeline, once one of the few is free.
    pub fn copy(&mut self, place: usize) {
        let found = &mut self.places[place];
        if found.copy.is_some() || std::mem::replace(&mut found.copying, true) {
            return;
        }
        let (source, copies, commands) = (Arc::clone(&self.source), Arc::clone(&self.copies), self.commands.clone());
        let (tenant, name) = (found.name.clone(), copy_name(self.start.as_ref(), &found.name));
        let dropping = found.dropping.take();
        tokio::spawn(async move {
            if let Some(dropping) = dropping {
                let _ = dropping.await;
            }
            let result = match copies.acquire_owned().await {
                Ok(permit) => source.copy(&name).await.map(|()| permit),
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
        let source = Arc::clone(&self.source);
        self.places[place].dropping = Some(tokio::spawn(async move {
            if let Err(failure) = source.drop_copy(&copy.name).await {
                tracing::warn!(slot = copy.name, "a copy of the slot is left over: {}", failure.chain());
            }
            drop(copy.permit);
        }));
    }

    /// Finds the copies that an earlier process made, and drops those of nobody.
    async fn find_copies(&mut self) {
        let copies = match self.source.copies().await {
            Ok(copies) => copies,
            Err(failure) => {
                tracing::warn!("copies of the slot could not be looked for: {}", failure.chain());
                return;
            }
        };
        for (name, confirmed) in copies {
            let start = self.start.as_ref();
            let whose = self.places.iter_mut().find(|place| copy_name(start, &place.name) == name);
            match whose {
                Some(place) if place.copy.is_some() || place.copying => {}
                Some(place) => {
                    let permit = Arc::clone(&self.copies).try_acquire_owned().ok();
                    (place.copy, place.left_at) = (Some(SlotCopy { name, permit }), confirmed);
                }
                None => {
                    tracing::info!(slot = name, "a copy of the slot that no pipeline needs is dropped");
                    let source = Arc::clone(&self.source);
                    tokio::spawn(async move { source.drop_copy(&name).await });
                }
            }
        }
    }

    /// Does what it is told. Places stay where they are: those that are removed go when nothing is under way.
    pub fn handle(&mut self, command: Command) {
        self.attention = true;
        match command {
            Command::Expect { tenant, max_lag } => match self.find(&tenant) {
                Some(place) => self.places[place].max_lag = max_lag,
                None => self.places.push(Place::new(tenant, max_lag)),
            },
            Command::Away { tenant } => {
                if let Some(place) = self.find(&tenant) {
                    self.places[place].awaited = false;
                }
            }
            Command::Remove { tenant } => self.removed.push(tenant),
            Command::Join { tenant, want } => {
                if let Some(place) = self.find(&tenant) {
                    let found = &mut self.places[place];
                    (found.awaited, found.want) = (true, Some(want));
                }
            }
            Command::Left { tenant, number, done } => {
                if let Some(place) = self.find(&tenant)
                    && self.places[place].ties.as_ref().is_some_and(|ties| ties.number == number)
                {
                    let found = &mut self.places[place];
                    found.hold = found.held();
                    found.left_at = found.ties.as_ref().map_or(Position::ZERO, |ties| ties.confirmed());
                    (found.ties, found.queue, found.joins_at) = (None, None, None);
                    if found.parked {
                        self.drop_copy(place);
                    }
                    self.aim();
                }
                self.leaving.extend(done);
                if self.places.iter().any(|place| place.ties.is_some()) {
                    self.answer_leaving();
                }
            }
            Command::Attach { tenant, number, token, queue } => {
                if let Some(place) = self.find(&tenant)
                    && self.places[place].ties.as_ref().is_some_and(|ties| ties.number == number)
                {
                    let (queue_in, queue_out) = self.queue();
                    if queue.send(queue_out).is_ok() {
                        self.places[place].joins_at = Some((token, Arc::new(queue_in)));
                    }
                }
            }
            Command::Merged { tenant, number } => {
                if let Some(place) = self.find(&tenant)
                    && self.places[place].ties.as_ref().is_some_and(|ties| ties.number == number)
                    && self.places[place].queue.is_some()
                {
                    self.drop_copy(place);
                }
            }
            Command::CopyLost { tenant } => {
                if let Some(place) = self.find(&tenant) {
                    self.drop_copy(place);
                }
            }
            Command::Marks { tenant, token } => {
                if self.markers.len() >= MARKERS_MAX {
                    self.markers.pop_front();
                }
                self.markers.push_back((token, tenant));
            }
            Command::Copied { tenant, result } => self.copied(&tenant, result),
            Command::CopyAgain { tenant } => {
                if let Some(place) = self.find(&tenant)
                    && self.places[place].wants_copy()
                {
                    self.copy(place);
                }
            }
        }
    }

    fn copied(&mut self, tenant: &str, result: Result<OwnedSemaphorePermit, Failure>) {
        let name = copy_name(self.start.as_ref(), tenant);
        let place = self.find(tenant);
        match (place, result) {
            (Some(place), Ok(permit)) => {
                let found = &mut self.places[place];
                found.copying = false;
                let wanted = found.wants_copy();
                found.copy = Some(SlotCopy { name: name.clone(), permit: Some(permit) });
                if !wanted {
                    // It was parked, or let in otherwise, meanwhile.
                    self.drop_copy(place);
                    return;
                }
                tracing::info!(pipeline = tenant, slot = name, "the pipeline goes on by itself, on a copy of the slot");
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
            (None, Ok(permit)) => {
                let source = Arc::clone(&self.source);
                tokio::spawn(async move {
                    let _ = source.drop_copy(&name).await;
                    drop(permit);
                });
            }
            (None, Err(_)) => {}
        }
    }

    /// Takes out the places of pipelines that do not exist any more.
    pub fn remove_places(&mut self) {
        if self.removed.is_empty() {
            return;
        }
        // Their numbers change.
        self.clear_touched();
        for tenant in std::mem::take(&mut self.removed) {
            let Some(place) = self.find(&tenant) else { continue };
            self.places[place].take_out(Ended::Parked("the pipeline was removed".to_owned()));
            self.drop_copy(place);
            self.places.remove(place);
        }
        self.aim();
    }

    fn clear_touched(&mut self) {
        self.touched.clear();
        self.places.iter_mut().for_each(|place| place.touched = false);
    }

    /// Tells everyone who has a stream that it has ended.
    pub fn lose(&mut self, failure: &Failure) {
        for place in &mut self.places {
            place.hold = place.held();
            place.take_out(Ended::Lost(failure.chain()));
        }
        self.aim();
        self.start = None;
        self.inside = false;
    }

    /// The stream could not be opened. What a person must act on may be one pipeline's alone, whose own look at its tables finds it
    /// when all of them ask again.
    async fn refuse(&mut self, failure: Failure) {
        let fatal = failure.class == FailureClass::Fatal;
        self.refused = if fatal { self.refused + 1 } else { 0 };
        let class = if fatal && self.refused < 2 { FailureClass::Transient } else { failure.class };
        for place in &mut self.places {
            if let Some(want) = place.want.take() {
                let mut told = Failure::new(class, failure.message());
                if let Some(advice) = failure.advice() {
                    told = told.with_advice(advice);
                }
                if let Some(waiting) = failure.waiting() {
                    told = told.waiting_on(waiting);
                }
                if let Some(cause) = std::error::Error::source(&failure) {
                    told = told.with_source(cause.to_string());
                }
                let _ = want.reply.send(Err(told));
            }
        }
    }

    /// Whoever left need wait no longer.
    fn answer_leaving(&mut self) {
        for done in self.leaving.drain(..) {
            let _ = done.send(());
        }
    }

    pub fn find(&self, tenant: &str) -> Option<usize> {
        self.places.iter().position(|place| place.name == tenant)
    }

    pub fn passed(&self) -> Position {
        Position::new(self.passed.load(Ordering::Acquire))
    }

    fn ties(&mut self, confirmed: Position) -> Arc<Ties> {
        self.numbers += 1;
        Ties::new(self.numbers, confirmed, Arc::clone(&self.passed))
    }

    fn queue(&self) -> (queue::QueueSender, QueueReceiver) {
        queue::bounded(self.options.queue_events_max, self.options.queue_bytes_max, Arc::new(Silent))
    }

    /// Who is to be given which table's changes.
    pub fn aim(&mut self) {
        let mut targets: HashMap<TableName, Vec<usize>> = HashMap::new();
        for (number, place) in self.places.iter().enumerate().filter(|(_, place)| place.queue.is_some()) {
            for table in &place.tables {
                targets.entry(table.table.clone()).or_default().push(number);
            }
        }
        self.targets = targets.into_iter().map(|(table, places)| (table, places.into())).collect();
        self.tell_observers();
    }

    fn tell_observers(&self) {
        let observers = self.places.iter().filter_map(|place| {
            place.want.as_ref().map(|want| Arc::clone(&want.observer)).or_else(|| {
                let observer = place.queue.as_ref().and(place.observer.as_ref());
                observer.map(Arc::clone)
            })
        });
        *self.everyone.0.lock().unwrap_or_else(PoisonError::into_inner) = observers.collect();
    }
}

/// Where a destination has everything up to in the log of that source.
fn since_in(start: &StreamStart, since: Option<&Since>) -> Option<Position> {
    since.filter(|since| since.source == start.identity && !start.created).map(|since| since.position)
}

/// The copy of the slot that a pipeline has. The hash keeps it short; two underscores stand in no name of a slot that is ours
/// otherwise.
fn copy_name(start: Option<&StreamStart>, tenant: &str) -> String {
    let slot = start.map_or("", |start| start.identity.slot.as_str());
    // FNV-1a: the same in every process.
    let hash = tenant.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    format!("{slot}__{hash:08x}")
}

fn add(captured: &mut BTreeMap<TableName, CapturedTable>, table: &CapturedTable) {
    let Some(have) = captured.get_mut(&table.table) else {
        captured.insert(table.table.clone(), table.clone());
        return;
    };
    for key in &table.keys {
        if !have.keys.contains(key) {
            have.keys.push(key.clone());
        }
    }
    match (&mut have.columns, &table.columns) {
        (Columns::Listed(have), Columns::Listed(more)) => {
            for column in more {
                if !have.contains(column) {
                    have.push(column.clone());
                }
            }
        }
        (columns, Columns::Any) => *columns = Columns::Any,
        (Columns::Any, Columns::Listed(_)) => {}
    }
}

/// Tells every pipeline of the shared stream what it waits on.
#[derive(Debug, Default)]
struct Everyone(Mutex<Vec<Arc<dyn Observer>>>);

impl Everyone {
    fn each(&self, tell: impl Fn(&dyn Observer)) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(|observer| tell(&**observer));
    }
}

impl Observer for Everyone {
    fn on_waiting(&self, waiting: Option<Waiting>) {
        self.each(|observer| observer.on_waiting(waiting));
    }
    fn on_fence(&self, waited: Duration) {
        self.each(|observer| observer.on_fence(waited));
    }
}
