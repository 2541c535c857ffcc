//! Passes: sets of documents assembled again in the background, beside the live changes, resumable by their records.
//!
//! ```text
//! record ─▶ barrier, where one is needed ─▶ chunks ─▶ sweep, where asked ─▶ record ends, unless asked again
//! ```

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::capture::Markers;
use super::dispatch::{Dispatcher, Done, Published, Settling, Wanted};
use super::resolve::{Resolver, roots};
use crate::edges::{ChangeCapture, Failure, FailureClass, HeldId, IndexAdmin, PassReport, RowReader, Waiting};
use crate::fail_points::reached;
use crate::model::{Declaration, Origin, Pass, PassProgress, PassSet, Position, Query, Version};
use crate::pipeline::backoff::Backoff;
use crate::pipeline::record::{self, PassRequest};

/// What passes work with.
#[derive(Clone, Debug)]
pub struct Passes {
    /// Asks the builder and holds the ledger.
    pub resolver: Arc<Resolver>,
    /// Writes markers.
    pub source: Arc<dyn ChangeCapture>,
    /// Reads root rows.
    pub reader: Arc<dyn RowReader>,
    /// Walks indexes.
    pub indexes: Arc<dyn IndexAdmin>,
    /// Where ids go.
    pub dispatcher: Dispatcher,
    /// Markers.
    pub markers: Markers,
    /// How far labels are.
    pub published: Arc<Published>,
    /// Those of which everything is written, and only late writes are waited for.
    pub settling: SettlingPasses,
    /// Ends them between chunks; they go on at the next start.
    pub stop: CancellationToken,
}

/// The passes that only wait for the late window.
#[derive(Clone, Debug, Default)]
pub struct SettlingPasses(Arc<Mutex<HashSet<u64>>>);

impl SettlingPasses {
    fn contains(&self, pass: u64) -> bool {
        self.lock().contains(&pass)
    }

    /// Until the guard goes.
    fn enter(&self, pass: u64) -> SettlingPass<'_> {
        self.lock().insert(pass);
        SettlingPass { all: self, pass }
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct SettlingPass<'a> {
    all: &'a SettlingPasses,
    pass: u64,
}

impl Drop for SettlingPass<'_> {
    fn drop(&mut self) {
        self.all.lock().remove(&self.pass);
    }
}

/// Whether a failure of that class passes by itself or stops the flow, so that no query is to blame for it.
fn passes_or_stops(class: FailureClass) -> bool {
    matches!(class, FailureClass::Transient | FailureClass::Restart | FailureClass::Fatal)
}

/// How often the records are looked at for new ones; they are few, and in memory.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How often a pass looks whether the stream has come back to where it was asked for.
const REACHED_EVERY: Duration = Duration::from_millis(10);

/// How often a pass that lets live changes go first looks whether they have.
const YIELD_EVERY: Duration = Duration::from_millis(20);

/// How often the progress of a pass is made durable, so that a crash repeats no more than this.
const PROGRESS_EVERY: Duration = Duration::from_secs(2);

