//! The failing search engine fails as told, and otherwise behaves as the real one.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::http::{Call, Fault, FaultyServer};
use crate::support::http_client;
use crate::support::opensearch::{OpenSearch, shared_url};

/// A bulk with one item per (id, version, name); a null name deletes.
fn bulk(index: &str, items: &[(&str, u64, Option<&str>)]) -> String {
    let mut body = String::new();
    for (id, version, name) in items {
        let action = if name.is_some() { "index" } else { "delete" };
        let meta = json!({action: {"_index": index, "_id": id, "version": version, "version_type": "external_gte"}});
        body.push_str(&format!("{meta}\n"));
        if let Some(name) = name {
            body.push_str(&format!("{}\n", json!({"name": name})));
        }
    }
    body
}

async fn send(url: &str, body: String) -> Result<(u16, String), reqwest::Error> {
    let request = http_client().post(format!("{url}/_bulk")).header("content-type", "application/x-ndjson").body(body);
    let response = request.timeout(Duration::from_secs(5)).send().await?;
    let status = response.status().as_u16();
    Ok((status, response.text().await?))
}

async fn statuses(url: &str, body: String) -> Vec<u64> {
    let (status, text) = send(url, body).await.expect("an answer");
    assert_eq!(status, 200, "{text}");
    let answer: Value = serde_json::from_str(&text).expect("JSON");
    let items = answer["items"].as_array().expect("items").iter();
    let outcomes = items.map(|item| item.as_object().and_then(|item| item.values().next()).expect("one action"));
    outcomes.map(|outcome| outcome["status"].as_u64().expect("a status")).collect()
}

#[tokio::test]
async fn versions_are_kept_as_the_real_one_keeps_them() {
    let (fake, real) = (FaultyServer::fake().await, OpenSearch::at(&shared_url().await));
    let proxy = FaultyServer::before(&real.url).await;
    let index = real.index("things");
    let steps: [&[(&str, u64, Option<&str>)]; 5] = [
        &[("a", 5, Some("five")), ("b", 5, Some("five"))],
        &[("a", 5, Some("again")), ("b", 4, Some("older"))],
        &[("a", 7, None), ("c", 3, None)],
        &[("a", 6, Some("back")), ("c", 2, Some("back"))],
        &[("a", 7, Some("same")), ("b", 9, None)],
    ];
    for step in steps {
        let body = bulk(&index, step);
        assert_eq!(statuses(&fake.url, body.clone()).await, statuses(&proxy.url, body).await, "{step:?}");
    }
    assert_eq!(Some(fake.index().documents(&index)), real.documents("things").await);
    assert_eq!(proxy.bulks().len(), steps.len());
    real.remove_all().await;
}

#[tokio::test]
async fn every_fault_is_as_told_and_only_as_often() {
    let server = FaultyServer::fake().await;
    let applied = |id: &str| server.index().documents("i").contains_key(id);
    let one = |id: &str| bulk("i", &[(id, 1, Some("x"))]);

    server.fail(2, Call::is_bulk, Fault::Answer(429, json!({"status": 429})));
    for _ in 0..2 {
        assert_eq!(send(&server.url, one("a")).await.expect("an answer").0, 429);
    }
    assert!(!applied("a"));
    assert_eq!(statuses(&server.url, one("a")).await, [201]);

    server.fail(1, Call::is_bulk, Fault::Cut { done: false });
    assert!(send(&server.url, one("b")).await.is_err() && !applied("b"));
    server.fail(1, Call::is_bulk, Fault::Cut { done: true });
    assert!(send(&server.url, one("c")).await.is_err() && applied("c"));
    server.fail(1, Call::is_bulk, Fault::HalfAnswer);
    let error = send(&server.url, one("d")).await.expect_err("half a body");
    assert!((error.is_body() || error.is_decode()) && applied("d"), "{error:?}");
    server.fail(1, Call::is_bulk, Fault::Garbage);
    assert!(send(&server.url, one("e")).await.expect("an answer").1.contains("oops") && applied("e"));
    server.fail(1, Call::is_bulk, Fault::Silence);
    assert!(send(&server.url, one("f")).await.expect_err("silence").is_timeout() && !applied("f"));

    let rejected = Fault::Items { ids: vec!["h".into()], status: 400, kind: "mapper_parsing_exception" };
    server.fail(1, Call::is_bulk, rejected);
    let body = bulk("i", &[("g", 1, Some("x")), ("h", 1, Some("x")), ("i", 1, None)]);
    assert_eq!(statuses(&server.url, body).await, [201, 400, 404]);
    assert!(applied("g") && !applied("h"));
    assert_eq!(server.faults_left(), 0);
}

#[tokio::test]
async fn a_held_request_is_done_after_its_client_gave_up() {
    let server = FaultyServer::fake().await;
    server.fail(1, Call::is_bulk, Fault::DoLate(Duration::from_millis(600)));
    let late = send(&server.url, bulk("i", &[("a", 1, Some("late"))]));
    assert!(tokio::time::timeout(Duration::from_millis(200), late).await.is_err(), "the client gives up");
    assert_eq!(statuses(&server.url, bulk("i", &[("a", 0, Some("early"))])).await, [201]);
    assert_eq!(server.ids_at_once(), [("i".to_owned(), "a".to_owned())]);
    let until = Instant::now() + Duration::from_secs(5);
    while server.index().documents("i")["a"]["name"] != "late" {
        assert!(Instant::now() < until, "the held request was never done");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
