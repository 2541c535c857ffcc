//! The shop of one test with everything between it and its documents: a database, a search engine, a proxy before that, and the
//! questions that tests of delivery ask.

use std::time::Duration;

use docmill::Engine;
use docmill::pipeline::FlowLimits;
use reqwest::Method;
use serde_json::Value;

use super::command::{Docmill, Shop};
use super::holding_proxy::HoldingProxy;
use super::opensearch::OpenSearch;
use super::postgres::Database;
use super::running::{Loud, Running};
use super::shop::{self, ShopDocuments, await_equal};

/// How long a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A shop, seeded and not indexed yet.
pub struct Stand {
    pub database: Database,
    /// The search engine itself: what a test asks is no part of what the proxy sees.
    pub search: OpenSearch,
    pub proxy: HoldingProxy,
}

impl Stand {
    /// On the shared node.
    pub async fn new(users: u32, products: u32) -> Self {
        Self::on(OpenSearch::fresh().await, users, products).await
    }

    /// On any node.
    pub async fn on(search: OpenSearch, users: u32, products: u32) -> Self {
        Self::of(Database::fresh().await, search, users, products).await
    }

    /// With any database.
    pub async fn of(database: Database, search: OpenSearch, users: u32, products: u32) -> Self {
        shop::create(&database, users, products).await;
        let proxy = HoldingProxy::before(&search).await;
        Self { database, search, proxy }
    }

    /// The command's shop, through the proxy, with short timeouts and that late window. `more` is added to the pipeline.
    pub fn command(&self, late_window: Duration, more: &str) -> Shop {
        let more = format!(
            "sink = \"short\"\nlate_window = \"{}ms\"\n{more}\n\n[sinks.short]\ntype = \"opensearch\"\nurl = \"{}\"\n\
             connect_timeout = \"500ms\"\nrequest_timeout = \"1s\"\nshard_timeout = \"500ms\"",
            late_window.as_millis(),
            self.proxy.search().url
        );
        Shop::new(&self.database, self.proxy.search(), &more)
    }

    /// An engine in this process, through the proxy.
    pub async fn engine(&self, limits: FlowLimits) -> Running {
        self.engine_with(limits, |engine| engine).await
    }

    /// The same, with the engine changed before it runs.
    pub async fn engine_with(&self, limits: FlowLimits, change: impl FnOnce(Engine) -> Engine) -> Running {
        let options = docmill::opensearch::OpenSearchOptions {
            url: self.proxy.search().url.clone(),
            index_prefix: self.search.prefix.clone(),
            request_timeout: Duration::from_secs(1),
            ..Default::default()
        };
        super::install_crypto();
        let sink = docmill::opensearch::OpenSearch::connect(options).await;
        let sink = sink.unwrap_or_else(|failure| panic!("{}", failure.chain()));
        let observer = std::sync::Arc::new(Loud);
        Running::into(&self.database, sink, observer, |engine| change(engine.with_limits(limits))).await
    }

    /// Runs statements.
    pub async fn sql(&self, statements: &str) {
        self.database.sql(statements).await;
    }

    /// One text from the database.
    pub async fn ask(&self, query: &str) -> String {
        self.database.ask(query).await
    }

    /// Where the source's log ends now.
    pub async fn position(&self) -> String {
        self.ask("select pg_current_wal_insert_lsn()::text").await
    }

    /// Whether the slot is confirmed up to a position.
    pub async fn confirmed(&self, position: &str) -> bool {
        let query = format!(
            "select coalesce(bool_or(confirmed_flush_lsn >= '{position}'::pg_lsn), false)::text from pg_replication_slots
             where slot_name = 'docmill_' || current_database()"
        );
        self.ask(&query).await == "true"
    }

    /// Waits until the slot is confirmed up to a position.
    pub async fn await_confirmed(&self, position: &str) {
        self.until("the slot is confirmed", async || self.confirmed(position).await).await;
    }

    /// Waits for anything.
    pub async fn until(&self, what: &str, mut reached: impl AsyncFnMut() -> bool) {
        let begin = std::time::Instant::now();
        while !reached().await {
            assert!(begin.elapsed() < PATIENCE, "after {PATIENCE:?} it is not so: {what}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until the documents are what SQL says.
    pub async fn equal(&self) {
        await_equal(&self.database, &self.search, PATIENCE).await;
    }

    /// How many documents are not what SQL says now.
    pub async fn differences(&self) -> usize {
        let expected = ShopDocuments::from_sql(&self.database.url).await;
        expected.differences(&ShopDocuments::from_opensearch(&self.search).await).total()
    }

    /// Whether the search engine has a document now, refreshed or not.
    pub async fn has(&self, index: &str, id: &str) -> bool {
        self.search.document(index, id).await.is_some()
    }

    /// The physical index behind an alias.
    pub async fn generation(&self, index: &str) -> String {
        let found = self.search.must(Method::GET, &self.search.index(index), None).await;
        found.as_object().and_then(|found| found.keys().next().cloned()).expect("an index behind the alias")
    }

    /// Makes the search engine forget the versions of deletions, as a flush and the opening of a closed index do.
    pub async fn forget_deletions(&self, index: &str) {
        let generation = self.generation(index).await;
        for step in ["_flush", "_close", "_open"] {
            self.search.must(Method::POST, &format!("{generation}/{step}"), None).await;
        }
        self.await_started(index).await;
    }

    /// Waits until the shards of an index answer.
    pub async fn await_started(&self, index: &str) {
        let health = format!("_cluster/health/{}?wait_for_status=yellow&timeout=5s", self.search.index(index));
        self.until("the shards have started", async || self.search.request(Method::GET, &health, None).await.0 == 200)
            .await;
    }

    /// The state document of the pipeline.
    pub async fn state(&self) -> Value {
        let path = format!("{}/_doc/shop", self.search.index("docmill-state"));
        self.search.must(Method::GET, &path, None).await["_source"]["state"].clone()
    }

    /// Waits until the command says of itself that it is live, and the documents are what SQL says.
    pub async fn in_step(&self, docmill: &Docmill) {
        docmill.await_live(PATIENCE).await;
        self.equal().await;
    }
}

/// Limits with that late window, and indexes looked at often.
pub fn limits(late_window: Duration) -> FlowLimits {
    FlowLimits { late_window, index_look_every: Duration::from_millis(500), ..FlowLimits::default() }
}
