//! One hostile pipeline on the stage: its own schema with 20 good rows, its builder, its sink; and what must become of it.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use docmill::Engine;
use docmill::edges::{DocumentBuilder, Failure, FailureClass, Observer, Sink, Written};
use docmill::model::{CellKind, ColumnBuilder, Rejection, Rows, Value as Cell};
use docmill::ndjson::Ndjson;
use docmill::opensearch::{OpenSearch as Search, OpenSearchOptions};
use docmill::pipeline::{FailurePolicies, OnRejected};
use docmill::wasm::{Limits, WasmBuilder};
use serde_json::{Value, json};
use tokio::sync::MutexGuard;
use tokio_postgres::Client;

use super::pace::keeps_its_pace;
use super::stage::{Stage, Started, folder, limits, until};
use super::{lines, wording};
use crate::support::opensearch::OpenSearch;

/// See the module.
pub struct Case {
    pub stage: &'static Stage,
    name: String,
    schema: String,
    wasm: Vec<u8>,
    pub config: Value,
    pub limits: Limits,
    on_rejected: OnRejected,
    into: Into,
    pub client: Client,
    watch: Arc<Watch>,
    running: Option<Started>,
    _alone: MutexGuard<'static, ()>,
}

enum Into {
    Lines(PathBuf),
    Search(OpenSearch),
}

/// Rows with the one column `id`.
fn ids(texts: &[&str]) -> Rows {
    let mut id = ColumnBuilder::new("id", CellKind::Text);
    texts.iter().for_each(|text| id.push(&Cell::Text((*text).into())));
    Rows::new(texts.len() as u32, vec![id.finish()]).expect("as many values as rows")
}

/// How often each document was written, deleted or rejected.
#[derive(Debug, Default)]
struct Watch(Mutex<HashMap<String, u64>>);

impl Watch {
    fn count<'a>(&self, ids: impl IntoIterator<Item = &'a String>) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ids.into_iter().for_each(|id| *counts.entry(id.clone()).or_default() += 1);
    }

    fn counts(&self) -> HashMap<String, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Observer for Watch {
    fn on_written(&self, written: &Written) {
        self.count(written.documents.iter().chain(&written.absent));
    }

    fn on_rejected(&self, _index: &str, id: &str, _rejection: &Rejection) {
        self.count([&id.to_owned()]);
    }
}

/// That misdeed on one document: it is quarantined alone, of that kind and for that reason; what its record says beside that.
pub async fn quarantines(misdeed: &str, kind: &str, reason: &str) -> String {
    Case::of(misdeed).await.quarantines(kind, reason).await
}

/// The same where the call is to blame: `reason` is what stands behind its name.
pub async fn blamed(misdeed: &str, kind: &str, reason: &str) -> String {
    let call = "builder of pipeline hostile, assemble of 1 documents of index evil";
    quarantines(misdeed, kind, &format!("{call}: {reason}")).await
}

impl Case {
    /// With the evil guest, into lines.
    pub async fn of(misdeed: &str) -> Self {
        let (stage, alone) = Stage::alone().await;
        Self::new(stage, alone, misdeed, stage.evil.clone(), json!({ "misdeed": misdeed })).await
    }

    /// With any component that declares the same.
    pub async fn made(name: &str, wasm: Vec<u8>) -> Self {
        let (stage, alone) = Stage::alone().await;
        Self::new(stage, alone, name, wasm, json!({})).await
    }

    /// The same, into a search engine.
    pub async fn searched(mut self) -> Self {
        self.into = Into::Search(OpenSearch::fresh().await);
        self
    }

    async fn new(
        stage: &'static Stage,
        alone: MutexGuard<'static, ()>,
        name: &str,
        wasm: Vec<u8>,
        config: Value,
    ) -> Self {
        static CASES: AtomicU32 = AtomicU32::new(0);
        let schema = format!("hostile_{}", CASES.fetch_add(1, Ordering::Relaxed));
        let client = stage.database.connect().await;
        let this = Self {
            stage,
            name: name.to_owned(),
            wasm,
            config,
            limits: Limits { cpu: Duration::from_millis(200), wall: Duration::from_secs(5), ..Limits::default() },
            on_rejected: OnRejected::Quarantine,
            into: Into::Lines(folder().join(format!("{schema}.ndjson"))),
            client,
            watch: Arc::default(),
            running: None,
            schema,
            _alone: alone,
        };
        let schema = &this.schema;
        this.sql(&format!("create schema {schema}; set search_path = {schema}")).await;
        this.sql(
            "create table evil (id text primary key, name text not null); \
             insert into evil select 'good-' || g, 'row ' || g from generate_series(1, 20) g",
        )
        .await;
        this
    }

    /// Runs statements in its schema.
    pub async fn sql(&self, statements: &str) {
        self.client.batch_execute(statements).await.unwrap_or_else(|error| panic!("{statements}: {error:?}"));
    }

