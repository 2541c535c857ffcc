//! How long after its commit a document is durable, under a steady load.

use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;

use crate::docmill::{CONFIG, await_confirmed};
use crate::figure::{Figure, Meter};
use crate::ground::Ground;
use crate::support::command::Shop;
use crate::support::postgres::connect;

/// Transactions a second beside the probes.
const LOAD: u64 = 500;
const PROBE_EVERY: Duration = Duration::from_millis(100);

/// docmill's.
pub async fn measure(ground: &Ground) -> Figure {
    let (database, search) = (ground.database("latency").await, ground.search());
    let shop = Shop::new(&database, &search, CONFIG);
    let docmill = shop.run();
    docmill.await_live(Duration::from_secs(600)).await;
    let (meter, begin) = (Meter::start(ground, Some(docmill.pid())), Instant::now());
    let until = begin + Duration::from_secs(ground.seconds);
    let half = i64::from(ground.users / 2);

    let writer = connect(&database.url).await;
    let load = tokio::spawn(async move {
        let update = writer.prepare("update users set name = 'load ' || $2::int8 where id = $1").await.expect("SQL");
        let mut ticks = tokio::time::interval(Duration::from_micros(1_000_000 / LOAD));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut done = 0;
        while Instant::now() < until {
            ticks.tick().await;
            done += 1;
            writer.execute(&update, &[&(1 + done * 7919 % half), &done]).await.expect("an update");
        }
        done as u64
    });

    let prober = connect(&database.url).await;
    let update = prober.prepare("update users set name = $2 where id = $1").await.expect("SQL");
    let mut took = Vec::new();
    let mut ticks = tokio::time::interval(PROBE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while Instant::now() < until {
        ticks.tick().await;
        let (id, name) = (half + 1 + took.len() as i64, format!("probe {}", took.len()));
        prober.execute(&update, &[&id, &name]).await.expect("an update");
        let committed = Instant::now();
        while search.document("users", &id.to_string()).await.is_none_or(|user| user["name"] != name.as_str()) {
            assert!(committed.elapsed() < Duration::from_secs(60), "user {id} never arrives");
            tokio::time::sleep(Duration::from_micros(500)).await;
        }
        took.push(committed.elapsed());
    }
    let count = load.await.expect("the load") + took.len() as u64;
    let (ran, cpu, rss_mib) = (begin.elapsed(), meter.used(), docmill.peak_memory_mib());
    let end: String =
        prober.query_one("select pg_current_wal_flush_lsn()::text", &[]).await.expect("a position").get(0);
    await_confirmed(&database, &end).await;
    assert!(docmill.terminate().success(), "it ends when told to");
    let wrong = ground.wrong(&database, &search).await;
    search.remove_all().await;
    ground.drop(&database).await;
    took.sort_unstable();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    let latency = Some((at(0.50), at(0.99)));
    Figure { scenario: "S4 latency, 500 a second", system: "docmill", count, took: ran, cpu, rss_mib, latency, wrong }
}
