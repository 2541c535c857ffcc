//! Pipelines under one roof: each with a schema, a table `things` and indexes of its own, all on one source and one slot.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use docmill::Engine;
use docmill::edges::{ChangeCapture, Failure, Observer, PassReport, SharedSource};
use docmill::model::PassReason;
use docmill::opensearch::{OpenSearch as Search, OpenSearchOptions};
use docmill::pipeline::{BatchPolicy, FailurePolicies, FlowLimits, OnRejected};
use docmill::postgres::{Postgres, PostgresOptions, PostgresTenant};
use docmill::tenants::{SharedCapture, SharingOptions};
use serde_json::{Value, json};

use super::holding_proxy::HoldingProxy;
use super::http::Fault;
use super::opensearch::OpenSearch;
use super::postgres::Database;
use super::rowwise::Rowwise;
use super::running::Running;
use super::stand::PATIENCE;

/// One process's share of a source.
pub struct House {
    pub database: Database,
    options: PostgresOptions,
    postgres: Arc<Postgres>,
    pub shared: Arc<SharedCapture>,
}

impl House {
    /// On a database, with the slot `docmill_DATABASE`.
    pub fn on(database: &Database, sharing: SharingOptions) -> Self {
        Self::reading(database, sharing, PostgresOptions::default().read_connections_total)
    }

    /// The same, whose pipelines have that many read connections together.
    pub fn reading(database: &Database, sharing: SharingOptions, read_connections_total: usize) -> Self {
        super::install_crypto();
        let options = PostgresOptions {
            url: database.url.clone(),
            slot: format!("docmill_{}", database.name),
            heartbeat: Some(Duration::from_secs(1)),
            read_connections_total,
            ..PostgresOptions::default()
        };
        let postgres = Postgres::shared(options.clone()).unwrap_or_else(|failure| panic!("{}", failure.chain()));
        let shared = SharedCapture::new(Arc::clone(&postgres) as Arc<dyn SharedSource>, sharing);
        Self { database: database.clone(), options, postgres, shared }
    }

    /// The capture of one of its pipelines. All that begin together are asked for first.
    pub fn capture(&self, tenant: &Tenant, max_lag: u64) -> Arc<dyn ChangeCapture> {
        let options = PostgresOptions {
            schema: tenant.name.clone(),
            reader_url: tenant.reader_url.clone(),
            ..self.options.clone()
        };
        let rows = PostgresTenant::new(&self.postgres, options).unwrap_or_else(|failure| panic!("{}", failure.chain()));
        self.shared.tenant(&tenant.name, max_lag, rows)
    }

    /// The source that they share.
    pub fn postgres(&self) -> &Arc<Postgres> {
        &self.postgres
    }

    /// How rows of a schema are read.
    pub fn options(&self, schema: &str) -> PostgresOptions {
        PostgresOptions { schema: schema.to_owned(), ..self.options.clone() }
    }

    /// Runs statements.
    pub async fn sql(&self, statements: &str) {
        self.database.sql(statements).await;
    }

    /// One text from the database.
    pub async fn ask(&self, query: &str) -> String {
        self.database.ask(query).await
    }

