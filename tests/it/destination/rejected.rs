//! Documents that are refused, alone, by the builder or by the search engine, also when an older good write arrives late.

use std::time::Duration;

use docmill::edges::FailureClass;
use docmill::pipeline::OnRejected;

use crate::support::rowwise::Rowwise;
use crate::support::stand::{PATIENCE, Stand};
use crate::support::things::Things;

const WINDOW: Duration = Duration::from_secs(2);

fn trapping() -> Rowwise {
    let mut builder = Rowwise::new("one");
    builder.fails_on = Some("13".to_owned());
    builder
}

#[tokio::test(flavor = "multi_thread")]
async fn one_document_that_traps_the_builder_is_quarantined_alone_and_comes_when_it_does_not() {
    let things = Things::new(60).await;
    let engine = things.run(trapping(), WINDOW, OnRejected::Quarantine).await;
    let mut expected = things.expected("one", "").await;
    expected.remove("13");
    let begin = std::time::Instant::now();
    while things.found().await != expected || things.quarantined().await != ["13"] {
        assert!(begin.elapsed() < PATIENCE, "{:?} and {:?}", things.found().await.len(), things.quarantined().await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(engine.stop().await.rejected >= 1);
    let engine = things.run(Rowwise::new("two"), WINDOW, OnRejected::Quarantine).await;
    things.await_equal("two", "").await;
    assert_eq!(things.quarantined().await, [""; 0], "cleared by the good write");
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_policy_stop_a_document_that_traps_the_builder_stops_the_pipeline_and_loses_nothing() {
    let things = Things::new(60).await;
    let failure = things.run(trapping(), WINDOW, OnRejected::Stop).await.ended().await.expect_err("it stops");
    assert_eq!(failure.class, FailureClass::Fatal);
    assert!(failure.message().contains("document 13 of index things"), "{failure}");
    let engine = things.run(Rowwise::new("two"), WINDOW, OnRejected::Stop).await;
    things.await_equal("two", "").await;
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_good_write_that_arrives_late_leaves_the_record_of_a_later_refusal() {
    let stand = Stand::new(20, 5).await;
    let shop = stand.command(WINDOW, "");
    let docmill = shop.run();
    stand.in_step(&docmill).await;
    let gate = stand.proxy.hold("5");
    stand.sql("update users set name = 'good' where id = 5").await;
    gate.caught().await;
    // One term that no keyword field takes.
    stand.sql("update users set country = repeat('x', 40000) where id = 5").await;
    let records = async || {
        stand.search.refresh("docmill-quarantine").await;
        let records = stand.search.documents("docmill-quarantine").await.unwrap_or_default();
        records.into_values().filter(|record| record["id"] == "5").count()
    };
    stand.until("the newer content is quarantined", async || records().await == 1).await;
    gate.release().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(records().await, 1, "the late good write is older than the refusal");
    docmill.kill();
    let docmill = shop.run();
    docmill.await_live(PATIENCE).await;
    assert_eq!(records().await, 1);
    stand.sql("update users set country = 'DE' where id = 5").await;
    stand.equal().await;
    stand.until("the record is cleared by the good write", async || records().await == 0).await;
    assert!(docmill.terminate().success());
}
