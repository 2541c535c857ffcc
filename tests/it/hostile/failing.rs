//! What failed, and what we do: the document or row that is to blame is parked with all that a person needs to know, and a builder
//! that fails on too many pauses its pipeline.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use docmill::Engine;
use docmill::edges::{DocumentBuilder, Failure, FailureClass, Observer};
use docmill::model::Rejection;
use docmill::pipeline::{FailurePolicies, OnRejected};
use docmill::telemetry::{All, Metrics, PipelineMetrics};
use docmill::wasm::{Limits, WasmBuilder};
use serde_json::{Value, json};

use crate::support::running::{Loud, Running, limits, sink, source};
use crate::support::stand::PATIENCE;
use crate::support::things::Things;
use crate::wasm::handmade::{Handmade, harmless, short};

/// Every row of `things` is a document. What the first letter of an id does: `x` traps in assemble, after a log line; `j` makes no
/// JSON; `m` makes a document that the mapping refuses; `l` loops; `r` traps in resolve;
/// `q` asks for a query with a parameter that is none.
pub fn moody() -> Handmade {
    let mut guest = harmless();
    guest.descriptor = json!({ "contract": "0.1", "rows": "columns",
        "indexes": [{ "name": "things", "mapping": { "properties": { "name": { "type": "keyword" } } },
            "settings": { "number_of_replicas": 0 }, "reads": ["things"],
            "tables": [{ "table": "things", "keys": ["id"], "root": true }] }],
        "queries": { "things": "select id, name from things where id = any($1)",
            "others": "select id from things where length(name) = any($1)" } })
    .to_string();
    guest.fields = r#"
        (data (i32.const 0xA000) "{\"name\":\"good\"}")
        (data (i32.const 0xA100) "{\"name\":{\"a\":1}}")
        (data (i32.const 0xA300) "others") (data (i32.const 0xA310) "[\"q\"]")
        (data (i32.const 0x200) "\00\a3\00\00\06\00\00\00\20\02\00\00\01\00\00\00")
        (data (i32.const 0x220) "\01\00\00\00\10\a3\00\00\05\00\00\00")
        (data (i32.const 0xA200) "ada@example.com\1b[2J is next")
        (func $first (param $id i32) (result i32) (i32.load8_u (i32.load (local.get $id))))
        (func $put (param $at i32) (param $id i32)
          (local $letter i32) (local $text i32) (local $bytes i32)
          (local.set $letter (call $first (local.get $id)))
          (if (i32.eq (local.get $letter) (i32.const 120)) (then
            (call $log (i32.const 2) (i32.const 0xA200) (i32.const 27)) unreachable))
          (if (i32.eq (local.get $letter) (i32.const 108)) (then (loop $for-ever (br $for-ever))))
          (local.set $text (i32.const 0xA000)) (local.set $bytes (i32.const 15))
          (if (i32.eq (local.get $letter) (i32.const 109)) (then
            (local.set $text (i32.const 0xA100)) (local.set $bytes (i32.const 16))))
          (if (i32.eq (local.get $letter) (i32.const 106)) (then (local.set $bytes (i32.const 14))))
          (i32.store (local.get $at) (i32.const 0))
          (i32.store offset=4 (local.get $at) (local.get $text))
          (i32.store offset=8 (local.get $at) (local.get $bytes)))
        (func $made (param $ids i32) (param $count i32) (result i32) (local $i i32)
          (block $done (loop $next
            (br_if $done (i32.eq (local.get $i) (local.get $count)))
            (call $put (i32.add (i32.const 0x400) (i32.mul (local.get $i) (i32.const 12)))
              (i32.add (local.get $ids) (i32.mul (local.get $i) (i32.const 8))))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br $next)))
          (call $ok (i32.const 0x400) (local.get $count)))
        (func $named (param $count i32) (param $column i32) (result i32)
          (local $i i32) (local $start i32) (local $end i32) (local $at i32) (local $asks i32)
          (block $done (loop $next
            (br_if $done (i32.eq (local.get $i) (local.get $count)))
            (local.set $end (i32.load (i32.add (i32.load offset=28 (local.get $column))
              (i32.mul (local.get $i) (i32.const 4)))))
            (local.set $at (i32.add (i32.const 0x400) (i32.mul (local.get $i) (i32.const 8))))
            (i32.store (local.get $at) (i32.add (i32.load offset=20 (local.get $column)) (local.get $start)))
            (i32.store offset=4 (local.get $at) (i32.sub (local.get $end) (local.get $start)))
            (if (i32.eq (call $first (local.get $at)) (i32.const 114)) (then unreachable))
            (if (i32.eq (call $first (local.get $at)) (i32.const 113)) (then (local.set $asks (i32.const 1))))
            (local.set $start (local.get $end))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br $next)))
          (call $affected (i32.const 0x400) (local.get $count) (i32.const 0x200) (local.get $asks)))"#;
    guest.assemble = "(call $made (local.get $ids) (local.get $count))";
    guest.resolve = "(call $named (local.get 5) (local.get 6))";
    guest
}