    /// The slots of this database, each with what it is confirmed to.
    pub async fn slots(&self) -> Vec<String> {
        let query = "select slot_name::text from pg_replication_slots where database = current_database() order by 1";
        let rows = self.database.connect().await.query(query, &[]).await.expect("the slots");
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Waits until the shared slot is confirmed up to where the log ends now.
    pub async fn await_confirmed(&self) {
        let end = self.ask("select pg_current_wal_insert_lsn()::text").await;
        let query = format!(
            "select (confirmed_flush_lsn >= '{end}')::text from pg_replication_slots where slot_name = '{}'",
            self.options.slot
        );
        let begin = Instant::now();
        while self.ask(&query).await != "true" {
            assert!(begin.elapsed() < PATIENCE, "the shared slot is not confirmed to {end}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until that many slots are there.
    pub async fn await_slots(&self, count: usize) {
        let begin = Instant::now();
        while self.slots().await.len() != count {
            assert!(begin.elapsed() < PATIENCE, "there are {:?}, not {count}", self.slots().await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// One pipeline: a schema, a search engine behind a proxy, and what was seen of it.
pub struct Tenant {
    pub name: String,
    pub reader_url: Option<String>,
    pub search: OpenSearch,
    pub proxy: HoldingProxy,
    pub seen: Arc<Seen>,
    running: Option<Running>,
}

impl Tenant {
    /// With a schema of that name, which holds the rows `1` to `rows`.
    pub async fn new(database: &Database, name: &str, rows: u32) -> Self {
        let search = OpenSearch::fresh().await;
        let proxy = HoldingProxy::before(&search).await;
        let this = Self { name: name.to_owned(), reader_url: None, search, proxy, seen: Arc::default(), running: None };
        let statements = format!(
            "create schema {name}; create table {name}.things (id text primary key, name text not null); \
             insert into {name}.things select g::text, 'thing ' || g from generate_series(1, {rows}) g"
        );
        database.connect().await.batch_execute(&statements).await.expect("a schema with a table");
        this
    }

    /// Begins to run, with room for a few hundred changes.
    pub async fn run(&mut self, capture: Arc<dyn ChangeCapture>) {
        let options = OpenSearchOptions {
            url: self.proxy.search().url.clone(),
            index_prefix: self.search.prefix.clone(),
            request_timeout: Duration::from_secs(3),
            ..OpenSearchOptions::default()
        };
        let sink = Search::connect(options).await.unwrap_or_else(|failure| panic!("{}", failure.chain()));
        let limits = FlowLimits {
            late_window: Duration::from_secs(1),
            queue_events_max: 500,
            backoff_longest: Duration::from_secs(1),
            drain_for: Duration::from_secs(5),
            ..FlowLimits::default()
        };
        let builder = Arc::new(Rowwise::new("b"));
        // So that a few hundred changes are all that may be under way.
        let batch = BatchPolicy { max_changes: 100, ..BatchPolicy::default() };
        let engine = Engine::new(capture, builder, sink)
            .with_name(self.name.as_str())
            .with_schema(self.name.as_str())
            .with_observer(Arc::clone(&self.seen) as _)
            .with_limits(limits)
            .with_batch(batch)
            .with_failure_policies(FailurePolicies::all(OnRejected::Stop));
        self.running = Some(Running::start(engine));
    }

    /// Ends it in order.
    pub async fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
    }

    /// Ends it as a crash of its process would.
    pub async fn cut_off(&mut self) {
        if let Some(running) = self.running.take() {
            running.cut().await;
        }
    }

    /// From now on its search engine answers nothing but 503.
    pub fn sink_goes_down(&self) {
        self.proxy.server().fail_always(|_| true, Fault::Answer(503, json!({"error": {"type": "down"}})));
    }

    pub fn sink_comes_back(&self) {
        self.proxy.server().heal();
    }

    /// The documents that its rows make.
    pub async fn expected(&self, house: &House) -> BTreeMap<String, Value> {
        let query = format!("select id, name from {}.things", self.name);
        let rows = house.database.connect().await.query(&query, &[]).await.expect("rows");
        let document = |row: &tokio_postgres::Row| {
            let (id, name): (String, String) = (row.get(0), row.get(1));
            (id, json!({"name": name, "builder": "b"}))
        };
        rows.iter().map(document).collect()
    }

    /// Waits until the documents are what its rows make; how long that took.
    pub async fn equal(&self, house: &House) -> Duration {
        let begin = Instant::now();
        loop {
            let (expected, found) =
                (self.expected(house).await, self.search.documents("things").await.unwrap_or_default());
            if expected == found {
                return begin.elapsed();
            }
            let compared = super::difference::compare(&self.name, &expected, &found);
            assert!(begin.elapsed() < PATIENCE, "{}: {}", self.name, compared.expect_err("they differ"));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Writes one row, and waits until its document is there; how long that took.
    pub async fn probe(&self, house: &House, id: &str) -> Duration {
        house.sql(&format!("insert into {}.things values ('{id}', 'a probe')", self.name)).await;
        let begin = Instant::now();
        while self.search.document("things", id).await.is_none() {
            assert!(begin.elapsed() < PATIENCE, "{}: the probe does not arrive", self.name);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        begin.elapsed()
    }
}

/// What happened to one pipeline.
#[derive(Debug, Default)]
pub struct Seen {
    passes: Mutex<Vec<PassReason>>,
    errors: Mutex<Vec<String>>,
    fences: AtomicUsize,
}

impl Seen {
    /// Transactions whose time at the fence was told.
    pub fn fences(&self) -> usize {
        self.fences.load(Ordering::Relaxed)
    }

    /// Why documents were assembled again, once for each pass.
    pub fn passes(&self) -> Vec<PassReason> {
        self.passes.lock().expect("nobody panicked").clone()
    }

    /// Everything that failed.
    pub fn errors(&self) -> Vec<String> {
        self.errors.lock().expect("nobody panicked").clone()
    }

    /// From here on.
    pub fn forget(&self) {
        self.passes.lock().expect("nobody panicked").clear();
        self.errors.lock().expect("nobody panicked").clear();
    }
}

impl Observer for Seen {
    fn on_pass(&self, report: &PassReport) {
        if report.done {
            self.passes.lock().expect("nobody panicked").push(report.reason);
        }
    }

    fn on_fence(&self, _waited: Duration) {
        self.fences.fetch_add(1, Ordering::Relaxed);
    }

    fn on_error(&self, failure: &Failure) {
        println!("tried again: {}", failure.chain());
        self.errors.lock().expect("nobody panicked").push(failure.chain());
    }
}