impl Passes {
    /// Runs what is on record, and what comes onto it, until stopped.
    pub async fn run(self) -> Result<(), Failure> {
        let mut running: JoinSet<(Arc<str>, Result<(), Failure>)> = JoinSet::new();
        let mut indexes: HashSet<Arc<str>> = HashSet::new();
        let mut live = false;
        loop {
            let passes = self.resolver.ledger.read(|state| state.passes.clone()).await;
            let written = passes.iter().all(|pass| self.settling.contains(pass.id));
            if written && !std::mem::replace(&mut live, true) {
                self.resolver.observer.on_live();
            }
            for pass in passes {
                let room = running.len() < self.resolver.limits.passes_max.max(1);
                // Two passes of one index would only take each other's ids out of the hand.
                if room && !indexes.contains(&pass.index) {
                    indexes.insert(Arc::clone(&pass.index));
                    let this = self.clone();
                    running.spawn(async move { (Arc::clone(&pass.index), this.run_one(pass).await) });
                }
            }
            tokio::select! {
                () = self.stop.cancelled() => break,
                Some(ended) = running.join_next() => {
                    let (index, result) = ended.map_err(|error| Failure::fatal("a pass panicked").with_source(error))?;
                    result?;
                    indexes.remove(&index);
                }
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
        while let Some(ended) = running.join_next().await {
            ended.map_err(|error| Failure::fatal("a pass panicked").with_source(error))?.1?;
        }
        Ok(())
    }

    /// Runs one pass to its end, or until it is stopped or asked again.
    async fn run_one(&self, pass: Pass) -> Result<(), Failure> {
        let mut backoff = Backoff::new(&self.resolver.limits);
        loop {
            let current = |passes: &[Pass]| passes.iter().find(|known| known.id == pass.id).cloned();
            let Some(pass) = self.resolver.ledger.read(|state| current(&state.passes)).await else {
                return Ok(());
            };
            match self.attempt(pass).await {
                Err(failure) if failure.class == FailureClass::Transient && !self.stop.is_cancelled() => {
                    self.resolver.observer.on_retry("pass", failure.message());
                    self.resolver.observer.on_error(&failure);
                    if !backoff.wait(&self.stop).await {
                        return Ok(());
                    }
                }
                Err(_) if self.stop.is_cancelled() => return Ok(()),
                other => return other,
            }
        }
    }

    async fn attempt(&self, mut pass: Pass) -> Result<(), Failure> {
        let estimate = self.estimate(&pass).await;
        if pass.needs_barrier && pass.barrier.is_none() {
            let Some(barrier) = self.raise_barrier(&pass).await? else { return Ok(()) };
            pass.barrier = Some(barrier);
            reached("pass.marked");
        }
        if !self.reach(pass.asked).await {
            return Ok(());
        }
        let mut walk = Walk::new(self, &pass, estimate);
        let whole = match &pass.set {
            PassSet::Index => self.walk_index(&pass, &mut walk).await?,
            PassSet::Held => self.sweep(&pass, pass.progress.clone(), &mut walk).await?,
            PassSet::Query { name, params } => {
                let query = Query { name: name.clone(), params: params.clone() };
                match self.walk_query(&pass, query, &mut walk).await {
                    Err(failure) if !passes_or_stops(failure.class) => {
                        return self.walk_all_instead(&pass, failure).await;
                    }
                    walked => walked?,
                }
            }
        };
        if whole && walk.settle().await? {
            walk.report(self.resolver.ledger.update(|state| record::end(state, &pass)).await?);
            reached("pass.ended");
        } else if !self.resolver.ledger.read(|state| state.passes.iter().any(|known| known.id == pass.id)).await {
            // Another one has taken its place.
            walk.report(true);
        }
        Ok(())
    }

    /// A query that cannot be read to its end (it takes longer than a statement may) leaves only the whole index.
    async fn walk_all_instead(&self, pass: &Pass, failure: Failure) -> Result<(), Failure> {
        self.resolver.observer.on_retry("pass", failure.message());
        self.resolver.observer.on_error(&failure);
        let request = PassRequest {
            index: Arc::clone(&pass.index),
            set: PassSet::Index,
            reason: pass.reason,
            asked: pass.asked,
            needs_barrier: pass.needs_barrier,
            sweep: false,
        };
        self.resolver.ledger.update(|state| record::ask(state, request)).await
    }

    /// Waits until labels are at or above the change that asked for a pass; `false` when stopped. After a restart they begin at
    /// what was confirmed, and a document that an earlier process wrote in between would win against what is read now.
    async fn reach(&self, asked: Position) -> bool {
        while self.published.label() < asked {
            tokio::select! {
                () = self.stop.cancelled() => return false,
                () = tokio::time::sleep(REACHED_EVERY) => {}
            }
        }
        true
    }

    /// Waits until a marker of this pass was published: nothing of it is read below that. `None` when stopped, or when the pass is
    /// not on record any more.
    async fn raise_barrier(&self, pass: &Pass) -> Result<Option<Position>, Failure> {
        self.resolver.observer.on_waiting(Some(Waiting::Barrier));
        let barrier = tokio::select! {
            () = self.stop.cancelled() => return Ok(None),
            barrier = self.markers.round_trip(&*self.source, self.resolver.limits.marker_wait) => barrier?,
        };
        self.resolver.observer.on_waiting(None);
        self.resolver
            .ledger
            .update(|state| {
                let pass = state.passes.iter_mut().find(|known| record::same_run(known, pass))?;
                pass.barrier = Some(barrier);
                Some(barrier)
            })
            .await
    }

    /// All root rows in key order, then the sweep. `false` when stopped or asked again.
    async fn walk_index(&self, pass: &Pass, walk: &mut Walk<'_>) -> Result<bool, Failure> {
        let declaration = self.resolver.builder.declaration();
        let Some(index) = declaration.index(&pass.index) else {
            return Ok(true);
        };
        let roots = roots(declaration, &pass.index);
        let mut progress = pass.progress.clone();
        while !progress.sweeping {
            let Some(table) = roots.get(progress.table) else {
                progress = PassProgress { sweeping: true, ..progress };
                break;
            };
            let name = table.name_in(&self.resolver.schema);
            let rows_max = self.resolver.limits.chunk_rows.max(1);
            let chunk = self.reader.chunk(&name, &table.keys, progress.after.as_deref(), rows_max).await?;
            let affected = match chunk.rows.count() {
                0 => Default::default(),
                _ => self.resolver.ask_builder(index, table, chunk.rows, self.published.label()).await?,
            };
            if chunk.done {
                progress = PassProgress { table: progress.table + 1, after: None, ..progress };
            } else {
                progress.after = chunk.last;
            }
            let mut ids: HashSet<String> = affected.ids.into_iter().collect();
            let mut todo = vec![affected.queries];
            while let Some(queries) = todo.pop().filter(|queries| !queries.is_empty()) {
                match self.walk_hop(&queries, &mut ids, walk).await {
                    Err(failure) if !passes_or_stops(failure.class) => {
                        todo.extend(self.resolver.narrow(index, queries, failure, self.published.label()).await?);
                    }
                    Err(failure) => return Err(failure),
                    Ok(false) => return Ok(false),
                    Ok(true) => {}
                }
            }
            progress.documents += ids.len() as u64;
            let ids: Vec<String> = ids.into_iter().collect();
            let mut pieces = ids.chunks(rows_max).peekable();
            if pieces.peek().is_none() {
                walk.push(HashSet::new(), Some(progress.clone())).await?;
            }
            while let Some(piece) = pieces.next() {
                // Only the last piece completes the chunk.
                let done = pieces.peek().is_none().then(|| progress.clone());
                if !walk.push(piece.iter().cloned().collect(), done).await? {
                    return Ok(false);
                }
            }
        }
        if !walk.drain().await? {
            return Ok(false);
        }
        if pass.sweep {
            return self.sweep(pass, progress, walk).await;
        }
        Ok(true)
    }

    /// The ids that queries of a chunk yield, into `ids`, and pushed where they are many. `false` when stopped or asked again.
    async fn walk_hop(
        &self,
        queries: &[Query],
        ids: &mut HashSet<String>,
        walk: &mut Walk<'_>,
    ) -> Result<bool, Failure> {
        let rows_max = self.resolver.limits.chunk_rows.max(1);
        let opened = self.unless_stopped(self.resolver.queries.ids(queries)).await?;
        let Some(mut cursor) = opened else { return Ok(false) };
        loop {
            let Some(piece) = self.unless_stopped(cursor.next(rows_max)).await? else { return Ok(false) };
            if piece.is_empty() {
                return Ok(true);
            }
            if ids.len() >= rows_max && !walk.push(std::mem::take(ids), None).await? {
                return Ok(false);
            }
            ids.extend(piece);
        }
    }

    /// Every id that the index holds and that was not written by this pass or after it was asked: what comes back absent is
    /// deleted. Late writes would come behind the walk, so it begins when none can.
    async fn sweep(&self, pass: &Pass, progress: PassProgress, walk: &mut Walk<'_>) -> Result<bool, Failure> {
        let generation = self
            .resolver
            .ledger
            .read(|state| state.generations.get(&*pass.index).map(|generation| generation.name.clone()))
            .await;
        let Some(generation) = generation else { return Ok(true) };
        if !walk.save(progress).await? {
            return Ok(false);
        }
        {
            let _only_waits = self.settling.enter(pass.id);
            walk.tell(true, false);
            tokio::select! {
                () = self.stop.cancelled() => return Ok(false),
                () = self.dispatcher.late_window_closed() => {}
            }
        }
        walk.report(false);
        // What was written at or above it was read behind the barrier, or behind the request.
        let fresh = Version::new(
            self.resolver.ledger.read(|state| state.history).await,
            pass.barrier.unwrap_or_default().max(pass.begun),
        );
        let older = |held: &HeldId| held.version.is_none_or(|version| version < fresh);
        let mut cursor = None;
        loop {
            let page = self.indexes.ids(&generation, cursor.take(), self.resolver.limits.chunk_rows.max(1)).await?;
            let ids: HashSet<String> = page.ids.into_iter().filter(older).map(|held| held.id).collect();
            if !ids.is_empty() && !walk.push(ids, None).await? {
                return Ok(false);
            }
            match page.cursor {
                Some(next) => cursor = Some(next),
                None => return walk.drain().await,
            }
        }
    }

    async fn walk_query(&self, pass: &Pass, query: Query, walk: &mut Walk<'_>) -> Result<bool, Failure> {
        let mut progress = PassProgress { documents: 0, ..pass.progress.clone() };
        let queries = [query];
        let Some(mut cursor) = self.unless_stopped(self.resolver.queries.ids(&queries)).await? else {
            return Ok(false);
        };
        loop {
            let next = cursor.next(self.resolver.limits.chunk_rows.max(1));
            let Some(ids) = self.unless_stopped(next).await? else { return Ok(false) };
            if ids.is_empty() {
                return walk.drain().await;
            }
            progress.documents += ids.len() as u64;
            walk.documents = progress.documents;
            if !walk.push(ids.into_iter().collect(), None).await? {
                return Ok(false);
            }
        }
    }

    /// What a query answers, or `None` when stopped first: a wide one is stored as a whole before it is read, which takes minutes,
    /// and draining must not wait for it.
    async fn unless_stopped<T>(&self, asked: impl Future<Output = Result<T, Failure>>) -> Result<Option<T>, Failure> {
        tokio::select! {
            () = self.stop.cancelled() => Ok(None),
            answer = asked => answer.map(Some),
        }
    }

    /// About how many documents a pass makes, for people; a failure to know is no failure.
    async fn estimate(&self, pass: &Pass) -> Option<u64> {
        if pass.set != PassSet::Index {
            return None;
        }
        let declaration: &Declaration = self.resolver.builder.declaration();
        let mut sum = 0;
        for table in roots(declaration, &pass.index) {
            sum += self.reader.estimate(&table.name_in(&self.resolver.schema)).await.ok()??;
        }
        Some(sum)
    }
}

/// The chunks of one pass that are under way, oldest first, with the progress that each completes.
struct Walk<'a> {
    passes: &'a Passes,
    pass: &'a Pass,
    place: Option<usize>,
    estimate: Option<u64>,
    under_way: VecDeque<(Done, Option<PassProgress>)>,
    /// Written, and not final yet.
    settling: VecDeque<(Settling, Option<PassProgress>)>,
    documents: u64,
    saved: Instant,
}

impl<'a> Walk<'a> {
    fn new(passes: &'a Passes, pass: &'a Pass, estimate: Option<u64>) -> Self {
        let indexes = &passes.resolver.builder.declaration().indexes;
        let walk = Self {
            passes,
            pass,
            place: indexes.iter().position(|index| *index.name == *pass.index),
            estimate,
            under_way: VecDeque::new(),
            settling: VecDeque::new(),
            documents: pass.progress.documents,
            saved: Instant::now(),
        };
        walk.report(false);
        walk
    }

