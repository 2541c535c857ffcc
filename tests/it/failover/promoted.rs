//! A standby becomes the primary.

use docmill::embedded::StopMode;
use docmill::postgres::{PostgresOptions, check};

use super::*;

/// A primary of 17 and a standby that keeps copies of its logical slots.
async fn with_slots_kept() -> (Cluster, Cluster) {
    let mut primary = Cluster::of_major(17, &[]).await;
    primary.run("select pg_create_physical_replication_slot('standby', true)").await;
    let standby = primary
        .standby(&[("primary_slot_name", "standby"), ("hot_standby_feedback", "on"), ("sync_replication_slots", "on")])
        .await;
    primary.run("alter system set synchronized_standby_slots = 'standby'").await;
    primary.run("select pg_reload_conf()").await;
    (primary, standby)
}

#[tokio::test(flavor = "multi_thread")]
async fn on_17_the_slot_outlives_a_fail_over_and_everything_goes_on() {
    let (primary, standby) = with_slots_kept().await;
    let (mut scene, forward) = scene(&primary, "").await;
    scene.shop.configure("slot = \"docmill_postgres\"", "slot = \"docmill_postgres\"\nheartbeat = \"1s\"");
    let docmill = scene.in_step().await;
    scene.until("select failover::text from pg_replication_slots where slot_name = 'docmill_postgres'").await;
    scene.run(&changes(1)).await;
    scene.equal().await;
    let kept = "select (count(*) = 1)::text from pg_replication_slots where slot_name = 'docmill_postgres' and synced and not temporary";
    let synced = async {
        while standby.ask(kept).await != "true" {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, synced).await.expect("the standby keeps a copy of the slot");
    scene.run(&changes(2)).await;
    standby.caught_up_with(&primary).await;
    primary.kill();
    // The name leads to it before it is promoted, as it may.
    turn(&mut scene, &forward, &standby);
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    standby.promote().await;
    standby.run("alter system reset synchronized_standby_slots").await;
    standby.run("select pg_reload_conf()").await;
    scene.run(&changes(3)).await;
    scene.equal().await;
    scene.run(&changes(4)).await;
    scene.equal().await;
    let log = docmill.log();
    assert_eq!(log.matches("the slot was created").count(), 1, "{log}");
    assert!(docmill.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_no_standby_keeps_is_noted_by_check_with_what_changes_it() {
    let cluster = Cluster::of_major(17, &[]).await;
    cluster.run("select pg_create_logical_replication_slot('docmill', 'pgoutput')").await;
    let options = PostgresOptions { url: cluster.server().url(), ..PostgresOptions::default() };
    let note = async || {
        let findings = check(&options, &[], None).await;
        findings
            .into_iter()
            .find(|finding| finding.subject == "slot docmill" && finding.found.contains("standbys keep no copy"))
    };
    let remedy = note().await.expect("a note").remedy.expect("a remedy");
    assert!(remedy.contains("ALTER_REPLICATION_SLOT docmill (FAILOVER true)"), "{remedy}");
    // Where there is a psql, it is what the remedy says.
    let url = format!("{}?replication=database", cluster.server().url());
    let command = std::process::Command::new("psql")
        .args(["-X", "-d", &url, "-c", "ALTER_REPLICATION_SLOT docmill (FAILOVER true)"])
        .output();
    match command {
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            assert!(note().await.is_none());
        }
        Err(error) => println!("the remedy was not tried: psql: {error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_was_behind_begins_a_new_history_and_nothing_sticks_at_what_it_never_had() {
    let mut primary = Cluster::start(&[]).await;
    let mut standby = primary.standby(&[]).await;
    let (mut scene, forward) = scene(&primary, "").await;
    standby.caught_up_with(&primary).await;
    // From here on it gets nothing more.
    standby.stop(StopMode::Fast).await;
    let docmill = scene.in_step().await;
    for n in 1..4 {
        scene.run(&changes(n)).await;
    }
    scene.equal().await;
    primary.kill();
    standby.resume().await;
    standby.promote().await;
    turn(&mut scene, &forward, &standby);
    scene.equal().await;
    // Its log is behind where the old one was: positions of the old history must not win.
    scene.run(&changes(5)).await;
    scene.equal().await;
    assert!(docmill.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_fail_overs_with_a_kill_before_the_first_confirmed_batch_end_equal() {
    let mut first = Cluster::start(&[]).await;
    let second = first.standby(&[]).await;
    let (mut scene, forward) = scene(&first, "").await;
    second.caught_up_with(&first).await;
    let docmill = scene.in_step().await;
    scene.run(&changes(1)).await;
    scene.equal().await;
    docmill.kill();
    second.caught_up_with(&first).await;
    first.kill();
    second.promote().await;
    turn(&mut scene, &forward, &second);
    scene.run(&changes(2)).await;
    // The new history is durable, and nothing was written under it yet.
    let docmill = scene.shop.run_with_fail_points("kill:state.claimed");
    assert!(!docmill.ended(PATIENCE).await.success());

    let mut second = second;
    let third = second.standby(&[]).await;
    third.caught_up_with(&second).await;
    second.kill();
    third.promote().await;
    turn(&mut scene, &forward, &third);
    scene.run(&changes(3)).await;
    // Written, and not confirmed.
    let docmill = scene.shop.run_with_fail_points("kill:checkpoint.written");
    scene.run(&changes(4)).await;
    assert!(!docmill.ended(PATIENCE).await.success());
    let docmill = scene.in_step().await;
    scene.run(&changes(5)).await;
    scene.equal().await;
    assert!(docmill.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_row_of_an_old_primary_that_still_answers_gets_into_the_index() {
    let mut old = Cluster::start(&[]).await;
    let new = old.standby(&[]).await;
    let reading = Forward::to(old.port()).await;
    let reader = format!("reader = {{ url = \"{}\", trusted = true }}", reading.url(&old.server().url()));
    let (mut scene, forward) = scene(&old, &reader).await;
    let docmill = scene.in_step().await;
    new.caught_up_with(&old).await;
    new.promote().await;
    // Capture follows; what reads rows is still led to the old one.
    turn(&mut scene, &forward, &new);
    old.run("update users set name = 'of the old world'").await;
    scene.run("update users set email = 'new@example.com' where id <= 5").await;
    scene.run(&changes(1)).await;
    let refused = async {
        while !docmill.log().contains("is not the captured one") {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, refused).await.expect("it says that the reader is led elsewhere");
    let documents = scene.search.documents("users").await.expect("users");
    assert!(documents.values().all(|user| user["name"] != "of the old world"));
    reading.turn(new.port());
    scene.equal().await;
    assert!(docmill.terminate().success());
}
