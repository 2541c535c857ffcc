//! Run: opens the edges, compares, and joins the stages of both halves until they are told to stop or one of them fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::back::Back;
use super::backoff::Backoff;
use super::failing::Failing;
use super::front::dispatch::{Dispatcher, Lanes, Published, Stamp};
use super::front::resolve::{Resolved, Resolver};
use super::front::unresolved::Unresolved;
use super::front::{ack, batch, capture, dispatch, index_watch, passes, queue, slot_watch};
use super::in_process::InProcessQueue;
use super::ledger::Ledger;
use super::owner::Owner;
use super::policy::{BatchPolicy, FailurePolicies, FlowLimits};
use super::start::{self, Found};
use super::tables::captured_tables;
use super::tally::{Summary, Tally};
use crate::edges::{
    ChangeCapture, ChangeStream, DocumentBuilder, Failure, FailureClass, Observer, OnLostSlot, OpenRequest, QuerySet,
    Since, Sink, StreamStart, WorkQueue,
};
use crate::fail_points::reached;
use crate::model::Position;

/// One pipeline's flow, ready to run.
#[derive(Debug)]
pub struct Flow {
    /// The pipeline's name: what its state is kept under.
    pub name: String,
    /// The schema of the tables that the builder names without one.
    pub schema: String,
    /// Where changes come from.
    pub source: Arc<dyn ChangeCapture>,
    /// The builder.
    pub documents: Arc<dyn DocumentBuilder>,
    /// Where documents go.
    pub sink: Arc<dyn Sink>,
    /// Told of what happens.
    pub observer: Arc<dyn Observer>,
    /// The lane of live changes; `None` for one in memory.
    pub live: Option<Arc<dyn WorkQueue>>,
    /// When batches close.
    pub batch: BatchPolicy,
    /// What happens to rejected documents.
    pub policies: FailurePolicies,
    /// Every other limit.
    pub limits: FlowLimits,
    /// Whether an empty destination is taken as filled.
    pub skip_backfill: bool,
    /// What happens when changes since the checkpoint are lost.
    pub on_lost: OnLostSlot,
    /// Ends the flow: what was captured is drained and confirmed.
    pub shutdown: CancellationToken,
}

impl Flow {
    /// Runs until `shutdown`, or until something needs a person. When what it stands on is not what it was (the source, the
    /// slot, an index), it begins again from the comparison at the start.
    ///
    /// # Errors
    ///
    /// `Fatal` for what needs a person. What is transient is tried again inside; nothing is confirmed that is not
    /// durable, in either case.
    pub async fn run(self) -> Result<Summary, Failure> {
        let tally = Arc::new(Tally::new(Arc::clone(&self.observer)));
        let observer: Arc<dyn Observer> = Arc::clone(&tally) as _;
        let mut backoff = Backoff::new(&self.limits);
        self.check_late_window();
        loop {
            let begun = Instant::now();
            let failure = match self.run_once(&observer).await {
                Err(failure) if failure.class == FailureClass::Restart && !self.shutdown.is_cancelled() => failure,
                ended => return ended.map(|()| tally.summary()),
            };
            if self.live.is_some() {
                return Err(Failure::fatal(
                    "what the flow stands on changed, and its work queue holds tasks from before",
                )
                .with_source(failure)
                .with_advice("start again, with an empty queue"));
            }
            observer.on_retry("run", failure.message());
            observer.on_error(&failure);
            if begun.elapsed() > self.limits.backoff_longest {
                backoff.reset();
            }
            if !backoff.wait(&self.shutdown).await {
                return Ok(tally.summary());
            }
        }
    }

