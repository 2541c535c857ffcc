//! Fault 10: a slot whose tables are idle moves on while others write, and how it stands is told. `DOCMILL_TRIAL=1` writes
//! 1 GiB instead of 96 MiB.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn the_slot_moves_on_while_only_other_tables_are_written() {
    let cluster = Cluster::start(&[]).await;
    let scene = Scene::of(&cluster, "").await;
    scene.shop.configure("slot = \"docmill_postgres\"", "slot = \"docmill_postgres\"\nheartbeat = \"1s\"");
    let docmill = scene.in_step().await;
    let large = std::env::var_os("DOCMILL_TRIAL").is_some();
    let rounds = if large { 64 } else { 6 };
    scene.run("create table noise (filler text); alter table noise alter filler set storage external").await;
    let mut kept_most = 0;
    for _ in 0..rounds {
        scene.run("insert into noise select repeat('x', 8000) from generate_series(1, 2000)").await;
        let kept = scene
            .ask("select pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::int8::text from pg_replication_slots");
        kept_most = kept_most.max(kept.await.parse::<u64>().unwrap());
    }
    let end = scene.ask("select pg_current_wal_lsn()::text").await;
    scene.until(&format!("select (confirmed_flush_lsn >= '{end}')::text from pg_replication_slots")).await;
    // The server lets go of the log behind a snapshot of its running transactions, which it takes every 15 s, or at a checkpoint.
    scene.run("checkpoint").await;
    let kept = "select (pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn) < 48 << 20)::text from pg_replication_slots";
    scene.until(kept).await;
    println!("{rounds} rounds of 16 MiB: kept at most {} MiB in between", kept_most >> 20);
    let told = async {
        while docmill.metrics().await.keys().all(|name| !name.contains("slot_retained")) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, told).await.expect("what the slot keeps is a metric");
    scene.run(&changes(1)).await;
    scene.equal().await;
    assert!(docmill.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_marker_comes_back_from_a_server_on_which_nothing_else_happens() {
    use docmill::edges::{CaptureEvent, ChangeCapture, OpenRequest};
    use docmill::postgres::{Postgres, PostgresOptions};

    let cluster = Cluster::start(&[]).await;
    cluster.run("create table t (id int primary key)").await;
    let options = PostgresOptions { url: cluster.server().url(), heartbeat: None, ..PostgresOptions::default() };
    let postgres = Postgres::new(options).expect("options");
    let mut stream = postgres.open(&OpenRequest::of(&[])).await.expect("a stream");
    postgres.mark(7).await.expect("a marker");
    let back = async {
        loop {
            if let CaptureEvent::Marker { token, .. } = stream.next().await.expect("an event") {
                return token;
            }
        }
    };
    // Without a heartbeat, and before the server would write anything of its own (15 s): nothing else brings it.
    assert_eq!(tokio::time::timeout(Duration::from_secs(10), back).await.expect("it comes by itself"), 7);
    let report = postgres.slot().await.expect("an answer").expect("a slot");
    assert_eq!((report.status.as_str(), report.lost, report.safe_bytes), ("reserved", None, None));
    assert!(report.retained_bytes.is_some());
    // On the one connection that it keeps.
    let connections = "select count(*)::text from pg_stat_activity where application_name = 'docmill'";
    let before = cluster.ask(connections).await;
    for _ in 0..5 {
        postgres.slot().await.expect("an answer");
    }
    assert_eq!(cluster.ask(connections).await, before);
    cluster.run("alter system set max_slot_wal_keep_size = '64MB'").await;
    cluster.run("select pg_reload_conf()").await;
    let limited = async {
        while postgres.slot().await.expect("an answer").expect("a slot").safe_bytes.is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, limited).await.expect("the limit is told");
}