/// What was told, as text that would be logged.
#[derive(Debug, Default)]
struct Told(Mutex<Vec<String>>);

impl Observer for Told {
    fn on_rejected(&self, index: &str, id: &str, rejection: &Rejection) {
        self.0.lock().unwrap().push(format!("{index} {id} {rejection}"));
    }
    fn on_retry(&self, _stage: &'static str, reason: &str) {
        self.0.lock().unwrap().push(reason.to_owned());
    }
    fn on_error(&self, failure: &Failure) {
        self.0.lock().unwrap().push(failure.chain());
    }
}

/// The table with good rows `g1` to `g30`, and the moody builder.
struct Scene {
    things: Things,
    builder: Arc<WasmBuilder>,
    told: Arc<Told>,
    metrics: Metrics,
}

impl Scene {
    async fn new() -> Self {
        let things = Things::new(0).await;
        things.sql("insert into things select 'g' || g, 'thing' from generate_series(1, 30) g").await;
        let limits = Limits { wall: Duration::from_secs(20), ..short() };
        let builder = moody().load(limits).await.unwrap_or_else(|failure| panic!("{}", failure.full()));
        Self { things, builder, told: Arc::default(), metrics: Metrics::new("0") }
    }

    async fn run(&self, on_rejected: OnRejected) -> Running {
        let counted: Arc<PipelineMetrics> = Arc::new(self.metrics.pipeline("things"));
        let observer = All(vec![counted, Arc::clone(&self.told) as _, Arc::new(Loud)]);
        let builder = Arc::clone(&self.builder) as Arc<dyn DocumentBuilder>;
        let engine = Engine::new(source(&self.things.database), builder, sink(&self.things.search).await)
            .with_name("things")
            .with_limits(limits())
            .with_observer(Arc::new(observer))
            .with_failure_policies(FailurePolicies::all(on_rejected));
        Running::start(engine)
    }

