//! A copy of the data directory is put back: the same system, the same timeline, an older past.

use super::*;

/// Transactions that change nothing, so that the source's numbers go on.
async fn use_up_xids(scene: &Scene, count: u32) {
    for _ in 0..count {
        scene.run("select pg_current_xact_id()").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_put_back_under_a_running_process_begins_a_new_history() {
    let mut cluster = Cluster::start(&[]).await;
    let (scene, forward) = scene(&cluster, "").await;
    let docmill = scene.in_step().await;
    let backup = cluster.backup().await;
    for n in 1..5 {
        scene.run(&changes(n)).await;
    }
    scene.equal().await;
    cluster.restore(&backup).await;
    forward.turn(cluster.port());
    // Everything of the last minute is gone from the source, and so it must be from the index.
    scene.equal().await;
    scene.run(&changes(6)).await;
    scene.equal().await;
    assert!(docmill.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_whose_log_has_passed_the_checkpoint_again_is_told_by_its_transaction_ids() {
    let mut cluster = Cluster::start(&[]).await;
    let (scene, _forward) = scene(&cluster, "on_lost_slot = \"refuse\"").await;
    assert!(scene.in_step().await.terminate().success());
    scene.slot_free().await;
    let backup = cluster.backup().await;
    use_up_xids(&scene, 60).await;
    let docmill = scene.shop.run();
    docmill.await_live(PATIENCE).await;
    for n in 1..5 {
        scene.run(&changes(n)).await;
    }
    scene.equal().await;
    assert!(docmill.terminate().success());
    scene.slot_free().await;
    let written = scene.ask("select pg_current_wal_flush_lsn()::text").await;
    cluster.restore(&backup).await;
    while scene.ask(&format!("select (pg_current_wal_flush_lsn() > '{written}')::text")).await != "true" {
        scene.run("create temp table t (); select pg_switch_wal()").await;
    }
    scene.run(&changes(6)).await;
    let docmill = scene.shop.run();
    assert!(!docmill.ended(PATIENCE).await.success());
    let log = docmill.log();
    assert!(log.contains("the source's next transaction is"), "{log}");
    scene.shop.configure("on_lost_slot = \"refuse\"", "on_lost_slot = \"rebuild\"");
    let docmill = scene.in_step().await;
    scene.run(&changes(7)).await;
    scene.equal().await;
    assert!(docmill.terminate().success());
}
