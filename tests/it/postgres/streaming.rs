//! What a stream brings: every kind of change, in order, with the images that the replica identity allows.

use docmill::edges::{CaptureEvent, FailureClass};
use docmill::model::{Columns, Position};

use super::*;

#[tokio::test]
async fn every_kind_of_change_arrives_with_its_keys() {
    let database = Database::fresh().await;
    let client = database.connect().await;
    client.batch_execute("create table t (id int primary key, parent int, note text)").await.unwrap();
    let (_postgres, mut stream) = open(options(&database), &[captured("t", &["id"], Columns::Any)]).await.unwrap();
    assert!(stream.start().created);
    client
        .batch_execute(
            "insert into t values (1, 10, 'a'), (2, 20, 'b'); update t set note = 'c' where id = 1; \
             update t set id = 3 where id = 2; delete from t where id = 1",
        )
        .await
        .unwrap();
    client.batch_execute("truncate t").await.unwrap();
    // Without FULL no update can be skipped, so nothing but keys is kept.
    assert_eq!(
        trace(&mut *stream, 2).await,
        [
            "insert t id=1",
            "insert t id=2",
            "update t id=1",
            "update t key id=2 -> id=3",
            "delete t key id=1",
            "end",
            "truncate t",
            "end"
        ]
    );
}

#[tokio::test]
async fn a_full_identity_shows_what_changed_and_toast_that_did_not() {
    let database = Database::fresh().await;
    let client = database.connect().await;
    client
        .batch_execute(
            "create table t (id int primary key, big text, n int, other int); alter table t alter big set storage external; \
             alter table t replica identity full; insert into t values (1, repeat('x', 10000), 1, 1)",
        )
        .await
        .unwrap();
    let listed = Columns::Listed(vec!["n".to_owned(), "big".to_owned()]);
    let (_postgres, mut stream) = open(options(&database), &[captured("t", &["id"], listed)]).await.unwrap();
    client.batch_execute("update t set n = 2; update t set other = 2").await.unwrap();
    let mut changes = Vec::new();
    while changes.len() < 2 {
        if let CaptureEvent::Change(change) = next(&mut *stream).await {
            changes.push(change);
        }
    }
    let names: Vec<&str> = changes[0].relation.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["id", "n", "big"], "keys first, then what was listed, and nothing else");
    assert!(!changes[0].leaves(0..3), "n changed");
    assert!(changes[1].leaves(0..3), "a column that nobody asked for changed");
    let new = changes[0].images().nth(1).unwrap();
    assert!(matches!(new.0[2], Value::Unchanged));
}

#[tokio::test]
async fn mixed_case_composite_keys_and_other_schemas_are_ordinary() {
    let database = Database::fresh().await;
    let client = database.connect().await;
    client
        .batch_execute(
            "create schema \"My Shop\"; create table \"My Shop\".\"Order Line\" \
             (\"Order\" uuid, \"Line No\" int, placed timestamptz, primary key (\"Order\", \"Line No\", placed))",
        )
        .await
        .unwrap();
    let table = CapturedTable {
        table: TableName::new("My Shop", "Order Line"),
        keys: ["Line No", "Order", "placed"].map(String::from).to_vec(),
        columns: Columns::Any,
    };
    let mut options = options(&database);
    options.publication = "Pub, of \"docmill's\"".to_owned();
    let refused = open(options.clone(), std::slice::from_ref(&table)).await;
    // A name with a comma cannot be asked for in START_REPLICATION unless quoted; ours is.
    let (_postgres, mut stream) = refused.unwrap();
    client
        .batch_execute(
            "insert into \"My Shop\".\"Order Line\" values \
             ('00010203-0405-0607-0809-0a0b0c0d0e0f', 7, '2026-02-01 10:30:00.25+01'); \
             update \"My Shop\".\"Order Line\" set \"Line No\" = 8, placed = 'infinity'",
        )
        .await
        .unwrap();
    let id = "Order=00010203-0405-0607-0809-0a0b0c0d0e0f";
    assert_eq!(
        trace(&mut *stream, 1).await,
        [
            format!("insert Order Line Line No=7 {id} placed=2026-02-01T09:30:00.250000Z"),
            format!(
                "update Order Line key Line No=7 {id} placed=2026-02-01T09:30:00.250000Z -> Line No=8 {id} placed=infinity"
            ),
            "end".to_owned()
        ]
    );
}

