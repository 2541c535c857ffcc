//! The good pipeline beside a hostile one: a change every few milliseconds, each timed from its commit to its document.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use docmill::Engine;
use docmill::edges::{Failure, Observer, Written};
use docmill::ndjson::Ndjson;
use docmill::pipeline::{FailurePolicies, OnRejected};
use docmill::wasm::{Limits, Runtime, WasmBuilder};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::lines::documents;
use super::stage::{Started, folder, limits, source, until};
use crate::support::postgres::Database;

/// Between two of its changes.
const EVERY: Duration = Duration::from_millis(8);
/// A row goes when that many came after it.
const ROWS_KEPT: u64 = 500;

/// See the module.
pub struct Neighbour {
    database: Database,
    file: PathBuf,
    watch: Arc<Watch>,
    pipeline: Started,
    load: Mutex<Option<Load>>,
}

/// When the rows were committed and the documents of them durable, by number.
#[derive(Debug, Default)]
struct Watch {
    committed: Mutex<Vec<Instant>>,
    written: Mutex<HashMap<u64, Instant>>,
}

impl Observer for Watch {
    fn on_written(&self, written: &Written) {
        let now = Instant::now();
        let mut seen = locked(&self.written);
        for number in written.documents.iter().filter_map(|id| id.parse().ok()) {
            seen.entry(number).or_insert(now);
        }
    }

    fn on_error(&self, failure: &Failure) {
        println!("the neighbour: {}", failure.chain());
    }
}

struct Load {
    stop: CancellationToken,
    ended: AbortOnDropHandle<()>,
}

impl Neighbour {
    /// Call it on the threads that it is to live on.
    pub async fn begin(database: Database, guests: Arc<Runtime>, minimal: Vec<u8>) -> Self {
        let client = database.connect().await;
        let tables = "create schema neighbour; create table neighbour.tags (id int primary key, name text not null)";
        client.batch_execute(tables).await.expect("a table");
        let builder = WasmBuilder::load(&guests, &minimal, json!({}), Limits::default(), "neighbour").await;
        let builder = builder.unwrap_or_else(|failure| panic!("{}", failure.chain()));
        let file = folder().join("neighbour.ndjson");
        let watch = Arc::new(Watch::default());
        let engine = Engine::new(source(&database, "neighbour"), builder, Ndjson::file(&file).expect("a file"))
            .with_name("neighbour")
            .with_schema("neighbour")
            .with_limits(limits())
            .with_observer(Arc::clone(&watch) as _)
            .with_failure_policies(FailurePolicies::all(OnRejected::Stop));
        let pipeline = Started::on(&tokio::runtime::Handle::current(), engine);
        Self { database, file, watch, pipeline, load: Mutex::new(None) }
    }

    /// Begins to change rows; call it on the stage's threads. It goes on until [`rest`](Self::rest).
    pub fn work(&self) {
        let stop = CancellationToken::new();
        let load = write(self.database.clone(), Arc::clone(&self.watch), stop.clone());
        *locked(&self.load) = Some(Load { stop, ended: AbortOnDropHandle::new(tokio::spawn(load)) });
    }

    /// Ends the load, waits until all of it is in the documents, and compares them with the rows.
    pub async fn rest(&self) {
        let load = locked(&self.load).take().expect("there is load");
        load.stop.cancel();
        load.ended.await.expect("the load does not panic");
        until("the neighbour's documents are what SQL says", async || {
            assert!(self.pipeline.is_running(), "the neighbour ended");
            documents(&self.file) == self.expected().await
        })
        .await;
    }

    async fn expected(&self) -> BTreeMap<String, Value> {
        let client = self.database.connect().await;
        let rows = client.query("select id, name from neighbour.tags", &[]).await.expect("rows");
        let row = |row: &tokio_postgres::Row| {
            let (id, name): (i32, String) = (row.get(0), row.get(1));
            (id.to_string(), json!({ "id": id, "name": name }))
        };
        rows.iter().map(row).collect()
    }

    /// How many changes were committed so far.
    pub fn changes(&self) -> u64 {
        locked(&self.watch.committed).len() as u64
    }

    /// How long each of these changes took from commit to document; waits for the last of them.
    pub async fn took(&self, changes: std::ops::Range<u64>) -> Vec<Duration> {
        let all = changes.end - changes.start;
        until("the neighbour has written its documents", async || {
            assert!(self.pipeline.is_running(), "the neighbour ended");
            let written = locked(&self.watch.written);
            changes.clone().filter(|number| written.contains_key(number)).count() as u64 == all
        })
        .await;
        let (committed, written) = (locked(&self.watch.committed), locked(&self.watch.written));
        changes.map(|number| written[&number].saturating_duration_since(committed[number as usize])).collect()
    }
}

async fn write(database: Database, watch: Arc<Watch>, stop: CancellationToken) {
    let client = database.connect().await;
    let sql = "with gone as (delete from neighbour.tags where id = $1::int - $2::int) \
               insert into neighbour.tags values ($1::int, 'tag ' || $1::int)";
    let sql = client.prepare(sql).await.expect("a statement");
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let number = locked(&watch.committed).len() as i32;
        client.execute(&sql, &[&number, &(ROWS_KEPT as i32)]).await.expect("a change");
        locked(&watch.committed).push(Instant::now());
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