    /// Asks for a chunk; waits while too many are under way. `false` when the pass was stopped or asked again.
    async fn push(&mut self, ids: HashSet<String>, progress: Option<PassProgress>) -> Result<bool, Failure> {
        while self.under_way.len() >= self.passes.resolver.limits.chunks_in_flight_max.max(1) {
            if !self.pop().await? {
                return Ok(false);
            }
        }
        if !self.yield_to_live().await {
            return Ok(false);
        }
        let Some(place) = self.place else { return Ok(true) };
        let wanted =
            Wanted { ids: vec![(place, ids.into_iter().collect())], origin: Origin::Pass { id: self.pass.id } };
        let done = self.passes.dispatcher.want(wanted).await?;
        self.under_way.push_back((done, progress));
        Ok(true)
    }

    /// Lets live changes go first while they are held up; `false` when stopped.
    async fn yield_to_live(&self) -> bool {
        let limits = &self.passes.resolver.limits;
        let until = Instant::now() + limits.pass_yields_for;
        while self.passes.dispatcher.live_age() > limits.pass_yields_at && Instant::now() < until {
            tokio::select! {
                () = self.passes.stop.cancelled() => return false,
                () = tokio::time::sleep(YIELD_EVERY) => {}
            }
        }
        !self.passes.stop.is_cancelled()
    }

