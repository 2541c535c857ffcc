//! Memory is bounded whatever one transaction holds and however many documents one change touches (fault 5).
//!
//! `DOCMILL_TRIAL=1 tests/run memory::` renames a category of 200,000 products instead of 10,000, and prints the figures.

use std::time::{Duration, Instant};

use super::support::command::{Docmill, Shop};
use super::support::opensearch::OpenSearch;
use super::support::postgres::Database;
use super::support::shop::{self, await_equal};

/// Design's bound on the process's peak.
const PEAK_MIB_MAX: u64 = 256;
const PATIENCE: Duration = Duration::from_secs(240);

async fn shop_in_step(users: u32, products: u32) -> (Database, OpenSearch, Shop, Docmill) {
    let (database, search) = (Database::fresh().await, OpenSearch::fresh().await);
    shop::create(&database, users, products).await;
    let shop = Shop::new(&database, &search, "");
    let docmill = shop.run();
    docmill.await_live(PATIENCE).await;
    (database, search, shop, docmill)
}

fn assert_small(docmill: &Docmill) {
    let peak = docmill.peak_memory_mib();
    println!("peak memory {peak} MiB");
    assert!(peak > 0 && peak < PEAK_MIB_MAX, "peak memory was {peak} MiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_of_a_million_rows_stays_small_and_a_kill_in_its_middle_loses_nothing() {
    let (database, search, shop, docmill) = shop_in_step(50, 2_000).await;
    let client = database.connect().await;
    let begin = Instant::now();
    // Five hundred reviews a product, in an order that mixes the products.
    client
        .batch_execute(
            "insert into reviews (id, product_id, user_id, stars, body)
             select 10000000 + row_number() over (), p.id, null, 1 + n % 5, repeat('good ', 5)
             from generate_series(1, 500) n cross join products p",
        )
        .await
        .unwrap();
    println!("committed after {:?}", begin.elapsed());
    // In the middle: some of it was taken from the stream, and not all.
    let taken = loop {
        let changes = docmill.status().await.map_or(0, |status| status["changes"].as_u64().unwrap_or(0));
        if changes > 200_000 {
            break changes;
        }
        assert!(docmill.is_running() && begin.elapsed() < PATIENCE, "{}", docmill.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_small(&docmill);
    docmill.kill();
    let docmill = shop.run();
    await_equal(&database, &search, PATIENCE).await;
    println!("killed after {taken} changes; equal {:?} after the insert began", begin.elapsed());
    docmill.await_live(PATIENCE).await;
    assert_small(&docmill);
    assert!(docmill.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rename_that_touches_very_many_documents_stays_small() {
    let large = std::env::var_os("DOCMILL_TRIAL").is_some();
    let (database, search, shop, docmill) = shop_in_step(10, 10).await;
    let client = database.connect().await;
    let products = if large { 200_000 } else { 15_000 };
    client
        .batch_execute(&format!(
            "insert into products (id, category_id, sku, name, price)
             select gen_random_uuid(), (select min(id) from categories), 'many-' || n, 'Product ' || n, n from generate_series(1, {products}) n"
        ))
        .await
        .unwrap();
    await_equal(&database, &search, PATIENCE).await;
    let begin = Instant::now();
    client
        .batch_execute("update categories set name = name || ' (renamed)' where id = (select min(id) from categories)")
        .await
        .unwrap();
    await_equal(&database, &search, PATIENCE).await;
    println!("a rename of {products} documents: equal after {:?}", begin.elapsed());
    assert_small(&docmill);
    assert!(docmill.terminate().success());
    drop(shop);
}