    async fn until(&self, what: &str, mut reached: impl AsyncFnMut() -> bool) {
        let begin = Instant::now();
        while !reached().await {
            assert!(begin.elapsed() < PATIENCE, "after {PATIENCE:?} it is not so: {what}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn until_written(&self, documents: usize) {
        self.until("the good documents are there", async || self.things.found().await.len() == documents).await;
    }

    async fn records(&self) -> Vec<Value> {
        self.things.search.refresh("docmill-quarantine").await;
        let records = self.things.search.documents("docmill-quarantine").await.unwrap_or_default();
        records.into_values().collect()
    }

    /// Where the slot is confirmed, as text.
    async fn confirmed(&self) -> String {
        let client = self.things.database.connect().await;
        let query = "select confirmed_flush_lsn::text from pg_replication_slots where slot_name = $1";
        let slot = format!("docmill_{}", self.things.database.name);
        client.query_one(query, &[&slot]).await.expect("the slot").get(0)
    }

    fn metric(&self, series: &str) -> f64 {
        let text = self.metrics.text();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok());
        line.unwrap_or_else(|| panic!("{series} is not in {text}"))
    }

    fn told(&self) -> String {
        self.told.0.lock().unwrap().join("\n")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_traps_is_parked_with_reason_version_and_last_log_lines_which_no_log_shows() {
    let scene = Scene::new().await;
    scene.things.sql("insert into things values ('x1', '')").await;
    let engine = scene.run(OnRejected::Quarantine).await;
    scene.until_written(30).await;
    scene.until("it is parked", async || scene.records().await.len() == 1).await;
    let record = scene.records().await.remove(0);
    assert_eq!((&record["id"], &record["kind"]), (&json!("x1"), &json!("builder_failed")));
    assert_eq!(record["builder_version"], scene.builder.version().0);
    let reason = record["reason"].as_str().unwrap();
    assert!(reason.contains("assemble of 1 documents of index things: it trapped: wasm `unreachable`"), "{reason}");
    let detail = record["detail"].as_str().unwrap();
    assert!(detail.ends_with("it said: ada@example.com\\u{1b}[2J is next"), "{detail}");
    engine.stop().await;
    assert!(scene.told().contains("it trapped") && !scene.told().contains("ada@"), "{}", scene.told());
    assert!(scene.metric(r#"docmill_guest_traps_total{pipeline="things",trap="unreachable"}"#) >= 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_is_tried_again_alone_then_parked_and_the_limit_is_counted_by_its_name() {
    let scene = Scene::new().await;
    scene.things.sql("insert into things values ('l1', '')").await;
    let engine = scene.run(OnRejected::Quarantine).await;
    scene.until_written(30).await;
    scene.until("it is parked", async || scene.records().await.len() == 1).await;
    let record = scene.records().await.remove(0);
    assert_eq!((&record["id"], &record["kind"]), (&json!("l1"), &json!("builder_time")));
    engine.stop().await;
    let alone = scene.told().lines().filter(|line| line.contains("assemble of 1 documents")).count();
    assert!(alone >= 2, "tried again alone, then rejected: {}", scene.told());
    let limit = scene.metric(r#"docmill_guest_limits_total{pipeline="things",limit="cpu"}"#);
    assert_eq!(limit, scene.metric(r#"docmill_guest_failures_total{pipeline="things",by="limit"}"#));
    assert!(limit >= 2.0);
    assert!(record["detail"].as_str().unwrap().contains("raise `cpu` in the pipeline's `limits`"), "{record}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_cannot_be_resolved_is_parked_in_place_of_its_documents_and_holds_up_nothing() {
    let scene = Scene::new().await;
    scene.things.sql("insert into things values ('r-ada@example.com', '')").await;
    let engine = scene.run(OnRejected::Quarantine).await;
    scene.until_written(30).await;
    scene.until("the row of the backfill is parked", async || scene.records().await.len() == 1).await;
    // Live, and in the middle of a transaction.
    scene.things.sql("insert into things values ('g31', ''), ('r2', ''), ('g32', '')").await;
    scene.until_written(32).await;
    scene.until("the changed row is parked", async || scene.records().await.len() == 2).await;
    for record in scene.records().await {
        assert_eq!(record["kind"], "resolve_failed");
        assert_eq!(record["builder_version"], scene.builder.version().0);
        let (id, reason) = (record["id"].as_str().unwrap(), record["reason"].as_str().unwrap());
        assert!(id.starts_with("things#") && id.len() == "things#".len() + 16, "{id}");
        let said = "a row of table things (keys id) could not be resolved for index things, so nobody knows which documents it \
                    touches: builder of pipeline test, resolve of index things, table things: it trapped";
        assert!(reason.starts_with(said) && !reason.contains("ada@"), "{reason}");
    }
    let before = scene.confirmed().await;
    scene.until("the slot moves past it", async || scene.confirmed().await > before).await;
    engine.stop().await;
    assert!(!scene.told().contains("ada@"), "{}", scene.told());
    // The same row is the same record.
    let engine = scene.run(OnRejected::Quarantine).await;
    scene.things.sql("update things set name = 'again' where id = 'r2'; insert into things values ('g33', '')").await;
    scene.until_written(33).await;
    assert_eq!(scene.records().await.len(), 2);
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_the_builder_fills_with_nonsense_is_parked_alone_in_a_pass_and_live() {
    let scene = Scene::new().await;
    scene.things.sql("insert into things values ('q1', '')").await;
    let engine = scene.run(OnRejected::Quarantine).await;
    scene.until_written(31).await;
    scene.until("the query of the backfill is parked", async || scene.records().await.len() == 1).await;
    scene.things.sql("insert into things values ('g31', ''), ('q2', ''), ('g32', '')").await;
    scene.until_written(34).await;
    let records = scene.records().await;
    assert_eq!(
        (records.len(), &records[0]["kind"]),
        (1, &json!("resolve_failed")),
        "the same query is the same record"
    );
    let (id, reason) = (records[0]["id"].as_str().unwrap(), records[0]["reason"].as_str().unwrap());
    assert!(id.starts_with("others#"), "{id}");
    assert!(reason.starts_with("a query others could not be resolved for index things"), "{reason}");
    assert!(reason.ends_with("failed to run query others: the server refused a value (SQLSTATE 22P02)"), "{reason}");
    let before = scene.confirmed().await;
    scene.until("the slot moves past it", async || scene.confirmed().await > before).await;
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_policy_stop_a_row_that_cannot_be_resolved_stops_the_pipeline_before_it_is_confirmed() {
    let scene = Scene::new().await;
    let engine = scene.run(OnRejected::Stop).await;
    scene.until_written(30).await;
    let before = scene.confirmed().await;
    scene.things.sql("insert into things values ('r1', '')").await;
    let failure = engine.ended().await.expect_err("it stops");
    assert_eq!((failure.class, failure.pauses()), (FailureClass::Fatal, false));
    assert!(failure.message().contains("could not be resolved for index things"), "{failure}");
    let client = scene.things.database.connect().await;
    let held: bool = client
        .query_one("select pg_current_wal_lsn() > $1::text::pg_lsn", &[&scene.confirmed().await])
        .await
        .expect("positions")
        .get(0);
    assert!(held && scene.confirmed().await >= before);
    // The row is still to come: with it gone from the table too, it stops again.
    let failure = scene.run(OnRejected::Stop).await.ended().await.expect_err("it stops again");
    assert!(failure.message().contains("could not be resolved for index things"), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_builder_that_fails_on_many_distinct_documents_pauses_and_parks_no_more() {
    let scene = Scene::new().await;
    let engine = scene.run(OnRejected::Quarantine).await;
    scene.until_written(30).await;
    let bad = "insert into things select 'x' || g, '' from generate_series(1, 200) g;
        insert into things select 'j' || g, '' from generate_series(1, 200) g";
    scene.things.sql(bad).await;
    let failure = engine.ended().await.expect_err("it pauses");
    assert!(failure.pauses(), "{failure}");
    let said = format!("builder {} failed on ", scene.builder.version().short());
    assert!(failure.message().starts_with(&said), "{failure}");
    assert!(failure.message().contains("distinct documents of index things within 60s"), "{failure}");
    assert!(!failure.full().contains("ada@") && failure.advice().unwrap().contains("paused"), "{}", failure.full());
    assert!(scene.records().await.len() < 100, "{}", scene.records().await.len());
    // Resumed it does so again, and loses nothing: with rows that it can take, everything is there.
    scene.things.sql("delete from things where id !~ '^g'; insert into things values ('g31', '')").await;
    let failure = scene.run(OnRejected::Quarantine).await.ended().await.expect_err("its changes are still to come");
    assert!(failure.pauses(), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_few_bad_documents_among_many_good_ones_never_pause() {
    let scene = Scene::new().await;
    let rows = "insert into things select 'x' || g, '' from generate_series(1, 120) g;
        insert into things select 'h' || g, '' from generate_series(1, 400) g";
    scene.things.sql(rows).await;
    let engine = scene.run(OnRejected::Quarantine).await;
    scene.until_written(430).await;
    scene.until("each bad one is parked", async || scene.records().await.len() == 120).await;
    assert!(engine.is_running());
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_rejects_many_distinct_documents_for_one_reason_pauses_the_pipeline() {
    let scene = Scene::new().await;
    let engine = scene.run(OnRejected::Quarantine).await;
    scene.until_written(30).await;
    scene.things.sql("insert into things select 'm' || g, '' from generate_series(1, 400) g").await;
    let failure = engine.ended().await.expect_err("it pauses");
    assert!(failure.pauses(), "{failure}");
    assert!(failure.message().starts_with("the sink rejected "), "{failure}");
    assert!(failure.message().contains("parsing_exception within 60s, at last: "), "{failure}");
}
