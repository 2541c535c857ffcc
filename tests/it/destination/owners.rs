//! Two processes and one destination: only one writes it; and what somebody else wrote is not taken for ours.

use std::time::Duration;

use docmill::edges::FailureClass;
use reqwest::Method;

use crate::support::holding_proxy::HoldingProxy;
use crate::support::stand::{PATIENCE, Stand, limits};

const WINDOW: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_with_a_slot_of_its_own_stops_the_first() {
    let stand = Stand::new(40, 15).await;
    let shop = stand.command(WINDOW, "");
    let first = shop.run();
    stand.in_step(&first).await;
    let other = stand.command(WINDOW, &format!("slot = \"docmill_{}_other\"", stand.database.name));
    let second = other.run();
    second.await_live(PATIENCE).await;
    stand.sql("update users set name = 'two owners'; delete from users where id = 7").await;
    let status = first.ended(PATIENCE).await;
    assert!(!status.success(), "it says that it was taken over");
    let confirmed = stand.ask(
        "select confirmed_flush_lsn::text from pg_replication_slots where slot_name = 'docmill_' || current_database()",
    );
    let before = confirmed.await;
    stand.sql("update users set name = 'one owner' where id < 20").await;
    let after = stand.position().await;
    stand.equal().await;
    assert!(!stand.confirmed(&after).await, "the first one's slot stays at {before}");
    assert!(second.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_was_paused_while_another_took_its_slot_neither_writes_nor_confirms() {
    let stand = Stand::new(40, 15).await;
    let shop = stand.command(WINDOW, "");
    let first = shop.run();
    stand.in_step(&first).await;
    stand.await_confirmed(&stand.position().await).await;
    first.freeze();
    // As wal_sender_timeout does, later.
    stand.sql("select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = 'docmill_' || current_database()").await;
    stand.sql("update users set name = 'for the second'; delete from users where id = 7").await;

    let others = HoldingProxy::before(&stand.search).await;
    let second = shop.again();
    second.configure(&stand.proxy.search().url, &others.search().url);
    let second = second.run();
    second.await_live(PATIENCE).await;
    stand.equal().await;
    let seen = stand.proxy.sent().len();
    let owner = stand.state().await["owner"].clone();
    first.thaw();
    stand.sql("update users set name = 'while both run' where id < 20").await;
    let after = stand.position().await;
    stand.equal().await;
    stand.await_confirmed(&after).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let documents = &stand.proxy.sent()[seen..];
    assert_eq!(documents, [], "the first one writes nothing");
    assert_eq!(stand.state().await["owner"], owner);
    assert!(second.is_running());

    // When the second is gone the first may take over, or be started again; nothing is lost either way.
    assert!(second.terminate().success());
    stand.sql("update users set name = 'after the second'; delete from users where id = 8").await;
    stand
        .until("the first is gone, or has taken over", async || !first.is_running() || stand.differences().await == 0)
        .await;
    let first = if first.is_running() { first } else { shop.run() };
    stand.equal().await;
    assert!(first.terminate().success());
}

/// Compare-and-set would tell the first only when it has written.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_stood_still_sends_no_document_before_it_has_seen_that_it_is_the_owner() {
    let stand = Stand::new(40, 15).await;
    let first = stand.command(WINDOW, "");
    let docmill = first.run();
    stand.in_step(&docmill).await;
    docmill.freeze();
    let frozen = std::time::Instant::now();
    let others = HoldingProxy::before(&stand.search).await;
    let second = stand.command(WINDOW, &format!("slot = \"docmill_{}_other\"", stand.database.name));
    second.configure(&stand.proxy.search().url, &others.search().url);
    let second = second.run();
    second.await_live(PATIENCE).await;
    stand.sql("update users set name = 'for both'; delete from users where id = 7").await;
    stand.equal().await;
    // Longer than a proof is fresh. Its slot has kept what it missed.
    tokio::time::sleep(Duration::from_secs(11).saturating_sub(frozen.elapsed())).await;
    let seen = stand.proxy.sent().len();
    docmill.thaw();
    assert!(!docmill.ended(PATIENCE).await.success(), "it says that it was taken over");
    assert_eq!(stand.proxy.sent()[seen..], [], "the first one writes nothing");
    stand.equal().await;
    assert!(second.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_of_our_history_that_the_source_never_reached_stops_the_pipeline() {
    let stand = Stand::new(20, 5).await;
    let engine = stand.engine(limits(WINDOW)).await;
    stand.equal().await;
    let document = stand.search.document("users", "5").await.expect("a document");
    let path = format!("{}/_doc/5?version={}&version_type=external", stand.search.index("users"), 1u64 << 50);
    stand.search.must(Method::PUT, &path, Some(&document)).await;
    stand.sql("update users set name = 'never arrives' where id = 5").await;
    let after = stand.position().await;
    let failure = engine.ended().await.expect_err("it must stop");
    assert_eq!(failure.class, FailureClass::Fatal);
    assert!(failure.message().contains("versions from elsewhere"), "{failure}");
    assert!(!stand.confirmed(&after).await);
}
