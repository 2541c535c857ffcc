//! Another builder after a crash, at whatever step that came, and documents that move to another shard.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use docmill::model::Routing;
use docmill::pipeline::OnRejected;
use serde_json::{Value, json};
use tokio_postgres::Row;

use crate::support::command::Shop;
use crate::support::guest;
use crate::support::opensearch::OpenSearch;
use crate::support::postgres::Database;
use crate::support::rowwise::Rowwise;
use crate::support::shop;
use crate::support::stand::PATIENCE;
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

/// What runs after a process that was killed while it changed to another builder.
#[derive(Clone, Copy, Debug)]
enum Next {
    Before,
    Same,
    Third,
}

/// Rule R8, with a builder whose version follows from its configuration.
#[tokio::test(flavor = "multi_thread")]
async fn at_whatever_step_a_change_of_builder_is_killed_all_documents_are_of_the_one_that_runs_next() {
    let (database, search) = (Database::fresh().await, OpenSearch::fresh().await);
    shop::create(&database, 5, 5).await;
    let client = database.connect().await;
    let more_tags = "insert into tags (name) select 'more ' || g from generate_series(1, 5000) g";
    client.batch_execute(more_tags).await.expect("more tags");
    let command = Shop::new(&database, &search, "config = { label = \"0\" }");
    command.configure("shop.wasm", guest::built("configured").await.to_str().expect("a path"));
    let mut label = 0;
    let relabel = |from: &mut u32, to: u32| {
        command.configure(&format!("label = \"{from}\""), &format!("label = \"{to}\""));
        *from = to;
    };
    let await_labelled = async |label: u32| {
        let begin = Instant::now();
        loop {
            let rows = client.query("select id::text, name from tags", &[]).await.expect("tags");
            let document =
                |row: &Row| (row.get(0), json!({"name": row.get::<_, String>(1), "label": label.to_string()}));
            let expected: BTreeMap<String, Value> = rows.iter().map(document).collect();
            let found = search.documents("tags").await.unwrap_or_default();
            if found == expected {
                return;
            }
            let wrong = expected.iter().find(|(id, document)| found.get(*id) != Some(document));
            let wrong = wrong.map(|(id, document)| (document, found.get(id)));
            assert!(begin.elapsed() < PATIENCE, "{} of {}; for example {wrong:?}", found.len(), expected.len());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let docmill = command.run();
    docmill.await_live(PATIENCE).await;
    await_labelled(0).await;
    docmill.kill();
    let mut made = 0;
    for step in ["state.claimed", "checkpoint.written", "pass.marked", "pass.chunk", "pass.chunk:3", "pass.ended"] {
        for next in [Next::Before, Next::Same, Next::Third] {
            println!("killed at {step}, then {next:?}");
            let before = label;
            relabel(&mut label, made + 1);
            let docmill = command.run_with_fail_points(&format!("kill:{step}"));
            client.batch_execute("update tags set name = name || '.' where id % 100 = 7").await.expect("tags");
            docmill.ended(PATIENCE).await;
            client.batch_execute("delete from tags where id = (select max(id) from tags)").await.expect("tags");
            match next {
                Next::Before => relabel(&mut label, before),
                Next::Same => {}
                Next::Third => relabel(&mut label, made + 2),
            }
            made += 2;
            let docmill = command.run();
            await_labelled(label).await;
            client.batch_execute("update tags set name = name || '!' where id % 100 = 8").await.expect("tags");
            await_labelled(label).await;
            docmill.kill();
        }
    }
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
