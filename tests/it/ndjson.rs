//! Lines as a sink: the last line of each document is what SQL says; what a file holds after restarts, crashes and rejections;
//! and that it has one owner.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use docmill::edges::{FailureClass, Sink, SoleOwner, Write, WriteOutcome};
use docmill::model::{
    BuilderVersion, DocumentId, History, IndexDeclaration, Position, QuarantineRecord, Rejection, SourceIdentity,
    StateDocument, Version,
};
use docmill::ndjson::Ndjson;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::support::postgres::Database;
use super::support::running::{Loud, Running};
use super::support::shop::{self, ShopDocuments, await_documents};
use super::support::writers::{Load, Writers};

fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("documents.ndjson");
    (directory, path)
}

fn version(position: u64) -> Version {
    Version::new(History::FIRST, Position::new(position))
}

fn write(index: &str, id: &str, position: u64, document: Option<Value>) -> Write {
    Write {
        generation: index.into(),
        id: id.to_owned(),
        routing: None,
        version: version(position),
        document: document.map(|document| document.to_string().into()),
    }
}

fn declared(name: &str) -> IndexDeclaration {
    IndexDeclaration {
        name: name.into(),
        mapping: json!({}),
        settings: None,
        tables: vec![],
        reads: vec![],
        routing: None,
    }
}

fn state(owner: &str, checkpoint: u64) -> StateDocument {
    StateDocument {
        format: StateDocument::FORMAT,
        owner: owner.into(),
        source: SourceIdentity { system_identifier: "1".into(), timeline: 1, database: "d".into(), slot: "s".into() },
        history: History::FIRST,
        checkpoint: Position::new(checkpoint),
        next_xid: 7,
        crash_sign: None,
        catalog: Default::default(),
        settled: true,
        builder_version: BuilderVersion("b".into()),
        generations: BTreeMap::new(),
        passes: vec![],
        last_pass: 0,
    }
}

fn record(id: &str, position: u64) -> QuarantineRecord {
    QuarantineRecord {
        document: DocumentId { index: "users".into(), id: id.into() },
        generation: "users".into(),
        version: version(position),
        builder_version: BuilderVersion("b".into()),
        rejection: Rejection { kind: "trap".into(), reason: "unreachable".into(), detail: Some("secret".into()) },
        at_ms: 5,
    }
}

async fn written(sink: &Arc<Ndjson>, writes: &[Write]) {
    let outcomes = sink.write(writes, &SoleOwner).await.expect("lines are written");
    assert!(outcomes.iter().all(|outcome| *outcome == WriteOutcome::Written), "{outcomes:?}");
}

async fn ids(sink: &Arc<Ndjson>, index: &str, limit: usize) -> Vec<String> {
    let (indexes, mut cursor, mut found) = (sink.indexes(), None, Vec::new());
    loop {
        let page = indexes.ids(index, cursor, limit).await.expect("a page");
        assert!(page.ids.len() <= limit);
        found.extend(page.ids.into_iter().map(|held| held.id));
        cursor = page.cursor;
        if cursor.is_none() {
            return found;
        }
    }
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).expect("the file");
    text.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect()
}

/// What the lines of a file amount to.
fn documents(path: &Path) -> ShopDocuments {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let mut last: BTreeMap<(String, String), Option<Value>> = BTreeMap::new();
    // The writer may be in the middle of the last line.
    for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        let line: Value = serde_json::from_str(line).expect("every line is JSON");
        let key = (line["index"].as_str().unwrap().to_owned(), line["id"].as_str().unwrap().to_owned());
        last.insert(key, line.get("document").cloned());
    }
    let of = |name: &str| {
        let documents = last.iter().filter(|((index, _), _)| index == name);
        documents.filter_map(|((_, id), document)| Some((id.clone(), document.clone()?))).collect()
    };
    ShopDocuments { users: of("users"), products: of("products") }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_line_of_each_document_is_its_rows_beside_a_backfill_and_after_a_restart() {
    let database = Database::fresh().await;
    shop::create(&database, 300, 80).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("documents.ndjson");
    let load = Load { writers: 3, seed: 5, users: 300, products: 80, pause: Duration::from_millis(3) };
    let writers = Writers::start(&database, &load);
    for round in 0..3 {
        let sink = Ndjson::file(&path).expect("the file is free again");
        let engine =
            Running::into(&database, Arc::clone(&sink) as Arc<dyn Sink>, Arc::new(Loud), |engine| engine).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        if round == 2 {
            writers.stop().await;
            let found = await_documents(&database.url, Duration::from_secs(30), async || documents(&path)).await;
            found.unwrap_or_else(|differences| panic!("{differences}"));
            engine.stop().await;
            break;
        }
        engine.stop().await;
    }
    // Once in step, a restart writes nothing again.
    let engine = Running::into(&database, Ndjson::file(&path).unwrap(), Arc::new(Loud), |engine| engine).await;
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert_eq!(engine.stop().await.documents, 0);
}

