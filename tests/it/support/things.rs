//! A table `things` and the engine that keeps its index in step, with a builder of the test's own ([`Rowwise`]).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use docmill::Engine;
use docmill::edges::DocumentBuilder;
use docmill::opensearch::{OpenSearch as Search, OpenSearchOptions};
use docmill::pipeline::{FailurePolicies, FlowLimits, OnRejected};
use serde_json::{Value, json};

use super::holding_proxy::HoldingProxy;
use super::opensearch::OpenSearch;
use super::postgres::Database;
use super::rowwise::Rowwise;
use super::running::{Loud, Running, source};
use super::stand::PATIENCE;

/// A database with the table, and a search engine behind a proxy.
pub struct Things {
    pub database: Database,
    pub search: OpenSearch,
    pub proxy: HoldingProxy,
}

impl Things {
    /// With the rows `1` to `rows`.
    pub async fn new(rows: u32) -> Self {
        let (database, search) = (Database::fresh().await, OpenSearch::fresh().await);
        let proxy = HoldingProxy::before(&search).await;
        let this = Self { database, search, proxy };
        this.sql("create table things (id text primary key, name text not null)").await;
        this.sql(&format!("insert into things select g::text, 'thing ' || g from generate_series(1, {rows}) g")).await;
        this
    }

    /// Runs statements.
    pub async fn sql(&self, statements: &str) {
        self.database.sql(statements).await;
    }

    /// Keeps the index in step by this builder.
    pub async fn run(&self, builder: Rowwise, late_window: Duration, on_rejected: OnRejected) -> Running {
        super::install_crypto();
        let options = OpenSearchOptions {
            url: self.proxy.search().url.clone(),
            index_prefix: self.search.prefix.clone(),
            request_timeout: Duration::from_secs(1),
            ..OpenSearchOptions::default()
        };
        let sink = Search::connect(options).await.unwrap_or_else(|failure| panic!("{}", failure.chain()));
        let builder: Arc<dyn DocumentBuilder> = Arc::new(builder);
        let engine = Engine::new(source(&self.database), builder, sink)
            .with_name("things")
            .with_observer(Arc::new(Loud))
            .with_limits(FlowLimits { late_window, ..FlowLimits::default() })
            .with_failure_policies(FailurePolicies::all(on_rejected));
        Running::start(engine)
    }

    /// What the documents of a builder of that name and prefix must be, by plain SQL.
    pub async fn expected(&self, name: &str, prefix: &str) -> BTreeMap<String, Value> {
        let rows = self.database.connect().await.query("select id, name from things", &[]).await.expect("rows");
        let document = |row: &tokio_postgres::Row| {
            let (id, text): (String, String) = (row.get(0), row.get(1));
            (format!("{prefix}{id}"), json!({"name": text, "builder": name}))
        };
        rows.iter().map(document).collect()
    }

    /// What the index holds; nothing where there is none.
    pub async fn found(&self) -> BTreeMap<String, Value> {
        self.search.documents("things").await.unwrap_or_default()
    }

    /// Waits until the index holds what a builder of that name and prefix makes of the rows.
    pub async fn await_equal(&self, name: &str, prefix: &str) {
        let begin = std::time::Instant::now();
        loop {
            let (expected, found) = (self.expected(name, prefix).await, self.found().await);
            if expected == found {
                return;
            }
            let compared = super::difference::compare("things", &expected, &found);
            assert!(begin.elapsed() < PATIENCE, "{}", compared.expect_err("they differ"));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Records in the quarantine, by the id of their document.
    pub async fn quarantined(&self) -> Vec<String> {
        self.search.refresh("docmill-quarantine").await;
        let records = self.search.documents("docmill-quarantine").await.unwrap_or_default();
        records.into_values().map(|record| record["id"].as_str().unwrap_or_default().to_owned()).collect()
    }
}
