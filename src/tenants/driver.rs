//! The driver: the one task that holds the shared stream. It waits until the pipelines are there, opens, and lets in who comes
//! later; what it does with each event is in `pump`.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use super::commands::Command;
use super::everyone::Everyone;
use super::joining::since_in;
use super::options::SharingOptions;
use super::place::{Ended, Place, Ties};
use crate::edges::{
    CapturedTable, Catalog, ChangeStream, Failure, FailureClass, Observer, OnLostSlot, OpenRequest, SharedSource,
    Silent, StreamStart, Waiting,
};
use crate::model::{Position, TableName};
use crate::pipeline::queue::{self, QueueReceiver};

/// How often a stream is tried to be opened again for those who came later, before everyone opens anew.
const REOPEN_TRIES: usize = 20;
const REOPEN_PAUSE: Duration = Duration::from_millis(100);

/// See the module.
pub(super) struct Driver {
    pub source: Arc<dyn SharedSource>,
    pub options: SharingOptions,
    pub commands: mpsc::UnboundedSender<Command>,
    pub received: mpsc::UnboundedReceiver<Command>,
    pub places: Vec<Place>,
    pub removed: Vec<String>,
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
    /// What the stream has told of the definitions of tables so far.
    pub known: Catalog,
    /// Somebody on a copy needs tables that the stream does not bring.
    pub widen: bool,
    /// Where the stream is: everything at or before it was put into the queues that it concerns. Goes back when the stream is opened
    /// again.
    at: Arc<AtomicU64>,
    /// How far it ever was: those who were here have everything up to there.
    passed: Position,
    /// In the middle of a transaction.
    pub inside: bool,
    /// What was confirmed to the source last.
    pub confirmed: Position,
    pub leaving: Vec<oneshot::Sender<()>>,
    pub everyone: Arc<Everyone>,
    pub reopened: Instant,
    numbers: u64,
    pub copies: Arc<Semaphore>,
    /// Openings that failed one after the other in a way that a person must act on.
    refused: usize,
    /// Where the stream failed so last.
    failed_at: Option<Position>,
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
            known: Catalog::new(),
            widen: false,
            at: Arc::default(),
            passed: Position::ZERO,
            inside: false,
            confirmed: Position::ZERO,
            leaving: Vec::new(),
            everyone: Arc::default(),
            reopened: Instant::now(),
            numbers: 0,
            copies,
            refused: 0,
            failed_at: None,
        }
    }

    /// Runs until nobody can ask for anything any more.
    pub async fn run(mut self) {
        while self.gather().await {
            match self.open().await {
                Ok(stream) => self.pump(stream).await,
                Err(failure) => self.refuse(&failure),
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
        // Another log may follow than the one of before.
        self.at = Arc::new(AtomicU64::new(start.confirmed.bytes()));
        (self.passed, self.confirmed, self.inside) = (start.confirmed, start.confirmed, false);
        self.known = start.catalog.clone();
        self.markers.clear();
        self.clear_touched();
        self.start = Some(start.clone());
        self.reopened = Instant::now();
        self.find_copies().await?;
        for place in 0..self.places.len() {
            let (want, found) = (self.places[place].want.take(), &mut self.places[place]);
            // For everyone that is expected, or was here: whoever has everything up to here can still come.
            let kept = found.copy.is_none() && !found.parked;
            found.hold = kept.then_some(start.confirmed);
            let Some(want) = want else { continue };
            let since = since_in(&start, want.since.as_ref(), start.flushed);
            match since.filter(|since| *since < start.confirmed) {
                Some(since) if found.copy.is_some() => self.let_in_apart(place, want, since),
                _ => {
                    let skip = since.unwrap_or(start.confirmed).max(start.confirmed);
                    self.let_in(place, want, StreamStart { confirmed: skip, ..start.clone() }, skip, false);
                }
            }
        }
        // Of those who come later, it was made for none.
        self.start = Some(StreamStart { created: false, ..start });
        self.aim();
        Ok(stream)
    }

    async fn open_stream(&mut self) -> Result<Box<dyn ChangeStream>, Failure> {
        // Those on copies come back.
        let here = |place: &&Place| place.want.is_some() || place.ties.is_some();
        let of = |place: &Place| place.want.as_ref().map_or(place.tables.clone(), |want| want.tables.clone());
        let mut captured: BTreeMap<TableName, CapturedTable> = BTreeMap::new();
        for table in self.places.iter().filter(here).flat_map(of) {
            match captured.get_mut(&table.table) {
                Some(have) => have.add(&table.keys, &table.columns),
                None => drop(captured.insert(table.table.clone(), table)),
            }
        }
        self.captured = captured.into_values().collect();
        self.widen = false;
        let wants = |test: fn(&super::place::Want) -> bool| {
            self.places.iter().filter(here).any(|place| place.want.as_ref().is_none_or(test))
        };
        let known = wants(|want| want.known);
        let on_lost = match wants(|want| want.on_lost == OnLostSlot::Rebuild) {
            true => OnLostSlot::Rebuild,
            false => OnLostSlot::Refuse,
        };
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
        let captured = std::mem::take(&mut self.captured);
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
        let (start, passed) = (stream.start().clone(), self.passed);
        let goes_on = self.start.as_ref().is_some_and(|before| start.goes_on(before, passed));
        if !goes_on {
            return Err(Failure::transient("the source is not where it was when its stream was opened again"));
        }
        self.confirmed = start.confirmed;
        // Before anybody is let in: what is on its way to them they have not been given.
        self.at.store(start.confirmed.bytes(), Ordering::Release);
        self.clear_touched();
        self.tell_redefined(&captured, &start);
        for place in self.places.iter_mut().filter(|place| place.queue.is_some()) {
            place.skip = place.skip.max(passed);
        }
        for place in 0..self.places.len() {
            let Some(want) = self.places[place].want.take() else { continue };
            let since = since_in(&start, want.since.as_ref(), start.flushed).filter(|since| *since >= start.confirmed);
            // Who misses nothing of what was passed, or everything, begins where the others are.
            let skip = since.unwrap_or(passed).max(start.confirmed);
            self.let_in(place, want, StreamStart { confirmed: skip, ..start.clone() }, skip, false);
        }
        self.start = Some(start);
        self.aim();
        Ok(stream)
    }

    /// What became of tables between two streams neither of them tells: whoever captures one that is not what it was looks itself.
    /// Of a table of which more is captured now than before, only a look can tell.
    fn tell_redefined(&mut self, captured: &[CapturedTable], start: &StreamStart) {
        let same = |table: &TableName| {
            let of = |tables: &[CapturedTable]| tables.iter().find(|known| known.table == *table).cloned();
            of(captured) == of(&self.captured) && self.known.get(table) == start.catalog.get(table)
        };
        for place in self.places.iter().filter(|place| place.queue.is_some()) {
            if let Some(ties) = &place.ties
                && !place.tables.iter().all(|table| same(&table.table))
            {
                ties.look.store(true, Ordering::Release);
            }
        }
        self.known = start.catalog.clone();
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
        // What only a person can mend may be gone when the stream is opened again; met in the same place again, it is not.
        let again = self.failed_at.replace(self.passed) == Some(self.passed);
        let class = match failure.class {
            FailureClass::Fatal if !again => FailureClass::Transient,
            class => class,
        };
        if failure.class != FailureClass::Fatal {
            self.failed_at = None;
        }
        for place in &mut self.places {
            place.hold = place.held();
            place.take_out(Ended::Lost(class, failure.chain()));
        }
        self.aim();
        self.start = None;
        self.inside = false;
    }

    /// The stream could not be opened. What a person must act on may be one pipeline's alone, whose own look at its tables finds it
    /// when all of them ask again.
    fn refuse(&mut self, failure: &Failure) {
        self.start = None;
        let fatal = failure.class == FailureClass::Fatal;
        self.refused = if fatal { self.refused + 1 } else { 0 };
        let class = if fatal && self.refused < 2 { FailureClass::Transient } else { failure.class };
        for want in self.places.iter_mut().filter_map(|place| place.want.take()) {
            let mut told = Failure::new(class, failure.message());
            if let Some(advice) = failure.advice() {
                told = told.with_advice(advice);
            }
            if let Some(waiting) = failure.waiting() {
                told = told.waiting_on(waiting);
            }
            if let Some(cause) = std::error::Error::source(failure) {
                told = told.with_source(cause.to_string());
            }
            let _ = want.reply.send(Err(told));
        }
    }

    /// Whoever left need wait no longer.
    pub fn answer_leaving(&mut self) {
        for done in self.leaving.drain(..) {
            let _ = done.send(());
        }
    }

    pub fn find(&self, tenant: &str) -> Option<usize> {
        self.places.iter().position(|place| place.name == tenant)
    }

    /// Whether the stream brings all that these need.
    pub fn covers(&self, tables: &[CapturedTable]) -> bool {
        let of = |table: &CapturedTable| self.captured.iter().find(|have| have.table == table.table);
        tables.iter().all(|table| of(table).is_some_and(|have| have.covers(table)))
    }

    /// How far the stream ever was.
    pub fn passed(&self) -> Position {
        self.passed
    }

    /// The stream is there now.
    pub fn pass(&mut self, position: Position) {
        self.at.store(position.bytes(), Ordering::Release);
        self.passed = self.passed.max(position);
    }

    pub fn ties(&mut self, confirmed: Position) -> Arc<Ties> {
        self.numbers += 1;
        Ties::new(self.numbers, confirmed, Arc::clone(&self.at))
    }

    pub fn queue(&self) -> (queue::QueueSender, QueueReceiver) {
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
        self.everyone.are(observers);
    }
}
