//! The two halves of the flow meet only at the work queue: a second back half may freeze and wake when its work went to
//! another, and documents still equal SQL.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use docmill::Engine;
use docmill::edges::{
    ChangeCapture, DocumentBuilder, Failure, IndexAdmin, Lease, Ownership, Settled, Silent, Sink, State, TaskReport,
    Ticket, WorkQueue, Write, WriteOutcome,
};
use docmill::model::{QuarantineRecord, Task};
use docmill::pipeline::back::Back;
use docmill::pipeline::{Failing, FailurePolicies, FlowLimits, InProcessQueue, Owner};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::support::opensearch::OpenSearch;
use super::support::postgres::Database;
use super::support::running::{Running, shop_builder, sink, source};
use super::support::shop::{self, await_equal};

/// A queue that takes a task away from whoever holds it too long, as a broker does, while the holder goes on unknowing.
#[derive(Debug)]
struct Lapsing {
    queue: InProcessQueue,
    held: Arc<Mutex<HashMap<Ticket, Lease>>>,
}

impl Lapsing {
    fn new() -> Self {
        Self { queue: InProcessQueue::new(100), held: Arc::default() }
    }

    /// Everything that is held goes to others; whoever holds it may finish it in vain.
    fn lapse(&self) -> usize {
        let held = std::mem::take(&mut *self.held.lock().unwrap());
        held.len()
    }
}

#[async_trait]
impl WorkQueue for Lapsing {
    async fn submit(&self, tasks: Vec<Task>) -> Result<Ticket, Failure> {
        self.queue.submit(tasks).await
    }

    async fn next(&self) -> Result<Option<Lease>, Failure> {
        let Some(lease) = self.queue.next().await? else { return Ok(None) };
        let (task, ticket) = (lease.task().clone(), lease.ticket());
        self.held.lock().unwrap().insert(ticket, lease);
        let held = Arc::clone(&self.held);
        let settle = move |ticket: Ticket, settled: Settled| {
            // A lapsed lease is not there any more, or is another's: finishing a task twice is what brokers allow.
            if let Some(lease) = held.lock().unwrap().remove(&ticket)
                && let Settled::Finished(report) = settled
            {
                lease.finish(report);
            }
        };
        Ok(Some(Lease::new(task, ticket, Box::new(settle))))
    }

    async fn finished(&self) -> Result<Vec<(Ticket, TaskReport)>, Failure> {
        self.queue.finished().await
    }

    fn close(&self) {
        self.queue.close();
    }
}

/// A sink that holds every write until it is woken.
#[derive(Debug)]
struct Freezing {
    sink: Arc<dyn Sink>,
    frozen: AtomicBool,
    holding: AtomicUsize,
    woken: Notify,
}

#[async_trait]
impl Sink for Freezing {
    async fn write(&self, writes: &[Write], ownership: &dyn Ownership) -> Result<Vec<WriteOutcome>, Failure> {
        let woken = self.woken.notified();
        if self.frozen.load(Ordering::SeqCst) {
            self.holding.fetch_add(1, Ordering::SeqCst);
            woken.await;
        }
        self.sink.write(writes, ownership).await
    }

    async fn quarantine(&self, records: &[QuarantineRecord]) -> Result<(), Failure> {
        self.sink.quarantine(records).await
    }

    fn indexes(&self) -> Arc<dyn IndexAdmin> {
        self.sink.indexes()
    }

    fn state(&self) -> Arc<dyn State> {
        self.sink.state()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_back_half_that_wakes_when_its_work_went_to_another_changes_nothing() {
    let database = Database::fresh().await;
    shop::create(&database, 50, 20).await;
    let search = OpenSearch::fresh().await;
    let (queue, sink) = (Arc::new(Lapsing::new()), sink(&search).await);
    let engine = Engine::new(source(&database), shop_builder().await, Arc::clone(&sink) as Arc<dyn Sink>)
        .with_name("shop")
        .with_limits(FlowLimits { live_workers: 1, ..FlowLimits::default() })
        .with_work_queue(Arc::clone(&queue) as Arc<dyn WorkQueue>);
    let engine = Running::start(engine);
    await_equal(&database, &search, Duration::from_secs(60)).await;

    let freezing =
        Arc::new(Freezing { sink, frozen: AtomicBool::new(true), holding: AtomicUsize::new(0), woken: Notify::new() });
    let builder = shop_builder().await;
    let reader = source(&database).reader();
    let state = freezing.state();
    let token = state.load("shop").await.expect("an answer").expect("a state").0.owner;
    let ownership =
        Owner::new(state, "shop", &token, FlowLimits::default(), Arc::new(Silent), CancellationToken::new());
    let failing = Failing::new(builder.version().clone(), FlowLimits::default());
    let second = Arc::new(Back {
        queries: reader.prepare(builder.declaration()).await.expect("the queries prepare"),
        builder,
        reader,
        sink: Arc::clone(&freezing) as Arc<dyn Sink>,
        ownership: Arc::new(ownership),
        observer: Arc::new(Silent),
        policies: FailurePolicies::default(),
        failing: Arc::new(failing),
        limits: FlowLimits::default(),
        stop: Default::default(),
        flushed: Default::default(),
        call_sizes: Default::default(),
    });
    let workers: Vec<_> =
        (0..3).map(|_| tokio::spawn(Arc::clone(&second).work(Arc::clone(&queue) as Arc<dyn WorkQueue>))).collect();

    let client = database.connect().await;
    let mut round = 0;
    // Work goes to whoever is free; sooner or later the second half holds some that it has read and not written.
    while freezing.holding.load(Ordering::SeqCst) == 0 {
        round += 1;
        assert!(round < 200, "the second half never got work");
        client.execute("update users set name = 'before ' || id || $1", &[&format!(" {round}")]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    client.batch_execute("update users set name = 'after'; delete from users where id = 3").await.unwrap();
    // Its tasks lapse until all of the work has been done by the first half.
    let lapsed = Arc::new(AtomicUsize::new(0));
    let lapsing = tokio::spawn({
        let (queue, lapsed) = (Arc::clone(&queue), Arc::clone(&lapsed));
        async move {
            loop {
                tokio::time::sleep(Duration::from_millis(300)).await;
                lapsed.fetch_add(queue.lapse(), Ordering::SeqCst);
            }
        }
    });
    await_equal(&database, &search, Duration::from_secs(60)).await;
    assert!(lapsed.load(Ordering::SeqCst) > 0);
    freezing.frozen.store(false, Ordering::SeqCst);
    freezing.woken.notify_waiters();
    // Time for its late writes to arrive and lose.
    tokio::time::sleep(Duration::from_secs(1)).await;
    await_equal(&database, &search, Duration::from_secs(1)).await;
    lapsing.abort();
    engine.stop().await;
    for worker in workers {
        worker.await.expect("no panic").expect("the second half ends with the queue");
    }
}
