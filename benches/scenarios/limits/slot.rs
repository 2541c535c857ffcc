//! The replication slot alone, drained by a client that looks at nothing.

use std::time::Instant;

use pgwire_replication::{Lsn, ReplicationClient, ReplicationConfig, ReplicationEvent};

use crate::figure::{Figure, Meter};
use crate::ground::{Ground, Rows};
use crate::scenario::{self, ROOTS, course, last_name};
use crate::support::postgres::connect;
use crate::table;

/// Changes of roots, one a transaction.
pub async fn drain(ground: &Ground, rows: &Rows, changes: u32) -> Figure {
    let place = ground.place(rows, "drain").await;
    let database = &place.database;
    let slot = database.name.as_str();
    let client = connect(&database.url).await;
    // One after the other: a slot is not made in a transaction that has written.
    for sql in [
        "create publication drain for table users, orders, order_items",
        &format!("select pg_create_logical_replication_slot('{slot}', 'pgoutput')"),
    ] {
        client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    ROOTS.make(&place, changes, &last_name()).await;
    let url = url::Url::parse(&database.url).expect("a URL");
    let mut config = ReplicationConfig::new(
        url.host_str().unwrap_or_default(),
        url.username(),
        url.password().unwrap_or_default(),
        &database.name,
        slot,
        "drain",
    );
    config.port = url.port().unwrap_or(5432);
    let meter = Meter::start(ground, &[]);
    let begin = Instant::now();
    let mut replication = ReplicationClient::connect(config).await.expect("a stream");
    let mut commits = 0;
    while commits < changes {
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
    let course = course(begin, meter.used());
    drop(replication);
    drop(client);
    ground.clear(place).await;
    Figure::new(scenario::ROOTS_NULL, table::RAW_SLOT, changes.into(), course)
}