    async fn run_once(&self, observer: &Arc<dyn Observer>) -> Result<(), Failure> {
        observer.on_start();
        // Cancelled when waiting any longer is pointless: a stage failed, or draining took too long.
        let halt = CancellationToken::new();
        let opened = tokio::select! {
            () = self.shutdown.cancelled() => return Ok(()),
            opened = self.open(observer, &halt) => match opened {
                Ok(opened) => opened,
                Err(_) if self.shutdown.is_cancelled() => return Ok(()),
                Err(failure) => return Err(failure),
            },
        };
        let mut stages = Stages { tasks: JoinSet::new(), halt };
        let settled = Arc::new(AtomicBool::new(false));
        let ledger = Arc::clone(&opened.ledger);
        self.spawn(opened, Arc::clone(observer), &settled, &mut stages).await;
        stages.join(&self.shutdown, &self.limits).await?;
        if settled.load(Ordering::Acquire) {
            // Every request was answered, and every outcome is final: the next start has nothing to wait for.
            // A sink that goes away together with it only makes the next start wait.
            let settling = ledger.update(|state| state.settled = true);
            if !matches!(tokio::time::timeout(self.limits.drain_for, settling).await, Ok(Ok(()))) {
                tracing::debug!(pipeline = %self.name, "the state does not say that nothing is late");
            }
        }
        Ok(())
    }

    /// Says when the late window is shorter than what the sink knows a late write to take.
    fn check_late_window(&self) {
        let (window, late_for, proof) = (self.limits.late_window, self.sink.late_for(), self.limits.proof_fresh_for);
        if window <= late_for + proof && !late_for.is_zero() {
            tracing::warn!(
                pipeline = %self.name, late_window = ?window, late_for = ?late_for, proof_fresh_for = ?proof,
                "late_window is shorter than late_for and proof_fresh_for together, so a deleted document may come back: make it \
                 longer, or the sink's connect_timeout, request_timeout and shard_timeout, which are late_for, shorter"
            );
        }
    }

    /// Prepares the statements, opens the stream, makes the indexes and takes hold of the state, in this order: the slot
    /// is what two processes cannot hold at once, and the state says who they were.
    async fn open(&self, observer: &Arc<dyn Observer>, halt: &CancellationToken) -> Result<Opened, Failure> {
        let stop = &self.shutdown;
        let declaration = self.documents.declaration();
        let reader = self.source.reader();
        let queries = self.retry(observer, "prepare", || reader.prepare(declaration)).await?;
        let tables = captured_tables(declaration, &self.schema);
        let state = self.sink.state();
        let before = self.retry(observer, "state.load", || state.load(&self.name)).await?.map(|(state, _)| state);
        let request = OpenRequest {
            tables: &tables,
            known: before.is_some(),
            since: before.map(|state| Since { source: state.source, position: state.checkpoint }),
            on_lost: self.on_lost,
            observer: Arc::clone(observer),
        };
        let stream = capture::open(&*self.source, &request, &self.limits, stop).await?;
        let (ledger, late) = tokio::select! {
            biased;
            // The sink may be away for long, and a source that is shut down waits for as long as its stream is held.
            failure = stream.lost() => {
                return Err(Failure::restart("the stream ended before the state was taken hold of").with_source(failure));
            }
            claimed = self.claim(stream.start(), observer, halt) => claimed?,
        };
        Ok(Opened { stream, queries, ledger: Arc::new(ledger), late })
    }