#[tokio::test]
async fn a_restart_goes_on_at_the_end_of_the_file_with_the_state_it_had() {
    let (_directory, path) = place();
    let sink = Ndjson::file(&path).expect("a new file");
    let first = sink.indexes().ensure(&[declared("users")]).await.expect("an index").remove(0);
    assert!(first.created && first.empty);
    let revision = sink.state().store("shop", &state("one", 5), None).await.expect("stored");
    written(&sink, &[write("users", "1", 5, Some(json!({"n": 1}))), write("users", "2", 5, Some(json!({})))]).await;
    sink.state().store("shop", &state("one", 9), Some(&revision)).await.expect("stored");
    drop(sink);

    let sink = Ndjson::file(&path).expect("the same file");
    let again = sink.indexes().ensure(&[declared("users"), declared("orders")]).await.expect("indexes");
    assert_eq!((&again[0].uuid, again[0].created, again[0].empty), (&first.uuid, false, false));
    assert!(again[1].empty);
    let (found, revision) = sink.state().load("shop").await.expect("read").expect("there");
    assert_eq!(found, state("one", 9));
    sink.state().store("shop", &state("two", 9), Some(&revision)).await.expect("the revision holds over a restart");
    written(&sink, &[write("users", "1", 12, None), write("orders", "1", 12, Some(json!({})))]).await;
    assert_eq!(lines(&path)[2], json!({"index": "users", "id": "1", "version": "12", "deleted": true}));
    assert_eq!(ids(&sink, "users", 1).await, ["2"]);
    assert_eq!(ids(&sink, "orders", 10).await, ["1"]);
}

#[tokio::test]
async fn what_a_crash_left_of_a_line_is_cut_off() {
    let (_directory, path) = place();
    let whole = "{\"index\":\"users\",\"id\":\"1\",\"version\":\"5\",\"document\":{}}\n";
    fs::write(&path, format!("{whole}{{\"index\":\"users\",\"id\":\"2\",\"ver")).expect("a file");
    let sink = Ndjson::file(&path).expect("the file");
    written(&sink, &[write("users", "3", 6, Some(json!({})))]).await;
    let ids: Vec<Value> = lines(&path).into_iter().map(|mut line| line["id"].take()).collect();
    assert_eq!(ids, ["1", "3"]);
}

#[tokio::test]
async fn a_file_has_one_owner_at_a_time() {
    let (_directory, path) = place();
    let first = Ndjson::file(&path).expect("the file");
    let refused = Ndjson::file(&path).expect_err("a second owner");
    assert_eq!(refused.class, FailureClass::Transient, "the other one may be about to end");
    assert!(refused.to_string().contains("another process"), "{refused}");
    drop(first);
    Ndjson::file(&path).expect("its lock went with the first owner");
}

#[tokio::test]
async fn the_state_is_written_only_over_what_was_read() {
    let (_directory, path) = place();
    let sink = Ndjson::file(&path).expect("the file");
    let first = sink.state().store("shop", &state("one", 1), None).await.expect("stored");
    let second = sink.state().store("shop", &state("one", 2), Some(&first)).await.expect("stored");
    for stale in [None, Some(&first)] {
        let refused = sink.state().store("shop", &state("two", 3), stale).await.expect_err("a stale revision");
        assert_eq!(refused.class, FailureClass::Fatal);
    }
    sink.state().store("other", &state("three", 1), None).await.expect("another pipeline's is another");
    sink.state().store("shop", &state("one", 3), Some(&second)).await.expect("the current revision");
}

