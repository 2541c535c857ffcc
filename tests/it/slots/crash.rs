//! Rule R10: a source that crashed may have lost commits that it had shown, where some are asynchronous; a clean restart, or
//! a crash without asynchronous commits, costs nothing.

use docmill::embedded::StopMode;

use super::*;

const LOST: &str = "a crash that may have lost commits";

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_of_the_source_took_back_does_not_stay_in_the_index() {
    let mut cluster = Cluster::start(&[("synchronous_commit", "off"), ("wal_writer_delay", "10s")]).await;
    let scene = Scene::of(&cluster, "").await;
    let docmill = scene.in_step().await;
    scene.run("checkpoint").await;
    // While it stands still: a change that is on disk, and one of the same document that is only shown.
    docmill.freeze();
    scene.run("set synchronous_commit = on; update orders set note = 'kept' where user_id = 1").await;
    let client = scene.database.connect().await;
    client.batch_execute("update users set name = 'phantom' where id = 1").await.unwrap();
    docmill.thaw();
    let shown = async {
        while scene.search.document("users", "1").await.expect("user 1")["name"] != "phantom" {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, shown).await.expect("the document shows what the source shows");
    drop(client);
    cluster.restart(StopMode::Immediate).await;
    let name = scene.ask("select name from users where id = 1").await;
    assert_eq!(name, "user 1", "the crash took nothing back: the test shows nothing");
    scene.equal().await;
    let log = docmill.log();
    assert!(log.contains(LOST) || log.contains("went back") || log.contains("is not where it was"), "{log}");
    scene.run(&changes(1)).await;
    scene.equal().await;
    assert!(docmill.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_restart_is_no_crash_and_a_crash_without_asynchronous_commits_costs_nothing() {
    let mut cluster = Cluster::start(&[("synchronous_commit", "off")]).await;
    let scene = Scene::of(&cluster, "").await;
    let docmill = scene.in_step().await;
    let passes = "passes_done";
    let count = async |docmill: &Docmill| -> f64 {
        let metrics = docmill.metrics().await;
        metrics.iter().filter(|(name, _)| name.contains(passes)).map(|(_, value)| value).sum()
    };
    let before = count(&docmill).await;
    cluster.restart(StopMode::Fast).await;
    scene.run(&changes(1)).await;
    scene.equal().await;
    assert!(!docmill.log().contains(LOST), "{}", docmill.log());
    scene.run("alter system set synchronous_commit = on").await;
    scene.run("select pg_reload_conf()").await;
    cluster.restart(StopMode::Immediate).await;
    scene.run(&changes(2)).await;
    scene.equal().await;
    assert!(!docmill.log().contains(LOST), "{}", docmill.log());
    assert_eq!(count(&docmill).await, before, "something was assembled again: {}", docmill.log());
    // A role is enough.
    scene.run("create role careless; alter role careless set synchronous_commit = off").await;
    // It is seen when the stream is opened the next time.
    cluster.restart(StopMode::Fast).await;
    scene.run(&changes(3)).await;
    scene.equal().await;
    cluster.restart(StopMode::Immediate).await;
    scene.run(&changes(4)).await;
    scene.equal().await;
    assert!(docmill.log().contains(LOST), "{}", docmill.log());
    assert!(docmill.terminate().success());
}

/// What `StreamStart::crash_sign` leans on: measured on every major that the tests can have.
#[tokio::test(flavor = "multi_thread")]
async fn the_statistics_that_tell_a_crash_move_only_in_crash_recovery() {
    let mut cluster = Cluster::start(&[]).await;
    let sql =
        "select extract(epoch from least(w.stats_reset, b.stats_reset))::text from pg_stat_wal w, pg_stat_bgwriter b";
    let fresh = cluster.ask(sql).await;
    assert!(!fresh.is_empty());
    cluster.restart(StopMode::Fast).await;
    assert_eq!(cluster.ask(sql).await, fresh, "a clean restart moves it");
    cluster.run("select pg_stat_reset_shared('wal')").await;
    assert_eq!(cluster.ask(sql).await, fresh, "who resets one of them by hand moves it");
    cluster.restart(StopMode::Immediate).await;
    assert_ne!(cluster.ask(sql).await, fresh, "a crash does not move it");
}