    /// Makes the indexes, compares, and takes hold of the state; and whether requests of an earlier process may still be late.
    async fn claim(
        &self,
        stream: &StreamStart,
        observer: &Arc<dyn Observer>,
        halt: &CancellationToken,
    ) -> Result<(Ledger, bool), Failure> {
        let declaration = self.documents.declaration();
        let (state, indexes) = (self.sink.state(), self.sink.indexes());
        let generations = self.retry(observer, "ensure", || indexes.ensure(&declaration.indexes)).await?;
        // Again: while the slot was in somebody else's hand it may have been written.
        let (previous, revision) = match self.retry(observer, "state.load", || state.load(&self.name)).await? {
            Some((document, revision)) => (Some(document), Some(revision)),
            None => (None, None),
        };
        let late = previous.as_ref().is_some_and(|state| !state.settled);
        let document = start::begin(
            previous,
            &Found {
                owner: &format!("{:016x}", rand::random::<u64>()),
                stream,
                builder_version: self.documents.version(),
                indexes: &declaration.indexes,
                generations: &generations,
                skip_backfill: self.skip_backfill,
                schema: &self.schema,
                on_lost: self.on_lost,
            },
        )?;
        for pass in &document.passes {
            tracing::info!(
                pipeline = %self.name, index = %pass.index, reason = %pass.reason, documents = pass.progress.documents,
                "documents are assembled again in the background"
            );
        }
        let claimed = Ledger::claim(
            Arc::clone(&state),
            &self.name,
            document,
            revision.clone(),
            self.limits.clone(),
            Arc::clone(observer),
            halt.clone(),
        )
        .await;
        let ledger = match claimed {
            Ok(ledger) => ledger,
            // The last writing of a process that is gone, or of this one before it began again, came late: nothing is owned yet, so
            // the comparison is made again.
            Err(failure) if failure.class == FailureClass::Fatal => {
                let found = self.retry(observer, "state.load", || state.load(&self.name)).await?;
                return Err(match found.map(|(_, revision)| revision) == revision {
                    true => failure,
                    false => Failure::restart("the state was written while it was taken over").with_source(failure),
                });
            }
            Err(failure) => return Err(failure),
        };
        reached("state.claimed");
        Ok((ledger, late))
    }

    async fn retry<T, F>(
        &self,
        observer: &Arc<dyn Observer>,
        stage: &'static str,
        mut call: impl FnMut() -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let mut backoff = Backoff::new(&self.limits);
        loop {
            let answer = tokio::select! {
                () = self.shutdown.cancelled() => return Err(Failure::transient("stopped while starting")),
                answer = call() => answer,
            };
            match answer {
                Err(failure) if failure.class == FailureClass::Transient => {
                    observer.on_retry(stage, failure.message());
                    observer.on_error(&failure);
                    if !backoff.wait(&self.shutdown).await {
                        return Err(failure);
                    }
                }
                other => return other,
            }
        }
    }