#[tokio::test]
async fn another_file_in_its_place_is_another_generation() {
    let (_directory, path) = place();
    let open = async || {
        let sink = Ndjson::file(&path).expect("the file");
        let uuid = sink.indexes().ensure(&[declared("users")]).await.expect("an index").remove(0).uuid;
        (sink, uuid)
    };
    let (sink, first) = open().await;
    written(&sink, &[write("users", "1", 5, Some(json!({})))]).await;
    sink.state().store("shop", &state("one", 5), None).await.expect("stored");
    drop(sink);
    assert_eq!(open().await.1, first);
    // Emptied by somebody: what the state says of it is not so any more.
    fs::write(&path, "").expect("emptied");
    assert_ne!(open().await.1, first);
}

#[tokio::test]
async fn a_file_of_somebody_else_is_not_taken_for_an_index() {
    let (_directory, path) = place();
    fs::write(&path, "{\"level\":\"info\"}\n").expect("a log");
    let sink = Ndjson::file(&path).expect("the file");
    let refused = sink.indexes().ensure(&[declared("users")]).await.expect_err("a foreign line");
    assert_eq!(refused.class, FailureClass::Fatal);
    assert!(refused.to_string().contains("line 1"), "{refused}");
}

#[tokio::test]
async fn a_good_write_clears_the_quarantine_at_or_below_its_version_over_a_restart() {
    let (directory, path) = place();
    let quarantine = directory.path().join("documents.ndjson.quarantine.ndjson");
    let sink = Ndjson::file(&path).expect("the file");
    written(&sink, &[write("users", "1", 4, Some(json!({})))]).await;
    assert!(!quarantine.exists());
    sink.quarantine(&[record("1", 5), record("2", 5)]).await.expect("parked");
    drop(sink);

    let sink = Ndjson::file(&path).expect("the file");
    written(&sink, &[write("users", "1", 4, Some(json!({})))]).await;
    assert_eq!(lines(&quarantine).len(), 2, "an older write says nothing of a later refusal");
    for position in [6, 7] {
        written(&sink, &[write("users", "1", position, Some(json!({})))]).await;
    }
    let records = lines(&quarantine);
    assert_eq!(
        (&records[0]["id"], &records[0]["detail"], &records[0]["version"]),
        (&json!("1"), &json!("secret"), &json!("5"))
    );
    assert_eq!(records[2], json!({"index": "users", "id": "1", "version": "6", "cleared": true}));
    assert_eq!(records.len(), 3, "and once");
}

#[tokio::test]
async fn writes_at_once_are_whole_lines() {
    let (_directory, path) = place();
    let sink = Ndjson::file(&path).expect("the file");
    let tasks: Vec<_> = (0..20u64)
        .map(|task| {
            let sink = Arc::clone(&sink);
            tokio::spawn(async move {
                let id = |number: u64| format!("{task}-{number}");
                let document = || Some(json!({"text": "x".repeat(500)}));
                let writes: Vec<Write> = (0..50).map(|number| write("users", &id(number), task, document())).collect();
                written(&sink, &writes).await;
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("a task");
    }
    assert_eq!(lines(&path).len(), 1_000);
    assert_eq!(ids(&sink, "users", 64).await.len(), 1_000);
}

#[tokio::test]
async fn standard_output_remembers_nothing_and_has_nothing_to_sweep() {
    let sink = Ndjson::stdout();
    let generation = sink.indexes().ensure(&[declared("users")]).await.expect("an index").remove(0);
    assert!(generation.created && generation.empty);
    assert!(sink.state().load("shop").await.expect("read").is_none());
    assert_eq!(ids(&sink, "users", 5).await, [""; 0]);
    sink.quarantine(&[record("1", 5)]).await.expect("told");
}
