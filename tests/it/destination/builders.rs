//! Another builder after a crash, and documents that move to another shard.

use std::time::Duration;

use docmill::model::Routing;
use docmill::pipeline::OnRejected;
use serde_json::json;

use crate::support::rowwise::Rowwise;
use crate::support::things::Things;

const WINDOW: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn after_a_crash_every_document_is_the_new_builders_also_those_that_the_old_one_had_under_way() {
    let things = Things::new(60).await;
    let engine = things.run(Rowwise::new("one"), WINDOW, OnRejected::Stop).await;
    things.await_equal("one", "").await;
    let gate = things.proxy.hold("7");
    things.sql("update things set name = 'by the old one' where id in ('7', '8')").await;
    gate.caught().await;
    engine.cut().await;
    let engine = things.run(Rowwise::new("two"), WINDOW, OnRejected::Stop).await;
    things.await_equal("two", "").await;
    gate.release().await;
    things.await_equal("two", "").await;
    engine.cut().await;
    // And back: the labels of the first process are behind all of that.
    let engine = things.run(Rowwise::new("one"), WINDOW, OnRejected::Stop).await;
    things.await_equal("one", "").await;
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_moves_to_another_routing_value_leaves_one_copy_over_all_shards() {
    let things = Things::new(0).await;
    let place = "(array['a', 'b', 'c', 'd', 'e'])[1 + g % 5]";
    let fill = format!("insert into things select {place} || ':' || g, 'thing ' || g from generate_series(1, 60) g");
    things.sql(&fill).await;
    let mut builder = Rowwise::new("one");
    builder.index().settings = Some(json!({"number_of_shards": 5, "number_of_replicas": 0}));
    builder.index().routing = Some(Routing { until: ":".into() });
    let engine = things.run(builder, WINDOW, OnRejected::Stop).await;
    things.await_equal("one", "").await;
    for (from, to) in [("a", "b"), ("b", "c"), ("c", "a")] {
        let moved = format!("update things set id = '{to}' || substr(id, 2) where id like '{from}:%'");
        things.sql(&moved).await;
    }
    things.sql("delete from things where id like 'd:%'; update things set name = 'stays' where id like 'e:%'").await;
    // The reading of an index fails on an id that it holds twice, in whatever shards.
    things.await_equal("one", "").await;
    engine.stop().await;
}
