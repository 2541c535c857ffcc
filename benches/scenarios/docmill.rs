//! docmill as an operator runs it: the released binary, the shop's component, the index `users`.

use std::time::{Duration, Instant};

use crate::figure::{Figure, Meter};
use crate::ground::Ground;
use crate::support::command::{Docmill, Shop};
use crate::support::opensearch::OpenSearch;
use crate::support::postgres::{Database, connect};

const PATIENCE: Duration = Duration::from_secs(1_200);
/// What the pipeline is configured with beside its servers.
pub const CONFIG: &str = "late_window = \"2m\"\nconfig = { indexes = [\"users\"] }";

/// Changes that are waiting when it starts.
#[derive(Clone, Copy, Debug)]
pub struct Changes {
    scenario: &'static str,
    /// What change `i` of `:users` users is.
    update: &'static str,
    in_one_transaction: u32,
}

pub const ROOTS: Changes = Changes {
    scenario: "S2 roots, 1 a transaction",
    update: "update users set name = 'changed ' || i where id = 1 + (i::int8 * 7919) % :users",
    in_one_transaction: 1,
};
pub const ROOTS_OF_100: Changes = Changes { scenario: "S2 roots, 100 a transaction", in_one_transaction: 100, ..ROOTS };
pub const CHILDREN: Changes = Changes {
    scenario: "S3 children, 1 a transaction",
    update: "update orders set note = 'changed ' || i where id = 1 + (i::int8 * 7919) % (:users * 5)",
    in_one_transaction: 1,
};

impl Changes {
    /// Makes them, as fast as the server can; where the log ends then.
    pub async fn make(&self, ground: &Ground, database: &Database) -> String {
        let client = connect(&database.url).await;
        let Self { update, in_one_transaction, .. } = self;
        let update = update.replace(":users", &ground.users.to_string());
        let changes = ground.changes;
        let set = "set synchronous_commit = off";
        // Apart: a block may commit only where it is a query of its own.
        let block = format!(
            "do $$ begin for i in 1..{changes} loop {update}; \
             if i % {in_one_transaction} = 0 then commit; end if; end loop; end $$"
        );
        for sql in [set, &block] {
            client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        }
        client.query_one("select pg_current_wal_flush_lsn()::text", &[]).await.expect("a position").get(0)
    }
}

/// Everything, from a cold start.
pub async fn backfill(ground: &Ground) -> Figure {
    let (database, search) = (ground.database("docmill").await, ground.search());
    let shop = Shop::new(&database, &search, CONFIG);
    let docmill = shop.run();
    // What it takes to compile the component and to make slot and index is no part of the rate, but of the CPU.
    let meter = Meter::start(ground, Some(docmill.pid()));
    docmill.await_status("phase", "backfilling", PATIENCE).await;
    let begin = Instant::now();
    await_phase(&docmill, "live").await;
    let took = begin.elapsed();
    figure(ground, &database, &search, docmill, "S1 backfill", ground.users.into(), took, meter.used()).await
}

/// Changes that were made while it was stopped.
pub async fn updates(ground: &Ground, changes: Changes) -> Figure {
    let (database, search) = (ground.database("docmill").await, ground.search());
    let shop = Shop::new(&database, &search, CONFIG);
    let docmill = shop.run();
    docmill.await_live(PATIENCE).await;
    assert!(docmill.terminate().success(), "it ends when told to");
    let end = changes.make(ground, &database).await;
    let docmill = shop.run();
    let meter = Meter::start(ground, Some(docmill.pid()));
    docmill.await_status("phase", "live", PATIENCE).await;
    let begin = Instant::now();
    await_confirmed(&database, &end).await;
    let took = begin.elapsed();
    figure(ground, &database, &search, docmill, changes.scenario, ground.changes.into(), took, meter.used()).await
}

/// Waits until the only slot of the database is confirmed to there.
pub async fn await_confirmed(database: &Database, end: &str) {
    let client = connect(&database.url).await;
    let sql =
        format!("select confirmed_flush_lsn >= '{end}' from pg_replication_slots where database = '{}'", database.name);
    let begin = Instant::now();
    while !client.query_one(&sql, &[]).await.expect("the slot").get::<_, bool>(0) {
        assert!(begin.elapsed() < PATIENCE, "the slot is not confirmed to {end}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn await_phase(docmill: &Docmill, phase: &str) {
    let begin = Instant::now();
    while docmill.status().await.is_none_or(|status| status["phase"] != phase) {
        assert!(docmill.is_running() && begin.elapsed() < PATIENCE, "it is not {phase}: {}", docmill.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[allow(clippy::too_many_arguments)]
async fn figure(
    ground: &Ground,
    database: &Database,
    search: &OpenSearch,
    docmill: Docmill,
    scenario: &'static str,
    count: u64,
    took: Duration,
    cpu: [f64; 3],
) -> Figure {
    let rss_mib = docmill.peak_memory_mib();
    assert!(docmill.terminate().success(), "it ends when told to");
    let wrong = ground.wrong(database, search).await;
    search.remove_all().await;
    ground.drop(database).await;
    Figure { scenario, system: "docmill", count, took, cpu, rss_mib, latency: None, wrong }
}
