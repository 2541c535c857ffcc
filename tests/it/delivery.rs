//! What is confirmed, what is refused, and what stops the engine: against real servers that misbehave.

use std::time::Duration;

use docmill::edges::FailureClass;
use docmill::pipeline::{FailurePolicies, OnRejected};
use reqwest::Method;
use serde_json::json;

use super::support::opensearch::{Node, OpenSearch};
use super::support::postgres::Database;
use super::support::running::Running;
use super::support::shop::{self, ShopDocuments, await_equal};

const PATIENCE: Duration = Duration::from_secs(60);

async fn run(database: &Database, sql: &str) {
    database.connect().await.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// A shop of that size whose index is filled and equal, and the engine that keeps it so.
async fn in_step(users: u32, products: u32) -> (Database, OpenSearch, Running) {
    let database = Database::fresh().await;
    shop::create(&database, users, products).await;
    let search = OpenSearch::fresh().await;
    let engine = Running::shop(&database, &search).await;
    await_equal(&database, &search, PATIENCE).await;
    (database, search, engine)
}

/// Whether the slot is confirmed up to a position.
async fn confirmed(database: &Database, position: &str) -> bool {
    let sql = format!(
        "select coalesce(confirmed_flush_lsn >= '{position}'::pg_lsn, false) from pg_replication_slots
         where slot_name = 'docmill_' || current_database()"
    );
    database.connect().await.query_one(&sql, &[]).await.unwrap().get(0)
}

async fn position(database: &Database) -> String {
    database.connect().await.query_one("select pg_current_wal_insert_lsn()::text", &[]).await.unwrap().get(0)
}

/// Waits until the slot is confirmed up to a position.
async fn await_confirmed(database: &Database, position: &str) {
    for _ in 0..300 {
        if confirmed(database, position).await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the slot is not confirmed to {position} after 30 s");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_confirmed_while_the_sink_does_not_answer_and_all_of_it_when_it_does() {
    let database = Database::fresh().await;
    shop::create(&database, 40, 20).await;
    let node = Node::start(&[]).await;
    let search = OpenSearch::at(&node.url());
    let engine = Running::shop(&database, &search).await;
    await_equal(&database, &search, PATIENCE).await;
    node.freeze();
    run(&database, "update users set name = 'while frozen'").await;
    let after = position(&database).await;
    for _ in 0..30 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!confirmed(&database, &after).await, "confirmed before it was durable");
    }
    node.thaw();
    await_equal(&database, &search, PATIENCE).await;
    await_confirmed(&database, &after).await;
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_slot_moves_on_while_other_tables_write() {
    let (database, _search, engine) = in_step(10, 10).await;
    run(&database, "create table noise as select g, repeat('x', 100) from generate_series(1, 20000) g").await;
    let after = position(&database).await;
    await_confirmed(&database, &after).await;
    engine.stop().await;
}

/// A country that no keyword field takes: one term of more than 32,766 bytes.
const REFUSED: &str = "update users set country = repeat('x', 40000) where id = 3";

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_the_mapping_refuses_is_quarantined_alone_and_cleared_by_a_good_write() {
    let database = Database::fresh().await;
    shop::create(&database, 30, 10).await;
    run(&database, REFUSED).await;
    let search = OpenSearch::fresh().await;
    let engine = Running::shop_with(&database, &search, |engine| {
        engine.with_failure_policies(FailurePolicies::all(OnRejected::Quarantine))
    })
    .await;
    let mut expected = ShopDocuments::from_sql(&database.url).await;
    expected.users.remove("3");
    let found = shop::await_documents(&database.url, PATIENCE, async || {
        let mut found = ShopDocuments::from_opensearch(&search).await;
        assert!(!found.users.contains_key("3"), "it was refused");
        // The rest is compared with all of SQL, so the missing one is lent to it.
        let all = ShopDocuments::from_sql(&database.url).await;
        found.users.insert("3".to_owned(), all.users["3"].clone());
        found
    })
    .await;
    found.unwrap_or_else(|differences| panic!("{differences}"));

    let records = |expected: usize| {
        let search = &search;
        async move {
            for _ in 0..100 {
                search.refresh("docmill-quarantine").await;
                let records = search.documents("docmill-quarantine").await.unwrap_or_default();
                if records.len() == expected {
                    return records;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            panic!("there are not {expected} quarantine records after 10 s");
        }
    };
    let parked = records(1).await;
    let record = parked.values().next().unwrap();
    assert_eq!((&record["index"], &record["id"]), (&json!("users"), &json!("3")));
    assert!(record["reason"].as_str().unwrap().contains("country"), "{record}");
    run(&database, "update users set country = 'DE' where id = 3").await;
    await_equal(&database, &search, PATIENCE).await;
    records(0).await;
    let summary = engine.stop().await;
    assert!(summary.rejected >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_stop_stops_and_confirms_nothing_past_the_refused_document() {
    let (database, search, engine) = in_step(30, 10).await;
    run(&database, REFUSED).await;
    let after = position(&database).await;
    let failure = engine.ended().await.expect_err("it must stop");
    assert_eq!(failure.class, FailureClass::Fatal);
    assert!(failure.message().contains("document 3 of index users"), "{failure}");
    assert!(!confirmed(&database, &after).await);
    // Nothing is lost by it: with the row mended it goes on.
    run(&database, "update users set country = 'FR' where id = 3").await;
    let engine = Running::shop(&database, &search).await;
    await_equal(&database, &search, PATIENCE).await;
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_from_elsewhere_stops_the_engine_instead_of_passing_for_success() {
    let (database, search, engine) = in_step(20, 10).await;
    let document = search.document("users", "5").await.unwrap();
    let path = format!("{}/_doc/5?version={}&version_type=external", search.index("users"), 1u64 << 62);
    search.must(Method::PUT, &path, Some(&document)).await;
    run(&database, "update users set name = 'never arrives' where id = 5").await;
    let failure = engine.ended().await.expect_err("it must stop");
    assert!(failure.message().contains("versions from elsewhere"), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_with_documents_and_no_state_is_not_taken_over() {
    let (database, search, engine) = in_step(20, 10).await;
    engine.stop().await;
    search.must(Method::DELETE, &search.index("docmill-state"), None).await;
    let failure = Running::shop(&database, &search).await.ended().await.expect_err("it must refuse");
    assert!(failure.message().contains("no state that says whose they are"), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_was_dropped_is_made_up_for() {
    let (database, search, engine) = in_step(40, 20).await;
    engine.stop().await;
    run(&database, "select pg_drop_replication_slot('docmill_' || current_database())").await;
    run(&database, "delete from users where id <= 3; update products set name = 'lost'; truncate reviews").await;
    let engine = Running::shop(&database, &search).await;
    await_equal(&database, &search, PATIENCE).await;
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_was_deleted_by_hand_is_filled_anew() {
    let (database, search, engine) = in_step(40, 20).await;
    engine.stop().await;
    let found = search.must(Method::GET, &search.index("users"), None).await;
    let generation = found.as_object().unwrap().keys().next().unwrap().clone();
    search.must(Method::DELETE, &generation, None).await;
    let engine = Running::shop(&database, &search).await;
    await_equal(&database, &search, PATIENCE).await;
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_transaction_of_many_rows_is_followed_whole() {
    let (database, search, engine) = in_step(3_000, 50).await;
    run(
        &database,
        "begin; update users set name = name || '!'; update order_items set quantity = quantity + 1; commit",
    )
    .await;
    await_equal(&database, &search, PATIENCE).await;
    engine.stop().await;
}
