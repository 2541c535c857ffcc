//! A slot that lost changes: dropped, given up by the server, made again or moved on by hand. Each is noticed, and made up for
//! or refused as the pipeline says.

use super::*;

/// Begins in step, stops, lets `lose` happen beside changes, and ends in step again.
async fn made_up_for(lose: impl AsyncFn(&Scene)) -> String {
    let scene = Scene::shared("").await;
    assert!(scene.in_step().await.terminate().success());
    scene.slot_free().await;
    lose(&scene).await;
    let docmill = scene.in_step().await;
    scene.run(&changes(3)).await;
    scene.equal().await;
    let log = docmill.log();
    assert!(docmill.terminate().success());
    log
}

/// The same with `refuse`: it ends by itself, has changed nothing, and goes on when it may.
async fn refused_until_allowed(lose: impl AsyncFn(&Scene), said: &str) {
    let scene = Scene::shared("on_lost_slot = \"refuse\"").await;
    assert!(scene.in_step().await.terminate().success());
    scene.slot_free().await;
    lose(&scene).await;
    let slots = "select coalesce(string_agg(slot_name || ' ' || confirmed_flush_lsn, ' '), 'none') \
                 from pg_replication_slots where database = current_database()";
    let before = scene.ask(slots).await;
    let docmill = scene.shop.run();
    assert!(!docmill.ended(PATIENCE).await.success());
    let log = docmill.log();
    assert!(log.contains(said) && log.contains("on_lost_slot"), "{said} is not in {log}");
    assert_eq!(scene.ask(slots).await, before, "something was changed");
    scene.shop.configure("on_lost_slot = \"refuse\"", "on_lost_slot = \"rebuild\"");
    assert!(scene.in_step().await.terminate().success());
}

async fn dropped(scene: &Scene) {
    scene.run(&changes(1)).await;
    scene.run(&format!("select pg_drop_replication_slot('{}')", scene.slot())).await;
    scene.run(&changes(2)).await;
}

async fn made_again(scene: &Scene) {
    dropped(scene).await;
    scene.run(&format!("select pg_create_logical_replication_slot('{}', 'pgoutput')", scene.slot())).await;
}

async fn moved_on(scene: &Scene) {
    scene.run(&changes(1)).await;
    scene.run(&format!("select pg_replication_slot_advance('{}', pg_current_wal_lsn())", scene.slot())).await;
    scene.run(&changes(2)).await;
}

async fn without_publication(scene: &Scene) {
    scene.run("drop publication docmill").await;
    scene.run(&changes(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_was_dropped_is_made_anew_and_everything_assembled_again() {
    made_up_for(dropped).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_was_made_again_by_hand_is_not_taken_for_the_old_one() {
    made_up_for(made_again).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_somebody_moved_on_is_noticed() {
    made_up_for(moved_on).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_that_is_gone_takes_the_slot_with_it_and_both_are_made_in_their_order() {
    made_up_for(without_publication).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_refuse_a_slot_that_was_dropped_is_not_made_again() {
    refused_until_allowed(dropped, "is gone, and with it the changes").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_refuse_a_slot_that_was_made_again_or_moved_on_is_left_alone() {
    refused_until_allowed(made_again, "was moved on").await;
    refused_until_allowed(moved_on, "was moved on").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_refuse_a_slot_without_its_publication_is_left_alone() {
    refused_until_allowed(without_publication, "which must be older, is not").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_dropped_or_moved_on_under_a_running_process_is_noticed_when_it_reconnects() {
    let scene = Scene::shared("").await;
    let docmill = scene.in_step().await;
    let slot = scene.slot();
    let last = [
        format!("select pg_replication_slot_advance('{slot}', pg_current_wal_lsn())"),
        format!("select pg_drop_replication_slot('{slot}')"),
        format!(
            "select pg_drop_replication_slot('{slot}'); select pg_create_logical_replication_slot('{slot}', 'pgoutput')"
        ),
    ];
    for (n, lose) in (1..).zip(last) {
        // It stands still, so that it cannot take the slot back at once.
        docmill.freeze();
        scene.run(&changes(n)).await;
        scene
            .run(&format!(
                "select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = '{slot}'"
            ))
            .await;
        scene.slot_free().await;
        scene.run(&lose).await;
        docmill.thaw();
        scene.equal().await;
        scene.run(&changes(n + 3)).await;
        scene.equal().await;
    }
    assert!(docmill.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_the_server_gave_up_is_dropped_and_made_anew_or_refused() {
    let cluster =
        Cluster::start(&[("max_slot_wal_keep_size", "1MB"), ("min_wal_size", "32MB"), ("max_wal_size", "32MB")]).await;
    let scene = Scene::of(&cluster, "").await;
    let lose = async |n: u32| {
        scene.run(&changes(n)).await;
        for _ in 0..4 {
            scene.run("create table filler (); drop table filler; select pg_switch_wal()").await;
        }
        scene.run("checkpoint").await;
        scene.until("select (wal_status = 'lost')::text from pg_replication_slots").await;
    };
    let docmill = scene.in_step().await;
    docmill.freeze();
    lose(1).await;
    docmill.thaw();
    scene.equal().await;
    assert!(docmill.terminate().success());
    scene.slot_free().await;

    lose(2).await;
    scene.shop.configure("index_prefix", "on_lost_slot = \"refuse\"\nindex_prefix");
    let docmill = scene.shop.run();
    assert!(!docmill.ended(PATIENCE).await.success());
    let log = docmill.log();
    assert!(
        log.contains("the server gave it up") && log.contains("select pg_drop_replication_slot('docmill_postgres');"),
        "{log}"
    );
    scene.until("select (wal_status = 'lost')::text from pg_replication_slots").await;
    scene.shop.configure("on_lost_slot = \"refuse\"", "on_lost_slot = \"rebuild\"");
    assert!(scene.in_step().await.terminate().success());
}