    async fn spawn(
        &self,
        Opened { stream, queries, ledger, late }: Opened,
        observer: Arc<dyn Observer>,
        settled: &Arc<AtomicBool>,
        stages: &mut Stages,
    ) {
        let limits = &self.limits;
        let in_memory = || Arc::new(InProcessQueue::new(limits.tasks_queued_max)) as Arc<dyn WorkQueue>;
        let lanes = Lanes { live: self.live.clone().unwrap_or_else(in_memory), pass: in_memory() };
        let start = stream.start().clone();
        let published = Arc::new(Published::default());
        // Everything confirmed before was visible then, and behind a quiet point nothing earlier is still to come.
        published.raise_before(start.confirmed);
        let (confirm, confirmed) = watch::channel(Position::ZERO);
        let reading = confirm.clone();
        let (queue_in, queue_out) =
            queue::bounded(limits.queue_events_max, limits.queue_bytes_max, Arc::clone(&observer));
        let (batch_in, batch_out) = mpsc::channel(1);
        let (ack_in, ack_out) = mpsc::channel(limits.batches_in_flight_max.max(1));
        let markers = capture::Markers::default();
        let stamp = Stamp {
            pipeline: self.name.as_str().into(),
            indexes: self.index_names(&ledger).await,
            builder_version: self.documents.version().clone(),
            history: ledger.read(|state| state.history).await,
        };
        let dispatch = dispatch::Dispatch {
            lanes: lanes.clone(),
            stamp,
            published: Arc::clone(&published),
            ledger: Arc::clone(&ledger),
            limits: limits.clone(),
            late_at_start: late,
        };
        let owner = ledger.read(|state| state.owner.clone()).await;
        let (dispatcher, dispatching) = dispatch.start();
        let failing = Arc::new(Failing::new(self.documents.version().clone(), limits.clone()));
        let resolver = Arc::new(Resolver {
            builder: Arc::clone(&self.documents),
            queries: Arc::clone(&queries),
            schema: self.schema.clone(),
            ledger: Arc::clone(&ledger),
            unresolved: Unresolved {
                sink: Arc::clone(&self.sink),
                policies: self.policies.clone(),
                failing: Arc::clone(&failing),
            },
            observer: Arc::clone(&observer),
            limits: limits.clone(),
            stop: stages.halt.clone(),
        });
        let passes = passes::Passes {
            resolver: Arc::clone(&resolver),
            source: Arc::clone(&self.source),
            reader: self.source.reader(),
            indexes: self.sink.indexes(),
            dispatcher: dispatcher.clone(),
            markers: markers.clone(),
            published: Arc::clone(&published),
            settling: Default::default(),
            stop: self.shutdown.clone(),
        };
        let capture = capture::Capture {
            source: Arc::clone(&self.source),
            tables: captured_tables(self.documents.declaration(), &self.schema),
            queue: queue_in,
            on_lost: self.on_lost,
            published,
            confirmed,
            markers,
            observer: Arc::clone(&observer),
            limits: limits.clone(),
            stop: self.shutdown.clone(),
        };
        stages.spawn(capture.run(stream));
        // What a batch gathers counts in the queue's bound: it must be full before capture waits for it.
        let batch = BatchPolicy { max_bytes: self.batch.max_bytes.min(limits.queue_bytes_max / 2), ..self.batch };
        stages.spawn(batch::run(queue_out, batch_in, batch, limits.batches_in_flight_max));
        stages.spawn(resolve_and_dispatch(batch_out, resolver, dispatcher, ack_in, limits.resolves_max));
        stages.spawn(index_watch::run(
            self.sink.indexes(),
            Arc::clone(&ledger),
            self.documents.declaration().indexes.iter().map(|index| index.name.clone()).collect(),
            Arc::clone(&observer),
            limits.index_look_every,
            self.shutdown.clone(),
        ));
        stages.spawn(ack::run(ack_out, ledger, confirm, Arc::clone(&observer), limits.clone()));
        stages.spawn(passes.run());
        stages.spawn(slot_watch::run(
            Arc::clone(&self.source),
            Arc::clone(&observer),
            limits.slot_look_every,
            self.shutdown.clone(),
        ));
        let (live, pass, settled) = (Arc::clone(&lanes.live), Arc::clone(&lanes.pass), Arc::clone(settled));
        stages.spawn(async move {
            let ended = dispatching.await;
            // Capture keeps its stream until then: without one no read may begin, and tasks of passes outlast the last ack.
            drop(reading);
            // The front half has said everything, so the back half ends when it has done everything.
            live.close();
            pass.close();
            settled.store(ended?, Ordering::Release);
            Ok(())
        });
        let ownership = Arc::new(Owner::new(
            self.sink.state(),
            &self.name,
            &owner,
            limits.clone(),
            Arc::clone(&observer),
            stages.halt.clone(),
        ));
        let back = Arc::new(Back {
            builder: Arc::clone(&self.documents),
            queries,
            reader: self.source.reader(),
            sink: Arc::clone(&self.sink),
            ownership,
            observer,
            policies: self.policies.clone(),
            failing,
            limits: limits.clone(),
            stop: stages.halt.clone(),
            flushed: Default::default(),
            call_sizes: Default::default(),
        });
        for _ in 0..limits.live_workers.max(1) {
            stages.spawn(Arc::clone(&back).work(Arc::clone(&lanes.live)));
        }
        for _ in 0..limits.pass_workers.max(1) {
            stages.spawn(Arc::clone(&back).work(Arc::clone(&lanes.pass)));
        }
    }

    /// Declared and physical name of each index, in the order of the declaration.
    async fn index_names(&self, ledger: &Ledger) -> Vec<(Arc<str>, Arc<str>)> {
        let indexes = &self.documents.declaration().indexes;
        ledger
            .read(|state| {
                let physical =
                    |name: &String| state.generations.get(name).map_or(name.clone(), |known| known.name.clone());
                indexes.iter().map(|index| (index.name.as_str().into(), physical(&index.name).into())).collect()
            })
            .await
    }
}