#[tokio::test]
async fn partitions_arrive_under_the_name_of_their_root() {
    let database = Database::fresh().await;
    let client = database.connect().await;
    client
        .batch_execute(
            "create table t (id int, region text, user_id int, primary key (id, region)) partition by list (region); \
             create table t_eu partition of t for values in ('eu'); \
             create table t_rest (user_id int, region text not null, id int not null, primary key (id, region)); \
             alter table t attach partition t_rest default; \
             alter table t replica identity full; alter table t_eu replica identity full; \
             alter table t_rest replica identity full",
        )
        .await
        .unwrap();
    let (_postgres, mut stream) =
        open(options(&database), &[captured("t", &["id", "user_id"], Columns::Listed(vec![]))]).await.unwrap();
    client
        .batch_execute(
            "insert into t values (1, 'eu', 5), (2, 'us', 6); update t set region = 'us' where id = 1; truncate t",
        )
        .await
        .unwrap();
    assert_eq!(
        trace(&mut *stream, 1).await,
        [
            "insert t id=1 user_id=5",
            "insert t id=2 user_id=6",
            "delete t key id=1 user_id=5",
            "insert t id=1 user_id=5",
            "truncate t",
            "end"
        ]
    );
}

#[tokio::test]
async fn columns_added_dropped_renamed_and_retyped_while_running_are_followed() {
    let database = Database::fresh().await;
    let client = database.connect().await;
    client
        .batch_execute("create table t (a int, id int primary key, b int); alter table t replica identity full")
        .await
        .unwrap();
    let (_postgres, mut stream) = open(options(&database), &[captured("t", &["id"], Columns::Any)]).await.unwrap();
    for statements in [
        "insert into t values (1, 1, 1)",
        "alter table t add c text default 'x'; insert into t values (2, 2, 2, 'y')",
        "alter table t drop a; insert into t values (3, 3, 'z')",
        "alter table t rename b to d; insert into t values (4, 4, 'w')",
        "alter table t alter id type text; insert into t values ('five', 5, 'v')",
        "alter table t rename id to gone; insert into t values ('six', 6, 'u')",
    ] {
        client.batch_execute(statements).await.unwrap();
    }
    let inserts: Vec<String> = trace(&mut *stream, 6).await.into_iter().filter(|event| event != "end").collect();
    assert_eq!(
        inserts,
        [
            "insert t id=1 a=1 b=1",
            "insert t id=2 a=2 b=2 c=y",
            "insert t id=3 b=3 c=z",
            "insert t id=4 d=4 c=w",
            "insert t id=five d=5 c=v",
            // Without its key: whoever resolves it knows what to say.
            "insert t gone=six d=6 c=u",
        ]
    );
}

#[tokio::test]
async fn arrays_composites_enums_and_domains_have_forms_in_the_stream() {
    let database = Database::fresh().await;
    let client = database.connect().await;
    client
        .batch_execute(
            "create type mood as enum ('sad', 'ok'); create type pair as (a int, b text); create domain small as int; \
             create table t (id int primary key, a int[], e mood, es mood[], p pair, s small, y bytea, f float4, j jsonb, \
               n numeric, b bool); alter table t replica identity full",
        )
        .await
        .unwrap();
    let (_postgres, mut stream) = open(options(&database), &[captured("t", &["id"], Columns::Any)]).await.unwrap();
    client
        .batch_execute(
            "insert into t values (1, '{1,null}', 'ok', '{sad,ok}', '(1,x)', 7, '\\x0001', 'NaN', '{\"k\": 1}', 1.50, true)",
        )
        .await
        .unwrap();
    assert_eq!(
        trace(&mut *stream, 1).await[0],
        "insert t id=1 a=[1,null] e=ok es=[\"sad\",\"ok\"] p=\"(1,x)\" s=7 y=[0, 1] f=NaN j={\"k\": 1} n=1.50 b=true"
    );
}

#[tokio::test]
async fn a_marker_comes_back_in_its_place() {
    let database = Database::fresh().await;
    let client = database.connect().await;
    client.batch_execute("create table t (id int primary key)").await.unwrap();
    let (postgres, mut stream) = open(options(&database), &[captured("t", &["id"], Columns::Any)]).await.unwrap();
    client.batch_execute("insert into t values (1)").await.unwrap();
    postgres.mark(u64::MAX).await.unwrap();
    client.batch_execute("insert into t values (2)").await.unwrap();
    assert_eq!(
        trace(&mut *stream, 3).await,
        ["insert t id=1", "end", "marker 18446744073709551615", "end", "insert t id=2", "end"]
    );
}

