//! The streams themselves, read by hand: what each is given, and what it is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use docmill::edges::{CaptureEvent, CapturedTable, ChangeStream, OpenRequest, Since};
use docmill::model::{Columns, Position, TableName};
use docmill::postgres::PostgresTenant;
use tokio::task::JoinHandle;

use super::*;
use crate::support::stand::PATIENCE;

async fn house(schemas: &[&str]) -> House {
    let database = Database::fresh().await;
    for schema in schemas {
        database.sql(&format!("create schema {schema}; create table {schema}.things (id text primary key)")).await;
    }
    House::on(&database, sharing())
}

/// Opens the stream of a pipeline of that name, for the table of its schema.
async fn open(house: &House, name: &str, since: Option<Since>) -> Box<dyn ChangeStream> {
    let rows = PostgresTenant::new(house.postgres(), house.options(name)).expect("the same server");
    let capture = house.shared.tenant(name, ANY_LAG, rows);
    let tables =
        [CapturedTable { table: TableName::new(name, "things"), keys: vec!["id".into()], columns: Columns::Any }];
    let request = OpenRequest { known: since.is_some(), since, ..OpenRequest::of(&tables) };
    let begin = std::time::Instant::now();
    loop {
        match capture.open(&request).await {
            Ok(stream) => return stream,
            // Two make the publication at once.
            Err(failure) => assert!(begin.elapsed() < PATIENCE, "{}", failure.chain()),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Reads on, and confirms what it read; the position of the last change.
fn read_on(mut stream: Box<dyn ChangeStream>) -> (JoinHandle<()>, Arc<AtomicU64>) {
    let last = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&last);
    let reading = tokio::spawn(async move {
        loop {
            match stream.next().await.unwrap_or_else(|failure| panic!("{}", failure.chain())) {
                CaptureEvent::Change(change) => drop(seen.fetch_max(change.position.bytes(), Ordering::Relaxed)),
                CaptureEvent::End { position, .. } | CaptureEvent::Idle { position } => stream.confirm(position),
                CaptureEvent::Marker { .. } | CaptureEvent::Catalog { .. } => {}
            }
        }
    });
    (reading, last)
}

/// Writes one row, and waits until its change was read.
async fn arrives(house: &House, table: &str, last: &AtomicU64) {
    let before: Position =
        house.ask("select pg_current_wal_insert_lsn()::text").await.parse().expect("a position of the log");
    house.sql(&format!("insert into {table} values ('the last one')")).await;
    let begin = std::time::Instant::now();
    while last.load(Ordering::Relaxed) < before.bytes() {
        assert!(begin.elapsed() < PATIENCE, "the change of {table} does not arrive");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_again_is_not_told_that_nothing_concerned_it_before_it_was_given_what_did() {
    let house = house(&["a", "b"]).await;
    let (mut stream, others) = tokio::join!(open(&house, "a", None), open(&house, "b", None));
    let (reading, last) = read_on(others);
    house.sql("insert into a.things values ('1')").await;
    let at = loop {
        if let CaptureEvent::End { position, .. } = stream.next().await.expect("an event") {
            break position;
        }
    };
    stream.confirm(at);
    let since = Since { source: stream.start().identity.clone(), position: at };
    stream.close().await;
    // Much that concerns the other one is read again before the change that it missed.
    let client = house.database.connect().await;
    for first in (0..30_000).step_by(1_000) {
        let sql = format!("insert into b.things select g::text from generate_series({first}, {first} + 999) g");
        client.batch_execute(&sql).await.expect("rows");
    }
    house.sql("insert into a.things values ('2')").await;
    arrives(&house, "b.things", &last).await;
    let mut again = open(&house, "a", Some(since)).await;
    let mut told = Position::ZERO;
    loop {
        match again.next().await.expect("an event") {
            CaptureEvent::Idle { position } => told = told.max(position),
            CaptureEvent::Change(change) => {
                assert!(told < change.position, "told {told} before the change of {}", change.position);
                break;
            }
            _ => {}
        }
    }
    assert_eq!(house.slots().await.len(), 1, "it was let in by reading the slot again");
    reading.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_cut_off_is_given_its_tables_again_although_the_stream_was_opened_anew_meanwhile() {
    let house = house(&["a", "b", "c"]).await;
    let (stuck, others) = tokio::join!(open(&house, "a", None), open(&house, "b", None));
    let (reading, last_of_b) = read_on(others);
    let client = house.database.connect().await;
    for number in 0..500 {
        client.batch_execute(&format!("insert into a.things values ('{number}')")).await.expect("a row");
    }
    // It reads nothing, so it is cut off.
    house.await_slots(2).await;
    // For somebody with other tables.
    let (reading_c, last_of_c) = read_on(open(&house, "c", None).await);
    arrives(&house, "c.things", &last_of_c).await;
    let (reading_a, last_of_a) = read_on(stuck);
    house.await_slots(1).await;
    arrives(&house, "a.things", &last_of_a).await;
    arrives(&house, "b.things", &last_of_b).await;
    [reading, reading_a, reading_c].iter().for_each(JoinHandle::abort);
}
