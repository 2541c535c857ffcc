//! Sweeps: what an earlier builder still had under way is found, though it arrives while the sweep is asked for.

use std::time::Duration;

use docmill::pipeline::OnRejected;
use serde_json::json;

use crate::support::rowwise::Rowwise;
use crate::support::things::Things;

const WINDOW: Duration = Duration::from_secs(8);

/// Nobody but docmill refreshes the index: what is not refreshed by the sweep it does not see.
fn builder(name: &str, prefix: &str) -> Rowwise {
    let mut builder = Rowwise::new(name).with_prefix(prefix);
    builder.index().settings = Some(json!({"number_of_replicas": 0, "refresh_interval": "-1"}));
    builder
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_finds_what_an_earlier_builder_had_under_way() {
    let things = Things::new(30).await;
    let engine = things.run(builder("one", "a-"), WINDOW, OnRejected::Stop).await;
    things.await_equal("one", "a-").await;
    let gate = things.proxy.hold("a-99");
    things.sql("insert into things values ('99', 'late')").await;
    gate.caught().await;
    engine.cut().await;

    let engine = things.run(builder("two", "b-"), WINDOW, OnRejected::Stop).await;
    // All of the new builder's documents are there, and the sweep would find nothing late now.
    let expected = things.expected("two", "b-").await;
    let mut found = things.found().await;
    while !expected.keys().all(|id| found.contains_key(id)) {
        tokio::time::sleep(Duration::from_millis(100)).await;
        found = things.found().await;
    }
    gate.release().await;
    assert!(things.search.document("things", "a-99").await.is_some(), "the late document is there");
    things.await_equal("two", "b-").await;
    engine.stop().await;
}
