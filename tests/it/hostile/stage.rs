//! One process for all hostile cases: a PostgreSQL, threads and a runtime for guests that pipelines share as they do in the command,
//! and a good pipeline under a steady load whose every change is timed.
//!
//! A case has the stage for itself, runs its hostile pipeline on it, and asks at the end whether the neighbour noticed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use docmill::Engine;
use docmill::edges::Failure;
use docmill::pipeline::{FlowLimits, Summary};
use docmill::postgres::{Postgres, PostgresOptions};
use docmill::wasm::{Runtime, RuntimeOptions};
use tokio::sync::{MutexGuard, OnceCell};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::neighbour::Neighbour;
use crate::support::guest;
use crate::support::postgres::Database;

/// See the module.
pub struct Stage {
    /// Where both pipelines' flows run.
    threads: tokio::runtime::Runtime,
    pub guests: Arc<Runtime>,
    pub database: Database,
    pub evil: Vec<u8>,
    pub neighbour: Neighbour,
}

static STAGE: OnceCell<Stage> = OnceCell::const_new();
static ONE_CASE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
static FOLDER: Mutex<Option<tempfile::TempDir>> = Mutex::new(None);

impl Stage {
    /// The stage, for one case at a time: two would be each other's noise.
    pub async fn alone() -> (&'static Self, MutexGuard<'static, ()>) {
        let alone = ONE_CASE.lock().await;
        (STAGE.get_or_init(Self::begin).await, alone)
    }

    async fn begin() -> Self {
        crate::support::install_crypto();
        let threads = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("stage").build();
        let threads = threads.expect("threads");
        let guests = Runtime::new(RuntimeOptions::default()).expect("a runtime for guests");
        let database = Database::fresh().await;
        let minimal = std::fs::read(guest::built("minimal").await).expect("the built component");
        let evil = std::fs::read(guest::built("evil").await).expect("the built component");
        let beginning = Neighbour::begin(database.clone(), Arc::clone(&guests), minimal);
        let neighbour = threads.spawn(beginning).await.expect("the neighbour begins");
        Self { threads, guests, database, evil, neighbour }
    }

    /// Does something on the threads that the flows run on: what it opens (connections, pools) lives there.
    pub async fn here<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        AbortOnDropHandle::new(self.threads.spawn(work)).await.expect("it does not panic")
    }

    /// The stage's database as the source of a pipeline in that schema.
    pub fn source(&self, schema: &str) -> Arc<Postgres> {
        // Its connections live where it is made.
        let _here = self.threads.enter();
        source(&self.database, schema)
    }

    /// Runs an engine beside the neighbour's.
    pub fn run(&self, engine: Engine) -> Started {
        Started::on(self.threads.handle(), engine)
    }
}

/// An engine that runs. Dropped, it is cut off where it is.
pub struct Started {
    shutdown: CancellationToken,
    ended: AbortOnDropHandle<Result<Summary, Failure>>,
}

impl Started {
    pub fn on(threads: &tokio::runtime::Handle, engine: Engine) -> Self {
        let shutdown = CancellationToken::new();
        let run = engine.with_shutdown(shutdown.clone()).run();
        let ended = AbortOnDropHandle::new(threads.spawn(async {
            let ended = run.await;
            if let Err(failure) = &ended {
                println!("a pipeline ended: {}", failure.chain());
            }
            ended
        }));
        Self { shutdown, ended }
    }

    pub fn is_running(&self) -> bool {
        !self.ended.is_finished()
    }

    /// Waits until it ends by itself.
    pub async fn ended(self) -> Result<Summary, Failure> {
        self.ended.await.expect("no pipeline panics")
    }

    /// Tells it to drain and to end.
    pub async fn stop(self) -> Result<Summary, Failure> {
        self.shutdown.cancel();
        self.ended().await
    }
}

/// The stage's database as the source of one pipeline, with its own schema, slot and publication.
pub fn source(database: &Database, schema: &str) -> Arc<Postgres> {
    let name = format!("{}_{schema}", database.name);
    let options = PostgresOptions {
        url: database.url.clone(),
        slot: name.clone(),
        publication: name,
        schema: schema.to_owned(),
        // What a call may read is read for it, at the cost of others: as much as an operator of many tenants would let it, unoptimised.
        rows_per_call_max: 20_000,
        ..PostgresOptions::default()
    };
    Postgres::new(options).unwrap_or_else(|failure| panic!("{}", failure.chain()))
}

/// Limits of both flows: nothing between them and their sinks holds a request for long.
pub fn limits() -> FlowLimits {
    FlowLimits { late_window: Duration::from_secs(1), ..FlowLimits::default() }
}

/// A folder for the sinks' files, which goes with the process. It is in memory where the machine has such a place: a file system
/// that flushes one file writes what others have begun, so on a disk the neighbour would wait for the bytes of a pipeline whose
/// documents are enormous, and the disk would be judged.
pub fn folder() -> std::path::PathBuf {
    extern "C" fn remove() {
        drop(FOLDER.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
    let mut folder = FOLDER.lock().unwrap_or_else(PoisonError::into_inner);
    let made = folder.get_or_insert_with(|| {
        // SAFETY: the handler is a plain function that lives as long as the program.
        unsafe { libc::atexit(remove) };
        tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder")
    });
    made.path().to_owned()
}

/// Waits for what must come soon.
pub async fn until(what: &str, mut reached: impl AsyncFnMut() -> bool) {
    const PATIENCE: Duration = Duration::from_secs(60);
    let begin = Instant::now();
    while !reached().await {
        assert!(begin.elapsed() < PATIENCE, "after {PATIENCE:?} it is not so: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