    /// Waits until everything is final; `false` when stopped, or when the pass is not on record any more.
    async fn settle(&mut self) -> Result<bool, Failure> {
        if self.settling.is_empty() {
            return Ok(true);
        }
        let _only_waits = self.passes.settling.enter(self.pass.id);
        self.tell(true, false);
        while let Some((mut settling, progress)) = self.settling.pop_front() {
            tokio::select! {
                () = self.passes.stop.cancelled() => return Ok(false),
                settled = settling.settled() => if !settled {
                    return Ok(false);
                },
            }
            if let Some(progress) = progress
                && self.saved.elapsed() >= PROGRESS_EVERY
                && !self.save(progress).await?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Waits for everything under way to be written.
    async fn drain(&mut self) -> Result<bool, Failure> {
        while !self.under_way.is_empty() {
            if !self.pop().await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn pop(&mut self) -> Result<bool, Failure> {
        let Some((done, progress)) = self.under_way.pop_front() else {
            return Ok(true);
        };
        let settling = done.written().await?;
        reached("pass.chunk");
        if let Some(progress) = &progress {
            self.documents = progress.documents;
            self.report(false);
        }
        self.settling.push_back((settling, progress));
        // Progress is what is final: the deletions of a chunk may still be undone.
        let mut last = None;
        while let Some((settling, _)) = self.settling.front_mut()
            && settling.is_settled()
        {
            let progress = self.settling.pop_front().and_then(|(_, progress)| progress);
            last = progress.or(last);
        }
        match last {
            Some(progress) if self.saved.elapsed() >= PROGRESS_EVERY => self.save(progress).await,
            _ => Ok(true),
        }
    }

    /// Makes the progress durable; `false` when the pass is not on record any more.
    async fn save(&mut self, progress: PassProgress) -> Result<bool, Failure> {
        self.saved = Instant::now();
        let run = self.pass;
        self.passes
            .resolver
            .ledger
            .update(|state| match state.passes.iter_mut().find(|pass| record::same_run(pass, run)) {
                Some(pass) => {
                    pass.progress = progress;
                    true
                }
                None => false,
            })
            .await
    }

    fn report(&self, done: bool) {
        self.tell(false, done);
    }

    fn tell(&self, settling: bool, done: bool) {
        self.passes.resolver.observer.on_pass(&PassReport {
            id: self.pass.id,
            index: Arc::clone(&self.pass.index),
            reason: self.pass.reason,
            documents: self.documents,
            of: self.estimate,
            settling,
            done,
        });
    }
}
