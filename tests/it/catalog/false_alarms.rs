//! What leaves content as it is, is no reason to assemble anything again.

use std::time::Duration;

use docmill::edges::{CaptureEvent, CapturedTable, ChangeCapture, ChangeStream, OpenRequest};
use docmill::model::{Columns, TableName};

use crate::support::postgres::Database;
use crate::support::running::source_with;

fn captured(name: &str, keys: &[&str], columns: &[&str]) -> CapturedTable {
    let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    CapturedTable { table: TableName::new("public", name), keys: owned(keys), columns: Columns::Listed(owned(columns)) }
}

/// The tables of the next catalog event.
async fn alarm(stream: &mut dyn ChangeStream) -> Vec<String> {
    loop {
        let event =
            tokio::time::timeout(Duration::from_secs(20), stream.next()).await.expect("an event").expect("no failure");
        if let CaptureEvent::Catalog { tables } = event {
            return tables.keys().map(|table| table.name.clone()).collect();
        }
    }
}

#[tokio::test]
async fn what_leaves_content_as_it_is_raises_no_alarm() {
    let database = Database::fresh().await;
    let client = database.connect().await;
    client
        .batch_execute(
            "create table t (id int primary key, k int not null, note text, aside int); \
             alter table t replica identity full; insert into t select g, g, 'x', g from generate_series(1, 100) g; \
             alter table t add column late text default 'late'; \
             create table p (id int primary key, k int) partition by range (id); \
             create table p1 partition of p for values from (0) to (100); alter table p replica identity full; \
             alter table p1 replica identity full; create table other (id int primary key, n int)",
        )
        .await
        .unwrap();
    let tables = [
        captured("t", &["id", "k"], &["note", "late"]),
        captured("p", &["id"], &["k"]),
        captured("other", &["id"], &["n"]),
    ];
    let source = source_with(&database, |options| options.catalog_every = Duration::from_millis(20));
    let mut stream = source.open(&OpenRequest::of(&tables)).await.unwrap();
    let before = stream.start().catalog.clone();
    for (number, harmless) in [
        "analyze",
        "vacuum (analyze) t",
        "vacuum full t",
        "cluster t using t_pkey",
        "create index on t (note); create unique index t_key on t (id, k)",
        "reindex table t",
        "alter table t add constraint positive check (k > 0); alter table t drop constraint positive",
        "alter table t alter note set default 'y'; alter table t alter note set not null; alter table t alter note set statistics 50",
        "grant select on t, p, p1 to public; grant select (note) on t to public",
        "comment on table t is 'a comment'; comment on column t.note is 'another'",
        "alter table t set (fillfactor = 90)",
        "alter table t add column nullable int; alter table t drop column nullable",
        "alter table t rename column aside to beside",
        "create table unrelated (id int primary key); alter publication docmill add table unrelated; drop table unrelated",
        "create trigger noop before update on t for each row execute function suppress_redundant_updates_trigger()",
        "alter table p1 add constraint positive check (k > 0); analyze p1; create index on p (k)",
    ]
    .into_iter()
    .enumerate()
    {
        // One at a time in a transaction of its own where it has to be.
        for statement in harmless.split("; ") {
            client.batch_execute(statement).await.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
        }
        client.batch_execute(&format!("insert into t (id, k, note) values ({0}, 1, ''); insert into p values ({1}, 1)", 1000 + number, number)).await.unwrap();
        // The next alarm is the one that was meant.
        let meant = ["alter table other drop column n; alter table other add column n int default 7"];
        client.batch_execute(meant[0]).await.unwrap();
        let alarm = alarm(&mut *stream).await;
        assert_eq!(alarm, ["other"], "{harmless}");
        drain(&mut *stream).await;
    }
    stream.close().await;
    let stream = source.open(&OpenRequest::of(&tables)).await.unwrap();
    let differs: Vec<_> =
        before.iter().filter(|(table, sign)| stream.start().catalog.get(table) != Some(sign)).collect();
    assert_eq!(differs.iter().map(|(table, _)| table.name.as_str()).collect::<Vec<_>>(), ["other"]);
    stream.close().await;
}

#[tokio::test]
async fn a_key_that_may_be_null_by_now_raises_no_alarm_for_each_row_in_which_it_is() {
    let database = Database::fresh().await;
    let client = database.connect().await;
    client
        .batch_execute("create table t (id int primary key, k int not null); alter table t replica identity full")
        .await
        .unwrap();
    let source = source_with(&database, |options| options.catalog_every = Duration::from_millis(20));
    let mut stream = source.open(&OpenRequest::of(&[captured("t", &["id", "k"], &[])])).await.unwrap();
    client
        .batch_execute("alter table t alter k drop not null; insert into t values (0, null); delete from t")
        .await
        .unwrap();
    assert_eq!(alarm(&mut *stream).await, ["t"]);
    // It was looked at by the end of this, and a table so narrow tells by its definition, too.
    while tokio::time::timeout(Duration::from_secs(1), alarm(&mut *stream)).await.is_ok() {}
    for _ in 0..10 {
        client.batch_execute("insert into t values (1, null)").await.unwrap();
        client.batch_execute("delete from t").await.unwrap();
    }
    let another = tokio::time::timeout(Duration::from_secs(1), alarm(&mut *stream)).await;
    assert!(another.is_err(), "{another:?}");
    stream.close().await;
}

/// A look between the two statements of an alarm raises another.
async fn drain(stream: &mut dyn ChangeStream) {
    let until = tokio::time::Instant::now() + Duration::from_millis(150);
    while let Ok(event) = tokio::time::timeout_at(until, stream.next()).await {
        if let CaptureEvent::Catalog { tables } = event.expect("no failure") {
            assert!(tables.keys().all(|table| table.name == "other"), "{tables:?}");
        }
    }
}
