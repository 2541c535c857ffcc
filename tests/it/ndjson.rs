//! Documents as lines of a file: real rows, the real component, and the last line of each document is what SQL says.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use docmill::edges::{Sink, Write};
use docmill::model::{History, Position, Version};
use docmill::ndjson::Ndjson;
use serde_json::Value;

use super::support::postgres::Database;
use super::support::running::{Loud, Running};
use super::support::shop::{self, ShopDocuments, await_documents};
use super::support::writers::{Load, Writers};

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

fn write(id: &str) -> Write {
    Write {
        generation: "users".into(),
        id: id.to_owned(),
        routing: None,
        version: Version::new(History::FIRST, Position::new(1)),
        document: Some("{}".into()),
    }
}

#[tokio::test]
async fn a_line_that_a_crash_cut_off_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("documents.ndjson");
    Ndjson::file(&path).unwrap().write(&[write("1")]).await.unwrap();
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, [&whole[..], b"{\"index\":\"us"].concat()).unwrap();
    let sink = Ndjson::file(&path).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), whole);
    sink.write(&[write("2")]).await.unwrap();
    assert_eq!(sink.indexes().ids("users", None, 10).await.unwrap().ids, ["1", "2"]);
}

#[tokio::test]
async fn a_file_has_one_writer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("documents.ndjson");
    let first = Ndjson::file(&path).unwrap();
    assert!(Ndjson::file(&path).unwrap_err().message().contains("another process"));
    assert!(first.state().load("shop").await.unwrap().is_none());
}
