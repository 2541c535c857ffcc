//! The late window: a deletion is final only when no older write of the document can arrive any more.
//!
//! ```text
//! write of 5 held ─ client gives up ─ written again ─ 5 deleted ─ deletion forgotten ─ held write arrives ─ second look
//! ```

use std::time::Duration;

use crate::support::command::Docmill;
use crate::support::holding_proxy::Gate;
use crate::support::opensearch::{Node, OpenSearch};
use crate::support::stand::Stand;

/// Long enough for everything that happens between a held request and its arrival, on a busy machine.
const WINDOW: Duration = Duration::from_secs(12);

/// A command in step, whose write of user 5 is held by the proxy, and was made again and answered.
async fn with_a_held_write(stand: &Stand, fail_points: &str) -> (Docmill, Gate) {
    let shop = stand.command(WINDOW, "");
    let docmill = shop.run_with_fail_points(fail_points);
    stand.in_step(&docmill).await;
    let gate = stand.proxy.hold("5");
    stand.sql("update users set name = 'held' where id = 5").await;
    gate.caught().await;
    stand.equal().await;
    (docmill, gate)
}

/// Deletes user 5, waits until the document is gone, makes the search engine forget that, and lets the held write arrive.
async fn delete_forget_and_deliver(stand: &Stand, gate: &Gate) -> String {
    stand.sql("delete from users where id = 5").await;
    let after = stand.position().await;
    stand.until("the document is deleted", async || !stand.has("users", "5").await).await;
    stand.forget_deletions("users").await;
    deliver(stand, gate).await;
    after
}

async fn deliver(stand: &Stand, gate: &Gate) {
    let answer = gate.release().await;
    // Without this nothing would be shown.
    assert!(stand.has("users", "5").await, "the late write brings the document back: {answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_write_of_a_deleted_document_is_undone_and_the_deletion_not_confirmed_before() {
    let stand = Stand::new(20, 5).await;
    let (docmill, gate) = with_a_held_write(&stand, "").await;
    let after = delete_forget_and_deliver(&stand, &gate).await;
    assert!(!stand.confirmed(&after).await, "confirmed while it could be undone");
    stand.until("the document is deleted again", async || !stand.has("users", "5").await).await;
    stand.equal().await;
    stand.await_confirmed(&after).await;
    assert!(docmill.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_second_look_a_late_write_brings_a_deleted_document_back_for_ever() {
    let stand = Stand::new(20, 5).await;
    let (docmill, gate) = with_a_held_write(&stand, "no-second-look").await;
    let after = delete_forget_and_deliver(&stand, &gate).await;
    stand.await_confirmed(&after).await;
    tokio::time::sleep(WINDOW + Duration::from_secs(2)).await;
    assert_eq!(stand.differences().await, 1, "the rule is not what mends it");
    assert!(docmill.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_write_of_a_process_that_was_killed_is_undone_by_the_next() {
    let stand = Stand::new(20, 5).await;
    let shop = stand.command(WINDOW, "");
    let docmill = shop.run();
    stand.in_step(&docmill).await;
    let gate = stand.proxy.hold("5");
    stand.sql("update users set name = 'held' where id = 5").await;
    gate.caught().await;
    docmill.kill();
    let docmill = shop.run();
    delete_forget_and_deliver(&stand, &gate).await;
    stand.equal().await;
    assert!(docmill.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_write_whose_change_was_confirmed_before_the_kill_is_undone_too() {
    let stand = Stand::new(20, 5).await;
    let (docmill, gate) = with_a_held_write(&stand, "").await;
    let after = stand.position().await;
    stand.await_confirmed(&after).await;
    docmill.kill();
    // Nothing of the held write comes again by the stream.
    let shop = stand.command(WINDOW, "");
    let docmill = shop.run();
    delete_forget_and_deliver(&stand, &gate).await;
    stand.equal().await;
    assert!(docmill.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_write_after_the_document_was_deleted_flushed_and_the_node_restarted_is_undone() {
    let mut node = Node::start(&[]).await;
    let stand = Stand::on(OpenSearch::at(&node.url()), 20, 5).await;
    // Starting the node again is part of it.
    let window = Duration::from_secs(40);
    let shop = stand.command(window, "");
    let docmill = shop.run();
    stand.in_step(&docmill).await;
    let gate = stand.proxy.hold("5");
    stand.sql("update users set name = 'held' where id = 5").await;
    gate.caught().await;
    stand.equal().await;
    stand.sql("delete from users where id = 5").await;
    stand.until("the document is deleted", async || !stand.has("users", "5").await).await;
    let generation = stand.generation("users").await;
    stand.search.must(reqwest::Method::POST, &format!("{generation}/_flush"), None).await;
    node.kill();
    node.resume().await;
    stand.await_started("users").await;
    deliver(&stand, &gate).await;
    stand.equal().await;
    assert!(docmill.terminate().success());
}
