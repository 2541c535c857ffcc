//! The fence and the quiet point, where PostgreSQL shows less than it has sent.

use super::*;
use crate::support::cluster::Cluster;
use crate::support::postgres::connect;

async fn cluster_with(sql: &str) -> (Cluster, Database) {
    let cluster = Cluster::start(&[]).await;
    cluster.run(sql).await;
    let database = cluster.database();
    (cluster, database)
}

#[tokio::test]
async fn a_change_is_not_handed_out_before_a_snapshot_shows_it_nor_is_any_behind_it() {
    let (cluster, database) = cluster_with("create table t (id int primary key)").await;
    let (postgres, mut stream) = open(options(&database), &[captured("t", &["id"], Columns::Any)]).await.unwrap();
    cluster.set_standby("nobody").await;
    let waiting = database.connect().await;
    let commit = tokio::spawn(async move { waiting.batch_execute("insert into t values (1)").await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let reading = database.connect().await;
    // Committed later and visible at once: it overtakes for readers, and must not in the stream.
    reading.batch_execute("set synchronous_commit = local; insert into t values (2)").await.unwrap();
    let count: i64 = reading.query_one("select count(*) from t", &[]).await.unwrap().get(0);
    assert_eq!(count, 1, "the first commit is in the log and in no snapshot");
    let early = tokio::time::timeout(Duration::from_secs(1), async {
        loop {
            if let CaptureEvent::Change(change) = stream.next().await.unwrap() {
                return change;
            }
        }
    });
    assert!(early.await.is_err(), "a change was handed out that no snapshot shows");
    postgres.mark(5).await.expect("a marker does not wait for the standby");
    cluster.set_standby("").await;
    commit.await.unwrap().unwrap();
    assert_eq!(trace(&mut *stream, 3).await, ["insert t id=1", "end", "insert t id=2", "end", "marker 5", "end"]);
}

#[tokio::test]
async fn opening_waits_for_a_commit_that_neither_stream_nor_snapshot_would_show() {
    let (cluster, database) = cluster_with("create table t (id int primary key)").await;
    let (first, second) = (database.connect().await, database.connect().await);
    // As `pg.sh` 1 does it: the slot is being made while one transaction after the other holds it up, ...
    first.batch_execute("begin; select pg_current_xact_id()").await.unwrap();
    let postgres = Postgres::new(options(&database)).unwrap();
    let opening = tokio::spawn({
        let postgres = Arc::clone(&postgres);
        async move { postgres.open(&OpenRequest::of(&[captured("t", &["id"], Columns::Any)])).await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    cluster.set_standby("nobody").await;
    second.batch_execute("begin; select pg_current_xact_id()").await.unwrap();
    first.batch_execute("rollback").await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    // ... and a commit before its first position waits for a standby.
    let waiting = database.connect().await;
    let commit = tokio::spawn(async move { waiting.batch_execute("insert into t values (1)").await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    second.batch_execute("rollback").await.unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let reading = database.connect().await;
    let sql = "select count(*) from pg_replication_slots where confirmed_flush_lsn is not null";
    let slots: i64 = reading.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(slots, 1, "the slot is there");
    let rows: i64 = reading.query_one("select count(*) from t", &[]).await.unwrap().get(0);
    assert_eq!(rows, 0, "the commit lies before the slot and no snapshot shows it");
    assert!(!opening.is_finished(), "a backfill that begins now would miss a row for ever");
    cluster.set_standby("").await;
    commit.await.unwrap().unwrap();
    tokio::time::timeout(SOON, opening).await.expect("in time").unwrap().unwrap();
    let rows: i64 = reading.query_one("select count(*) from t", &[]).await.unwrap().get(0);
    assert_eq!(rows, 1, "whoever reads from now on sees it");
}

#[tokio::test]
async fn a_table_added_while_a_writer_is_open_waits_for_the_writer() {
    let (_cluster, database) =
        cluster_with("create table t (id int primary key); create table u (id int primary key)").await;
    let tables = [captured("t", &["id"], Columns::Any), captured("u", &["id"], Columns::Any)];
    let (postgres, stream) = open(options(&database), &tables[..1]).await.unwrap();
    stream.close().await;
    let writer = connect(&database.url).await;
    writer.batch_execute("begin; insert into u values (1)").await.unwrap();
    let opening = tokio::spawn(async move { postgres.open(&OpenRequest::of(&tables)).await });
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(!opening.is_finished());
    writer.batch_execute("commit").await.unwrap();
    let stream = tokio::time::timeout(SOON, opening).await.expect("in time").unwrap().unwrap();
    assert!(!stream.start().created);
    let rows: i64 = writer.query_one("select count(*) from u", &[]).await.unwrap().get(0);
    assert_eq!(rows, 1, "what the stream does not bring, a backfill sees");
}

#[tokio::test]
async fn the_fence_holds_after_the_transaction_counter_passed_32_bits() {
    let mut cluster = Cluster::start(&[]).await;
    cluster.reset_wal(&["-e", "1"]).await;
    let database = cluster.database();
    database.connect().await.batch_execute("create table t (id int primary key)").await.unwrap();
    let (_postgres, mut stream) = open(options(&database), &[captured("t", &["id"], Columns::Any)]).await.unwrap();
    assert!(stream.start().next_xid > 1 << 32);
    cluster.set_standby("nobody").await;
    let waiting = database.connect().await;
    let commit = tokio::spawn(async move { waiting.batch_execute("insert into t values (1)").await });
    let early = tokio::time::timeout(Duration::from_secs(2), async {
        while !matches!(stream.next().await.unwrap(), CaptureEvent::Change(_)) {}
    });
    assert!(early.await.is_err(), "a cast of the 32 bits passes everything");
    cluster.set_standby("").await;
    commit.await.unwrap().unwrap();
    assert_eq!(trace(&mut *stream, 1).await, ["insert t id=1", "end"]);
}

#[tokio::test]
async fn reads_on_a_standby_wait_until_it_has_replayed() {
    let (mut cluster, database) = cluster_with("create table t (id int primary key)").await;
    let standby = cluster.standby(&[]).await;
    let mut options = options(&database);
    options.reader_url = Some(standby.server().url());
    options.reader_trusted = true;
    let (postgres, mut stream) = open(options, &[captured("t", &["id"], Columns::Any)]).await.unwrap();
    let queries = postgres.reader().prepare(&declaration(&[("all", "select id from t")])).await.unwrap();
    let replay = connect(&standby.server().url()).await;
    replay.batch_execute("select pg_wal_replay_pause()").await.unwrap();
    let primary = database.connect().await;
    primary.batch_execute("insert into t values (1)").await.unwrap();
    let early = tokio::time::timeout(Duration::from_secs(1), async {
        while !matches!(stream.next().await.unwrap(), CaptureEvent::Change(_)) {}
    });
    assert!(early.await.is_err(), "the standby does not show it yet");
    replay.batch_execute("select pg_wal_replay_resume()").await.unwrap();
    assert_eq!(trace(&mut *stream, 1).await, ["insert t id=1", "end"]);
    let (rows, _snapshot) = queries.snapshot(&[query("all", &[])]).await.unwrap();
    assert_eq!(cells(&rows[0], "id"), ["integer 1"]);
    let flushed: String = primary.query_one("select pg_current_wal_flush_lsn()::text", &[]).await.unwrap().get(0);
    assert!(postgres.reader().flush_position().await.unwrap() >= flushed.parse().unwrap());
}

#[tokio::test]
async fn a_reader_on_another_cluster_is_refused() {
    let (_cluster, database) = cluster_with("create table t (id int primary key)").await;
    let (_other, elsewhere) = cluster_with("create table t (id int primary key)").await;
    let mut options = options(&database);
    options.reader_url = Some(elsewhere.url);
    options.reader_trusted = true;
    let failure = open(options, &[captured("t", &["id"], Columns::Any)]).await.err().unwrap();
    assert!(failure.chain().contains("is not the captured one"), "{failure}");
}