    /// Loads its builder.
    pub async fn load(&self) -> Result<Arc<WasmBuilder>, Failure> {
        let (config, limits) = (self.config.clone(), self.limits.clone());
        WasmBuilder::load(&self.stage.guests, &self.wasm, config, limits, "hostile").await
    }

    /// Starts the pipeline.
    pub async fn start(&mut self) {
        assert!(self.running.is_none(), "it runs already");
        let builder = self.load().await.unwrap_or_else(|failure| panic!("{}", failure.chain()));
        let sink = match &self.into {
            Into::Lines(file) => {
                // The sink of a pipeline that has just failed may not have let go yet.
                let mut sink = Ndjson::file(file);
                until("the file is free", async || {
                    if sink.as_ref().is_err_and(|failure| failure.class == FailureClass::Transient) {
                        sink = Ndjson::file(file);
                    }
                    !sink.as_ref().is_err_and(|failure| failure.class == FailureClass::Transient)
                })
                .await;
                sink.map(|sink| sink as Arc<dyn Sink>)
            }
            Into::Search(search) => {
                let (url, index_prefix) = (search.url.clone(), search.prefix.clone());
                let options = OpenSearchOptions { url, index_prefix, ..OpenSearchOptions::default() };
                self.stage.here(Search::connect(options)).await.map(|sink| sink as Arc<dyn Sink>)
            }
        };
        let sink = sink.unwrap_or_else(|failure| panic!("{}", failure.chain()));
        let engine = Engine::new(self.stage.source(&self.schema), builder, sink)
            .with_name("hostile")
            .with_schema(&*self.schema)
            .with_limits(limits())
            .with_observer(Arc::clone(&self.watch) as _)
            .with_failure_policies(FailurePolicies::all(self.on_rejected));
        self.running = Some(self.stage.run(engine));
    }

    /// Waits until the pipeline ends by itself, with an error.
    pub async fn failed(&mut self) -> Failure {
        let running = self.running.take().expect("it runs");
        let ended = tokio::time::timeout(Duration::from_secs(60), running.ended()).await;
        ended.expect("it ends").expect_err("it ends with an error")
    }

    /// Ends it in order.
    pub async fn stop(&mut self) {
        let running = self.running.take().expect("it runs");
        running.stop().await.unwrap_or_else(|failure| panic!("{}", failure.chain()));
    }

    /// The same pipeline with a good builder.
    pub async fn mend(&mut self) {
        if self.running.is_some() {
            self.stop().await;
        }
        self.wasm = self.stage.evil.clone();
        self.config = json!({ "misdeed": "none" });
        self.start().await;
    }

    /// Runs statements, and waits until the documents of these ids were made anew, or refused.
    pub async fn change(&self, statements: &str, ids: &[&str]) {
        let before = self.watch.counts();
        self.sql(statements).await;
        until("the documents were made anew or refused", async || {
            self.assert_running();
            let now = self.watch.counts();
            ids.iter().all(|id| now.get(*id) > before.get(*id))
        })
        .await;
    }

    fn assert_running(&self) {
        assert!(
            self.running.as_ref().is_some_and(Started::is_running),
            "the hostile pipeline ended (it says why above)"
        );
    }

    /// Changes the evil row and a good one, which share their calls.
    pub async fn touch(&self) {
        self.change("update evil set name = name || '.' where id in ('evil-1', 'good-1')", &["evil-1", "good-1"]).await;
    }

    /// What the sink holds.
    pub async fn documents(&self) -> BTreeMap<String, Value> {
        match &self.into {
            Into::Lines(file) => lines::documents(file),
            Into::Search(search) => search.documents("evil").await.unwrap_or_default(),
        }
    }

    /// Every document of an id that was ever written into lines, in order.
    pub fn history(&self, id: &str) -> Vec<Value> {
        match &self.into {
            Into::Lines(file) => lines::history(file, id),
            Into::Search(_) => panic!("a search engine keeps the last document only"),
        }
    }

    /// What is in quarantine, by id.
    pub async fn quarantine(&self) -> BTreeMap<String, Value> {
        match &self.into {
            Into::Lines(file) => lines::quarantine(file),
            Into::Search(search) => {
                search.refresh("docmill-quarantine").await;
                let records = search.documents("docmill-quarantine").await.unwrap_or_default();
                records
                    .into_values()
                    .map(|record| (record["id"].as_str().unwrap_or_default().to_owned(), record))
                    .collect()
            }
        }
    }

    /// The documents that a good builder makes of the rows.
    pub async fn rows(&self) -> BTreeMap<String, Value> {
        let rows = self.client.query("select id, name from evil", &[]).await.expect("rows");
        let row = |row: &tokio_postgres::Row| {
            let (id, name): (String, String) = (row.get(0), row.get(1));
            (id.clone(), json!({ "id": id, "name": name }))
        };
        rows.iter().map(row).collect()
    }

