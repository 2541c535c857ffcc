//! The replication slot alone, drained by a client that looks at nothing.

use std::time::Instant;

use pgwire_replication::{Lsn, ReplicationClient, ReplicationConfig, ReplicationEvent};

use crate::docmill::ROOTS;
use crate::figure::{Figure, Meter};
use crate::ground::Ground;
use crate::support::postgres::connect;

/// Changes of roots, one a transaction.
pub async fn drain(ground: &Ground) -> Figure {
    let database = ground.database("drain").await;
    let client = connect(&database.url).await;
    // One after the other: a slot is not made in a transaction that has written.
    for sql in [
        "create publication drain for table users, orders, order_items",
        "select pg_create_logical_replication_slot('drain', 'pgoutput')",
    ] {
        client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    ROOTS.make(ground, &database).await;
    let url = url::Url::parse(&database.url).expect("a URL");
    let mut config = ReplicationConfig::new(
        url.host_str().unwrap_or_default(),
        url.username(),
        url.password().unwrap_or_default(),
        &database.name,
        "drain",
        "drain",
    );
    config.port = url.port().unwrap_or(5432);
    let meter = Meter::start(ground, Some(std::process::id()));
    let begin = Instant::now();
    let mut replication = ReplicationClient::connect(config).await.expect("a stream");
    let mut commits = 0;
    while commits < ground.changes {
        match replication.recv().await.expect("an event") {
            Some(ReplicationEvent::Commit { end_lsn, .. }) => {
                commits += 1;
                if commits % 1_000 == 0 {
                    replication.update_applied_lsn(Lsn::from_u64(end_lsn.as_u64()));
                }
            }
            Some(_) => {}
            None => panic!("the stream ended"),
        }
    }
    let (took, cpu) = (begin.elapsed(), meter.used());
    drop(replication);
    drop(client);
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    ground.drop(&database).await;
    let count = ground.changes.into();
    Figure { scenario: "S2 drain", system: "raw slot", count, took, cpu, rss_mib: 0, latency: None, wrong: 0 }
}
