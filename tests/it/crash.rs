//! The real binary under write load, killed without warning: nothing is lost, and what it says of itself is true.
//!
//! `DOCMILL_TRIAL=1 tests/run crash::` runs the large trial (20,000 users, 2,000 products) and prints its figures.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::support::command::Shop;
use super::support::opensearch::OpenSearch;
use super::support::postgres::Database;
use super::support::shop::{self, ShopDocuments, await_equal};
use super::support::writers::{Load, Writers};

#[tokio::test(flavor = "multi_thread")]
async fn a_process_killed_in_the_middle_of_a_backfill_under_write_load_loses_nothing() {
    let large = std::env::var_os("DOCMILL_TRIAL").is_some();
    let (users, products) = if large { (20_000, 2_000) } else { (3_000, 400) };
    let (before_kill, after_live) = if large { (3_000, 20_000) } else { (900, 4_000) };
    let database = Database::fresh().await;
    shop::create(&database, users, products).await;
    let search = OpenSearch::fresh().await;
    let shop = Shop::new(&database, &search, "");
    let load = Load { writers: 4, seed: 3, users, products, pause: Duration::from_millis(5) };
    let writers = Writers::start(&database, &load);

    let begin = Instant::now();
    let docmill = shop.run();
    tokio::time::sleep(Duration::from_millis(before_kill)).await;
    let interrupted = docmill.status().await;
    docmill.kill();
    let docmill = shop.run();
    docmill.await_live(Duration::from_secs(300)).await;
    let backfilled = begin.elapsed();
    let status = docmill.status().await.expect("a status");
    tokio::time::sleep(Duration::from_millis(after_live)).await;
    let counts = writers.stop().await;
    let caught_up = await_equal(&database, &search, Duration::from_secs(120)).await;

    let metrics = docmill.metrics().await;
    assert!(counts.committed > 100, "{counts}");
    println!("{users} users, {products} products; writers: {counts}");
    println!("when killed: {}", interrupted.map_or("not serving yet".to_owned(), |status| status.to_string()));
    println!(
        "live after {backfilled:?} ({} documents/s since the restart, with the kill and both starts in the time)",
        (status["documents"].as_u64().unwrap_or(0) as f64 / backfilled.as_secs_f64()).round()
    );
    println!("equal {caught_up:?} after the writers stopped; peak memory {} MiB", docmill.peak_memory_mib());
    for (name, value) in metrics.iter().filter(|(name, _)| name.contains("lag_seconds") || !name.contains("bucket")) {
        println!("{name} {value}");
    }
    assert!(docmill.terminate().success());
    let slot = database.connect().await;
    let row = slot
        .query_one(
            "select pg_current_wal_flush_lsn() - confirmed_flush_lsn < 16 * 1024 * 1024 from pg_replication_slots
             where slot_name = 'docmill_' || current_database()",
            &[],
        )
        .await
        .unwrap();
    assert!(row.get::<_, bool>(0), "the slot was confirmed to about the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_it_goes_on_and_ends_equal() {
    let database = Database::fresh().await;
    shop::create(&database, 400, 100).await;
    let search = OpenSearch::fresh().await;
    let shop = Shop::new(&database, &search, "");
    let load = Load { writers: 3, seed: 23, users: 400, products: 100, pause: Duration::from_millis(4) };
    let writers = Writers::start(&database, &load);
    // Fifty times (fault 6), between before it has the slot and long after the passes that it resumes.
    let mut random = StdRng::seed_from_u64(6);
    for _ in 0..50 {
        let docmill = shop.run();
        tokio::time::sleep(Duration::from_millis(random.random_range(150..1_300))).await;
        docmill.kill();
    }
    let docmill = shop.run();
    docmill.await_live(Duration::from_secs(60)).await;
    writers.stop().await;
    await_equal(&database, &search, Duration::from_secs(60)).await;
    assert!(docmill.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn told_to_stop_it_drains_confirms_and_reports() {
    let database = Database::fresh().await;
    shop::create(&database, 100, 40).await;
    let search = OpenSearch::fresh().await;
    let shop = Shop::new(&database, &search, "");
    let docmill = shop.run();
    docmill.await_live(Duration::from_secs(60)).await;
    assert_eq!(docmill.get("/health").await.unwrap().0, 200);
    assert_eq!(docmill.get("/ready").await.unwrap().0, 200);
    let client = database.connect().await;
    client.batch_execute("update users set name = 'last words'").await.unwrap();
    let log = shop.path().join("log");
    // At once: whether it was captured or not, nothing may be lost.
    assert!(docmill.terminate().success());
    let report = std::fs::read_to_string(log).unwrap();
    assert!(report.contains("documents written") && report.contains("confirmed position"), "{report}");
    let docmill = shop.run();
    docmill.await_live(Duration::from_secs(60)).await;
    await_equal(&database, &search, Duration::from_secs(30)).await;
    let expected = ShopDocuments::from_sql(&database.url).await;
    assert!(expected.users.values().all(|user| user["name"] == "last words"));
    assert!(docmill.terminate().success());
}