/// What is open when the stages begin.
struct Opened {
    stream: Box<dyn ChangeStream>,
    queries: Arc<dyn QuerySet>,
    ledger: Arc<Ledger>,
    /// Whether requests of an earlier process may still be applied.
    late: bool,
}

/// Resolves batches, several at once and in order, and hands what they want to dispatch and to the ack.
async fn resolve_and_dispatch(
    mut batches: mpsc::Receiver<batch::Batch>,
    resolver: Arc<Resolver>,
    dispatcher: Dispatcher,
    acks: mpsc::Sender<ack::Dispatched>,
    resolves_max: usize,
) -> Result<(), Failure> {
    let mut resolving: FuturesOrdered<AbortOnDropHandle<Result<Resolved, Failure>>> = FuturesOrdered::new();
    let mut open = true;
    loop {
        tokio::select! {
            Some(resolved) = resolving.next() => {
                let resolved =
                    resolved.map_err(|error| Failure::fatal("resolving a batch panicked").with_source(error))?;
                let (wanted, end, in_flight) = resolved?.into_parts();
                let done = dispatcher.want(wanted).await?;
                if acks.send(ack::Dispatched { end, done, in_flight }).await.is_err() {
                    return Ok(());
                }
            }
            batch = batches.recv(), if open && resolving.len() < resolves_max.max(1) => match batch {
                // On a task of its own: it goes on while dispatch takes its time with the batch before.
                Some(batch) => {
                    let resolver = Arc::clone(&resolver);
                    let resolved = tokio::spawn(async move { resolver.resolve(batch).await });
                    resolving.push_back(AbortOnDropHandle::new(resolved));
                }
                None => open = false,
            },
            else => return Ok(()),
        }
    }
}

/// The running stages. Every one is joined.
struct Stages {
    tasks: JoinSet<Result<(), Failure>>,
    halt: CancellationToken,
}

impl Stages {
    fn spawn(&mut self, stage: impl Future<Output = Result<(), Failure>> + Send + 'static) {
        self.tasks.spawn(stage);
    }

    /// Joins all stages. The first failure halts the rest, and is the answer.
    async fn join(mut self, shutdown: &CancellationToken, limits: &FlowLimits) -> Result<(), Failure> {
        let mut failed: Option<Failure> = None;
        let drained = async {
            shutdown.cancelled().await;
            tokio::time::sleep(limits.drain_for).await;
        };
        tokio::pin!(drained);
        loop {
            let ended = tokio::select! {
                ended = self.tasks.join_next() => ended,
                () = &mut drained, if !self.halt.is_cancelled() => {
                    failed.get_or_insert_with(|| {
                        Failure::transient(format!("draining took longer than {:?} and was given up", limits.drain_for))
                            .with_advice("what was not written comes again at the next start")
                    });
                    self.halt.cancel();
                    self.tasks.abort_all();
                    continue;
                }
            };
            match ended {
                None => return failed.map_or(Ok(()), Err),
                Some(Ok(Ok(()))) => {}
                Some(Ok(Err(failure))) => self.fail(&mut failed, failure),
                Some(Err(error)) if error.is_cancelled() => {}
                Some(Err(error)) => {
                    self.fail(&mut failed, Failure::fatal("a stage of the flow panicked").with_source(error));
                }
            }
        }
    }

    fn fail(&mut self, failed: &mut Option<Failure>, failure: Failure) {
        // What fails after the first failure fails because of it, unless it says that a person must act.
        let weight = |class| match class {
            FailureClass::Fatal => 2,
            FailureClass::Restart => 1,
            _ => 0,
        };
        if failed.as_ref().is_none_or(|first| weight(failure.class) > weight(first.class)) {
            *failed = Some(failure);
        }
        self.halt.cancel();
        self.tasks.abort_all();
    }
}
