//! A search engine that is down, and one that answers everything but what it should.

use std::time::Duration;

use docmill::embedded::StopMode;
use serde_json::{Value, json};

use crate::support::http::{Call, Fault};
use crate::support::opensearch::{Node, OpenSearch};
use crate::support::postgres::{Database, private};
use crate::support::stand::{Stand, limits};
use crate::support::writers::{Load, Writers};

const WINDOW: Duration = Duration::from_secs(2);

/// For how long the search engine is down; a minute by hand, shorter in CI.
const DOWN: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn while_the_search_engine_is_down_feedback_goes_on_and_afterwards_nothing_is_lost() {
    // The server ends a stream that gives no sign of life for so long.
    let server = private(&[("wal_sender_timeout", "3s")]).await;
    let database = Database { name: "postgres".to_owned(), url: server.url_of("postgres") };
    let mut node = Node::start(&[]).await;
    let stand = Stand::of(database, OpenSearch::at(&node.url()), 200, 40).await;
    let engine = stand.engine(limits(WINDOW)).await;
    stand.equal().await;
    let stream = "select coalesce(active_pid::text, 'none') from pg_replication_slots where slot_name like 'docmill%'";
    let before = stand.ask(stream).await;
    node.kill();
    stand.sql("update users set name = 'while it is down'; delete from users where id < 10").await;
    let after = stand.position().await;
    let load = Load { writers: 2, seed: 8, users: 200, products: 40, pause: Duration::from_millis(10) };
    let writers = Writers::start(&stand.database, &load);
    tokio::time::sleep(DOWN).await;
    assert_eq!(stand.ask(stream).await, before, "the stream was not ended");
    assert!(!stand.confirmed(&after).await);
    node.resume().await;
    writers.stop().await;
    stand.equal().await;
    stand.await_confirmed(&after).await;
    assert_eq!(stand.ask(stream).await, before, "it is the same stream still");
    engine.stop().await;
    crate::support::postgres::blocking(move || server.stop(StopMode::Immediate)).await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn through_429_503_time_outs_cuts_and_half_answers_nothing_is_lost() {
    let stand = Stand::new(200, 40).await;
    let engine = stand.engine(limits(WINDOW)).await;
    stand.equal().await;
    let kind = |kind: &str| json!({"error": {"type": kind}});
    let items = |status, kind| Fault::Items { ids: Vec::new(), status, kind };
    for fault in [
        Fault::Answer(429, kind("rejected_execution_exception")),
        Fault::Answer(503, kind("unavailable_shards_exception")),
        Fault::Answer(503, Value::Null),
        Fault::Answer(502, json!("bad gateway")),
        Fault::AnswerLate(Duration::from_millis(1_500)),
        Fault::DoLate(Duration::from_millis(1_500)),
        Fault::Cut { done: false },
        Fault::Cut { done: true },
        Fault::HalfAnswer,
        Fault::Garbage,
        items(429, "es_rejected_execution_exception"),
        items(429, "circuit_breaking_exception"),
        items(503, "unavailable_shards_exception"),
        items(403, "cluster_block_exception"),
        items(500, "a_mistake_of_the_engine"),
    ] {
        stand.proxy.server().fail(2, Call::is_bulk, fault);
    }
    let load = Load { writers: 3, seed: 429, users: 200, products: 40, pause: Duration::from_millis(20) };
    let writers = Writers::start(&stand.database, &load);
    stand.until("every fault was met", async || stand.proxy.server().faults_left() == 0).await;
    let counts = writers.stop().await;
    assert!(counts.committed > 0, "{counts}");
    let after = stand.position().await;
    stand.equal().await;
    stand.await_confirmed(&after).await;
    assert_eq!(stand.proxy.in_two_hands(), []);
    assert_eq!(engine.stop().await.rejected, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_answered_in_time_is_sent_in_smaller_requests() {
    let stand = Stand::new(1_500, 15).await;
    stand.proxy.server().fail_always(|call: &Call| call.items().len() > 100, Fault::Silence);
    let engine = stand.engine(limits(WINDOW)).await;
    stand.equal().await;
    stand.sql("update users set name = 'in small requests'").await;
    stand.equal().await;
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_confirmed_while_the_state_cannot_be_written() {
    let stand = Stand::new(40, 15).await;
    let engine = stand.engine(limits(WINDOW)).await;
    stand.equal().await;
    stand.await_confirmed(&stand.position().await).await;
    stand.proxy.refuse_state();
    stand.sql("update users set name = 'not confirmed'").await;
    let after = stand.position().await;
    stand.equal().await;
    for _ in 0..25 {
        assert!(!stand.confirmed(&after).await, "confirmed before the checkpoint that says so");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    stand.proxy.heal();
    stand.await_confirmed(&after).await;
    engine.stop().await;
}
