//! How long after its commit a document is durable, under a steady load.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::MissedTickBehavior;

use crate::figure::{Course, Figure, Meter};
use crate::ground::{Ground, Rows};
use crate::machine;
use crate::support::postgres::connect;
use crate::system::{LATE, System, Until, follow};

/// Transactions a second beside the probes.
const LOAD: u64 = 500;
const PROBE_EVERY: Duration = Duration::from_millis(100);
/// Between two looks of a probe at least.
const LOOK_LEAST: Duration = Duration::from_micros(500);

/// Of one system, for that many seconds.
pub async fn measure(ground: &Ground, rows: &Rows, system: System, seconds: u64) -> Figure {
    let place = ground.place(rows, "latency").await;
    let mut running = system.start(&place).await;
    follow(ground, &place, &mut *running, Until::Written(rows.documents()), false).await;
    running.await_live(&place).await;
    place.settled().await;
    let (meter, begin) = (Meter::start(ground, &running.pids()), Instant::now());
    let until = begin + Duration::from_secs(seconds);
    let half = i64::from(rows.users / 2);

    let writer = connect(&place.database.url).await;
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

    let prober = connect(&place.database.url).await;
    let update = prober.prepare("update users set name = $2 where id = $1").await.expect("SQL");
    // One does not wait for another: who stands still for a second is late ten times.
    let probe = async |number: i64| {
        let (id, name) = (half + 1 + number % half, format!("probe {number}"));
        prober.execute(&update, &[&id, &name]).await.expect("an update");
        let committed = Instant::now();
        while !place.has(id, &name).await {
            assert!(committed.elapsed() < Duration::from_secs(120), "user {id} never arrives");
            // A twentieth of what was waited: to look oftener would load the search engine most where documents come late.
            tokio::time::sleep(LOOK_LEAST.max(committed.elapsed() / 20)).await;
        }
        committed.elapsed()
    };
    let (mut took, mut probes, mut begun) = (Vec::new(), FuturesUnordered::new(), 0);
    let mut ticks = tokio::time::interval(PROBE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    while Instant::now() < until || !probes.is_empty() {
        tokio::select! {
            _ = ticks.tick(), if Instant::now() < until => {
                running.must_run();
                probes.push(probe(begun));
                begun += 1;
            }
            Some(waited) = probes.next() => took.push(waited),
        }
    }
    drop(probes);
    let count = load.await.expect("the load") + took.len() as u64;
    let (ran, cpu) = (begin.elapsed(), meter.used());
    let rss_mib = running.memory_pids().iter().map(|pid| machine::peak_memory_mib(*pid)).sum();
    // What was changed last may still be on its way.
    let wrong = system.wrong_after(&mut *running, &place, LATE).await;
    running.end(&place).await;
    ground.clear(place).await;
    took.sort_unstable();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    let latency = Some([at(0.50), at(0.99)]);
    let course = Course { took: ran, cpu, rss_mib };
    Figure { latency, wrong, ..Figure::new("S4 latency, 500 a second", system.name(), count, course) }
}
