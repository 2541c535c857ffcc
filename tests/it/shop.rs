//! The whole engine on the shop: real PostgreSQL, the real component, real OpenSearch; every test ends in "index equals
//! `documents.sql`".

use std::time::Duration;

use super::support::opensearch::OpenSearch;
use super::support::postgres::Database;
use super::support::running::Running;
use super::support::shop::{self, await_equal};
use super::support::writers::{Load, Writers};

const PATIENCE: Duration = Duration::from_secs(60);

async fn small_shop() -> (Database, OpenSearch) {
    let database = Database::fresh().await;
    shop::create(&database, 60, 40).await;
    (database, OpenSearch::fresh().await)
}

async fn run(database: &Database, sql: &str) {
    database.connect().await.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

#[tokio::test]
async fn a_backfill_makes_every_document_and_live_changes_keep_them() {
    let (database, search) = small_shop().await;
    let engine = Running::shop(&database, &search).await;
    await_equal(&database, &search, PATIENCE).await;
    // Each of these leads to documents by another path: own row, child, grandchild, junction, tag, review, tree.
    for sql in [
        "update users set name = 'Ada' where id = 1",
        "insert into users values (1001, 'new', 'new@example.com', 'DE', now())",
        "insert into orders values (9001, 1001, 'open', now(), null)",
        "insert into order_items select 9001, 1, id, 3, 9.99 from products order by id limit 1",
        "update order_items set quantity = 7 where order_id = 1 and line = 1",
        "update order_items set product_id = (select id from products order by id desc limit 1) where order_id = 2 and line = 1",
        "update orders set status = 'cancelled' where id = 3",
        "update orders set user_id = 2 where id = 4",
        "delete from orders where id = 6",
        "delete from users where id = 7",
        "update users set id = 5000 where id = 8",
        "update tags set name = 'renamed' where id = 3",
        "delete from product_tags where tag_id = 5",
        "delete from tags where id = 6",
        "update categories set name = 'top' where id = 1",
        "update categories set parent_id = 2 where id = 9",
        "update products set discontinued = true where sku = 'SKU-3'",
        "update products set discontinued = false where sku = 'SKU-3'",
        "update products set category_id = 12 where sku = 'SKU-4'",
        "update reviews set stars = 5 where id = 1",
        "update reviews set product_id = (select id from products order by id limit 1) where id = 2",
        "delete from reviews where id = 3",
    ] {
        run(&database, sql).await;
        await_equal(&database, &search, PATIENCE).await;
    }
    let summary = engine.stop().await;
    assert!(summary.documents >= 100 && summary.rejected == 0, "{summary:?}");
}

#[tokio::test]
async fn a_backfill_beside_writers_on_every_table_ends_equal() {
    let database = Database::fresh().await;
    shop::create(&database, 2_000, 400).await;
    let search = OpenSearch::fresh().await;
    let load = Load { writers: 4, seed: 7, users: 2_000, products: 400, pause: Duration::from_millis(2) };
    let writers = Writers::start(&database, &load);
    let engine = Running::shop(&database, &search).await;
    tokio::time::sleep(Duration::from_secs(8)).await;
    let counts = writers.stop().await;
    assert!(counts.committed > 200, "{counts}");
    await_equal(&database, &search, PATIENCE).await;
    engine.stop().await;
}

#[tokio::test]
async fn a_truncate_of_a_child_and_of_a_root_is_followed() {
    let (database, search) = small_shop().await;
    let engine = Running::shop(&database, &search).await;
    await_equal(&database, &search, PATIENCE).await;
    run(&database, "truncate reviews").await;
    await_equal(&database, &search, PATIENCE).await;
    run(&database, "truncate users cascade").await;
    await_equal(&database, &search, PATIENCE).await;
    run(&database, "insert into users values (1, 'again', 'a@example.com', 'DE', now())").await;
    await_equal(&database, &search, PATIENCE).await;
    engine.stop().await;
}

#[tokio::test]
async fn a_change_that_touches_more_documents_than_a_batch_may_hold_becomes_a_pass() {
    let (database, search) = small_shop().await;
    let engine = Running::shop_with(&database, &search, |engine| {
        engine.with_limits(docmill::pipeline::FlowLimits { fanout_ids_max: 5, ..Default::default() })
    })
    .await;
    await_equal(&database, &search, PATIENCE).await;
    run(&database, "update categories set name = name || '!'").await;
    await_equal(&database, &search, PATIENCE).await;
    engine.stop().await;
}

#[tokio::test]
async fn changes_made_while_it_was_stopped_are_made_up_for_without_a_new_backfill() {
    let (database, search) = small_shop().await;
    let engine = Running::shop(&database, &search).await;
    await_equal(&database, &search, PATIENCE).await;
    engine.stop().await;
    run(&database, "update users set name = 'while stopped' where id <= 5; delete from orders where id = 1").await;
    let engine = Running::shop(&database, &search).await;
    await_equal(&database, &search, PATIENCE).await;
    let summary = engine.stop().await;
    assert!((1..50).contains(&summary.documents), "only what changed is assembled: {summary:?}");
}

#[tokio::test]
async fn a_flow_cut_off_anywhere_goes_on_and_ends_equal() {
    let database = Database::fresh().await;
    shop::create(&database, 1_000, 200).await;
    let search = OpenSearch::fresh().await;
    let load = Load { writers: 3, seed: 11, users: 1_000, products: 200, pause: Duration::from_millis(3) };
    let writers = Writers::start(&database, &load);
    for milliseconds in [400, 900, 1_500, 700] {
        let engine = Running::shop(&database, &search).await;
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        engine.cut().await;
    }
    let engine = Running::shop(&database, &search).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    writers.stop().await;
    await_equal(&database, &search, PATIENCE).await;
    engine.stop().await;
}