#[tokio::test]
async fn an_idle_stream_moves_on_with_heartbeats_and_keepalives() {
    let database = Database::fresh().await;
    let client = database.connect().await;
    client.batch_execute("create table t (id int primary key); create table other (id int)").await.unwrap();
    let mut options = options(&database);
    options.heartbeat = Some(Duration::from_millis(100));
    let (_postgres, mut stream) = open(options, &[captured("t", &["id"], Columns::Any)]).await.unwrap();
    let confirmed = stream.start().confirmed;
    let first = moved(&mut *stream, confirmed).await;
    client.batch_execute("insert into other select generate_series(1, 10000)").await.unwrap();
    let written: String = client.query_one("select pg_current_wal_flush_lsn()::text", &[]).await.unwrap().get(0);
    let written: Position = written.parse().unwrap();
    assert!(first < written);
    while moved(&mut *stream, Position::ZERO).await < written {}
}

/// The position of the next end or idle event past `after`.
async fn moved(stream: &mut dyn ChangeStream, after: Position) -> Position {
    loop {
        let (CaptureEvent::End { position, .. } | CaptureEvent::Idle { position }) = next(stream).await else {
            continue;
        };
        if position > after {
            stream.confirm(position);
            return position;
        }
    }
}

#[tokio::test]
async fn what_was_not_confirmed_comes_again_and_what_was_confirmed_does_not() {
    let database = Database::fresh().await;
    let client = database.connect().await;
    client.batch_execute("create table t (id int primary key)").await.unwrap();
    let tables = [captured("t", &["id"], Columns::Any)];
    let (postgres, mut stream) = open(options(&database), &tables).await.unwrap();
    client.batch_execute("insert into t values (1)").await.unwrap();
    client.batch_execute("insert into t values (2)").await.unwrap();
    let first = loop {
        if let CaptureEvent::End { position, .. } = next(&mut *stream).await {
            break position;
        }
    };
    assert_eq!(trace(&mut *stream, 1).await[0], "insert t id=2");
    stream.confirm(first);
    stream.close().await;
    let confirmed: String = client
        .query_one(
            "select confirmed_flush_lsn::text from pg_replication_slots where slot_name = $1",
            &[&format!("slot_{}", database.name)],
        )
        .await
        .unwrap()
        .get(0);
    assert_eq!(confirmed.parse::<Position>().unwrap(), first, "close waits until the source has it");

    let mut stream = postgres.open(&OpenRequest::of(&tables)).await.unwrap();
    assert!(!stream.start().created);
    assert_eq!(stream.start().confirmed, first);
    assert_eq!(trace(&mut *stream, 1).await[0], "insert t id=2");
}

#[tokio::test]
async fn a_killed_walsender_is_transient_and_opening_again_resumes() {
    let database = Database::fresh().await;
    let client = database.connect().await;
    client.batch_execute("create table t (id int primary key)").await.unwrap();
    let tables = [captured("t", &["id"], Columns::Any)];
    let (postgres, mut stream) = open(options(&database), &tables).await.unwrap();
    client.batch_execute("insert into t values (1)").await.unwrap();
    assert_eq!(trace(&mut *stream, 1).await[0], "insert t id=1");
    let slot = format!("slot_{}", database.name);
    client
        .execute("select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = $1", &[&slot])
        .await
        .unwrap();
    let failure = loop {
        if let Err(failure) = tokio::time::timeout(SOON, stream.next()).await.expect("in time") {
            break failure;
        }
    };
    assert_eq!(failure.class, FailureClass::Transient, "{failure}");
    client.batch_execute("insert into t values (2)").await.unwrap();
    drop(stream);
    let mut stream = postgres.open(&OpenRequest::of(&tables)).await.unwrap();
    assert_eq!(trace(&mut *stream, 2).await, ["insert t id=1", "end", "insert t id=2", "end"]);
}

#[tokio::test]
async fn a_dropped_next_loses_nothing() {
    let database = Database::fresh().await;
    let client = database.connect().await;
    client.batch_execute("create table t (id int primary key)").await.unwrap();
    let (_postgres, mut stream) = open(options(&database), &[captured("t", &["id"], Columns::Any)]).await.unwrap();
    for id in 0..50 {
        client.execute("insert into t values ($1)", &[&id]).await.unwrap();
    }
    let mut ids = Vec::new();
    while ids.len() < 50 {
        // Dropped over and over, mostly in the middle of asking what is visible.
        let event = tokio::time::timeout(Duration::from_micros(80), stream.next()).await;
        if let Ok(CaptureEvent::Change(change)) = event.map(|event| event.expect("an event")) {
            ids.push(shown(&change.images().next().unwrap().0[0]));
        }
    }
    assert_eq!(ids, (0..50).map(|id| id.to_string()).collect::<Vec<_>>());
}