    /// Waits until the sink holds what a good builder makes of every row but the evil ones.
    pub async fn await_good(&self) {
        self.await_documents(|id| !id.starts_with("evil")).await;
    }

    /// Waits until the sink holds what a good builder makes of every row, and nothing is in quarantine.
    pub async fn await_all(&self) {
        self.await_documents(|_| true).await;
        until("the quarantine is empty", async || self.quarantine().await.is_empty()).await;
    }

    async fn await_documents(&self, wanted: impl Fn(&str) -> bool) {
        until("the documents are what SQL says", async || {
            self.assert_running();
            let mut rows = self.rows().await;
            rows.retain(|id, _| wanted(id));
            let mut documents = self.documents().await;
            documents.retain(|id, _| wanted(id));
            rows == documents
        })
        .await;
    }

    /// Waits until exactly these documents are in quarantine, with that kind and that reason (`…` stands for anything).
    pub async fn await_quarantine(&self, ids: &[&str], kind: &str, reason: &str) {
        until("the right documents are in quarantine", async || self.quarantine().await.keys().eq(ids)).await;
        for (id, record) in self.quarantine().await {
            let (found, why) = (record["kind"].as_str().expect("a kind"), record["reason"].as_str().expect("a reason"));
            wording::assert_reads(found, kind);
            wording::assert_reads(why, reason);
            println!("{} | {id} | {found} | {why} | {}", self.name, record["detail"]);
        }
    }

    /// What the record of a document says beside the reason.
    pub async fn detail(&self, id: &str) -> String {
        self.quarantine().await[id]["detail"].as_str().unwrap_or_default().to_owned()
    }

    /// Asserts that the neighbour does not notice this misdeed.
    pub async fn beside_neighbour(&self, mut misbehave: impl AsyncFnMut(&Self)) {
        keeps_its_pace(self.stage, &self.name, async || misbehave(self).await).await;
    }

    /// One that never starts: with which error its builder is refused.
    pub async fn never_starts(mut self, error: &str) {
        let failure = self.load().await.expect_err("it is refused");
        println!("{} | {}", self.name, failure.chain());
        assert_eq!(failure.class, FailureClass::Fatal);
        wording::assert_reads(&failure.chain(), error);
        self.beside_neighbour(async |case| drop(case.load().await.expect_err("it is refused"))).await;
        self.mend().await;
        self.await_all().await;
    }

    /// One that fails when it is asked which documents a row leads to, and whose operator wants it to end then: with which error. With
    /// a mended builder nothing is lost.
    pub async fn ends(mut self, error: &str) {
        self.on_rejected = OnRejected::Stop;
        self.start().await;
        self.await_all().await;
        self.sql("insert into evil values ('evil-1', 'one'); update evil set name = 'changed' where id = 'good-1'")
            .await;
        let failure = self.failed().await;
        println!("{} | {}", self.name, failure.chain());
        assert_eq!(failure.class, FailureClass::Fatal);
        wording::assert_reads(&failure.chain(), error);
        // Again the change that was not confirmed.
        self.start().await;
        wording::assert_reads(&self.failed().await.chain(), error);
        // The pipeline has ended; what could disturb others is the call that ended it.
        let builder = self.load().await.unwrap_or_else(|failure| panic!("{}", failure.chain()));
        self.beside_neighbour(async |_| {
            let (builder, rows) = (Arc::clone(&builder), ids(&["evil-1"]));
            let call = self.stage.here(async move { builder.resolve("evil", "evil", rows).await });
            drop(call.await.expect_err("it fails"));
        })
        .await;
        self.mend().await;
        self.await_all().await;
    }

    /// One that fails on one document, which is quarantined alone, of that kind and for that reason; it comes with a mended builder.
    pub async fn quarantines(mut self, kind: &str, reason: &str) -> String {
        self.sql("insert into evil values ('evil-1', 'one')").await;
        self.start().await;
        self.await_good().await;
        self.await_quarantine(&["evil-1"], kind, reason).await;
        self.change("update evil set name = name || '.'", &["evil-1", "good-1", "good-20"]).await;
        self.beside_neighbour(async |case| case.touch().await).await;
        self.await_good().await;
        self.await_quarantine(&["evil-1"], kind, reason).await;
        assert!(!self.documents().await.contains_key("evil-1"), "it was refused from its first time on");
        let detail = self.detail("evil-1").await;
        self.mend().await;
        self.await_all().await;
        detail
    }

    /// One that does no harm: its documents are what they should be.
    pub async fn does_no_harm(mut self) {
        self.sql("insert into evil values ('evil-1', 'one')").await;
        self.start().await;
        self.await_all().await;
        self.change("update evil set name = name || '.'", &["evil-1", "good-1", "good-20"]).await;
        self.beside_neighbour(async |case| case.touch().await).await;
        self.await_all().await;
        self.stop().await;
    }
}
