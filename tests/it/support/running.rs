//! An engine running in the test's process: the shop's real component between a real PostgreSQL and a real OpenSearch.

use std::sync::Arc;
use std::time::Duration;

use docmill::Engine;
use docmill::edges::{Failure, Observer, Sink};
use docmill::opensearch::{OpenSearch as Search, OpenSearchOptions};
use docmill::pipeline::{FailurePolicies, FlowLimits, OnRejected, Summary};
use docmill::postgres::{Postgres, PostgresOptions};
use docmill::wasm::{Limits, Runtime, RuntimeOptions, WasmBuilder};
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::opensearch::OpenSearch;
use super::postgres::Database;

/// The engine's limits with a short late window: nothing between a test and its sink holds a request for long, unless a test
/// says so.
pub fn limits() -> FlowLimits {
    FlowLimits { late_window: Duration::from_secs(1), ..FlowLimits::default() }
}

/// The component that is checked in.
pub const SHOP_WASM: &[u8] = include_bytes!("../../../src/embedded/shop/shop.wasm");

/// The shop's builder; compiled once for the test process.
pub async fn shop_builder() -> Arc<WasmBuilder> {
    static BUILDER: OnceCell<Arc<WasmBuilder>> = OnceCell::const_new();
    let load = || async { load_builder(SHOP_WASM, "shop").await };
    Arc::clone(BUILDER.get_or_init(load).await)
}

/// Any component, on the test process's runtime for guests.
pub async fn load_builder(wasm: &[u8], name: &str) -> Arc<WasmBuilder> {
    WasmBuilder::load(&runtime(), wasm, serde_json::json!({}), Limits::default(), name)
        .await
        .unwrap_or_else(|failure| panic!("{}", failure.chain()))
}

/// The test process's one runtime for guests.
pub fn runtime() -> Arc<Runtime> {
    static RUNTIME: std::sync::OnceLock<Arc<Runtime>> = std::sync::OnceLock::new();
    Arc::clone(RUNTIME.get_or_init(|| Runtime::new(RuntimeOptions::default()).expect("a runtime for guests")))
}

/// The database as a source, with a slot of its own.
pub fn source(database: &Database) -> Arc<Postgres> {
    source_with(database, |_| {})
}

/// The same, with other options.
pub fn source_with(database: &Database, change: impl FnOnce(&mut PostgresOptions)) -> Arc<Postgres> {
    super::install_crypto();
    let mut options = PostgresOptions {
        url: database.url.clone(),
        slot: format!("docmill_{}", database.name),
        publication: "docmill".to_owned(),
        ..PostgresOptions::default()
    };
    change(&mut options);
    Postgres::new(options).unwrap_or_else(|failure| panic!("{}", failure.chain()))
}

/// The test's indexes as a sink.
pub async fn sink(search: &OpenSearch) -> Arc<Search> {
    super::install_crypto();
    let options = OpenSearchOptions {
        url: search.url.clone(),
        index_prefix: search.prefix.clone(),
        ..OpenSearchOptions::default()
    };
    Search::connect(options).await.unwrap_or_else(|failure| panic!("{}", failure.chain()))
}

/// Prints what fails and is tried again, so that a test that waits in vain says why.
#[derive(Debug)]
pub struct Loud;

impl Observer for Loud {
    fn on_error(&self, failure: &Failure) {
        println!("tried again: {}", failure.chain());
    }

    fn on_rejected(&self, index: &str, id: &str, rejection: &docmill::model::Rejection) {
        println!("rejected: {index}/{id}: {rejection} {:?}", rejection.detail);
    }
}

/// A running engine. Dropped, it is cut off where it is.
#[derive(Debug)]
pub struct Running {
    shutdown: CancellationToken,
    engine: JoinHandle<Result<Summary, Failure>>,
}

impl Running {
    /// The shop between `database` and `search`.
    pub async fn shop(database: &Database, search: &OpenSearch) -> Self {
        Self::shop_with(database, search, |engine| engine).await
    }

    /// The same, with the engine changed before it runs.
    pub async fn shop_with(database: &Database, search: &OpenSearch, change: impl FnOnce(Engine) -> Engine) -> Self {
        Self::into(database, sink(search).await, Arc::new(Loud), change).await
    }

    /// The shop of `database` into any sink.
    pub async fn into(
        database: &Database,
        sink: Arc<dyn Sink>,
        observer: Arc<dyn Observer>,
        change: impl FnOnce(Engine) -> Engine,
    ) -> Self {
        let engine = Engine::new(source(database), shop_builder().await, sink)
            .with_name("shop")
            .with_limits(limits())
            .with_observer(observer)
            .with_failure_policies(FailurePolicies::all(OnRejected::Stop));
        Self::start(change(engine))
    }

    /// Any engine.
    pub fn start(engine: Engine) -> Self {
        let shutdown = CancellationToken::new();
        let run = engine.with_shutdown(shutdown.clone()).run();
        let engine = tokio::spawn(async move {
            let ended = run.await;
            if let Err(failure) = &ended {
                println!("the engine failed: {}", failure.chain());
            }
            ended
        });
        Self { shutdown, engine }
    }

    /// Tells it to drain, and waits for its report. Panics when it failed.
    pub async fn stop(self) -> Summary {
        self.shutdown.cancel();
        self.ended().await.unwrap_or_else(|failure| panic!("the engine failed: {}", failure.chain()))
    }

    /// Waits until it ends by itself.
    pub async fn ended(self) -> Result<Summary, Failure> {
        self.engine.await.expect("the engine does not panic")
    }

    /// Cuts it off in the middle of whatever it does, as far as a process can do that to a part of itself.
    pub async fn cut(self) {
        self.engine.abort();
        // Its tasks are gone when the abort has been seen.
        let _ = self.engine.await;
    }

    /// Whether it is still running.
    pub fn is_running(&self) -> bool {
        !self.engine.is_finished()
    }
}
