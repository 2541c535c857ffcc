//! An index that is not the one it was: restored from a snapshot, deleted, closed or made lossy, while docmill runs and while it
//! does not.

use std::time::Duration;

use docmill::edges::FailureClass;
use reqwest::Method;
use serde_json::json;

use crate::support::http::{Call, Fault};
use crate::support::opensearch::{Node, OpenSearch};
use crate::support::snapshots::Snapshots;
use crate::support::stand::{Stand, limits};

const WINDOW: Duration = Duration::from_secs(1);

/// What yesterday's snapshot does not know: rows that changed, went and came.
const SINCE: &str = "update users set name = name || '!' where id < 5; delete from users where id = (select max(id) from users);
     update products set name = 'since'; insert into users values (1000 + (select count(*) from users), 'new', 'n', 'NZ', now())";

#[tokio::test(flavor = "multi_thread")]
async fn an_index_restored_from_a_snapshot_is_noticed_running_and_stopped_closed_and_deleted() {
    let snapshots = Snapshots::new();
    let node = Node::start(&[&snapshots.setting()]).await;
    let stand = Stand::on(OpenSearch::at(&node.url()), 40, 15).await;
    let mut engine = stand.engine(limits(WINDOW)).await;
    stand.equal().await;
    let both = format!("{},{}", stand.generation("users").await, stand.generation("products").await);
    snapshots.take(&stand.search, &both).await;
    for (deleted, stopped) in [(false, false), (true, false), (false, true), (true, true)] {
        println!("deleted first: {deleted}, docmill stopped: {stopped}");
        stand.sql(SINCE).await;
        stand.equal().await;
        stand.await_confirmed(&stand.position().await).await;
        if stopped {
            engine.stop().await;
            restore(&stand, &snapshots, &both, deleted).await;
            engine = stand.engine(limits(WINDOW)).await;
        } else {
            // Docmill would make it anew as soon as it sees that it is gone; this time the snapshot is quicker.
            let makes = |call: &Call| call.method == Method::PUT && !call.path.contains("/_");
            stand.proxy.server().fail_always(makes, Fault::Answer(503, json!({"error": {"type": "by_the_test"}})));
            restore(&stand, &snapshots, &both, deleted).await;
            stand.proxy.heal();
        }
        stand.equal().await;
    }
    engine.stop().await;
}

async fn restore(stand: &Stand, snapshots: &Snapshots, indexes: &str, delete: bool) {
    match delete {
        true => stand.search.must(Method::DELETE, indexes, None).await,
        false => stand.search.must(Method::POST, &format!("{indexes}/_close"), None).await,
    };
    snapshots.restore(&stand.search, indexes).await;
    assert!(stand.differences().await > 0, "the snapshot is of an earlier time");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_deleted_under_writes_is_made_and_filled_anew() {
    let stand = Stand::new(40, 15).await;
    let engine = stand.engine(limits(WINDOW)).await;
    stand.equal().await;
    for round in 0..2 {
        let generation = stand.generation("users").await;
        stand.search.must(Method::DELETE, &generation, None).await;
        stand
            .sql(&format!(
                "update users set name = 'round {round}' where id < 20; delete from users where id = 30 + {round}"
            ))
            .await;
        stand.equal().await;
    }
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_wait_while_an_index_is_closed_or_blocked_and_none_is_rejected() {
    let stand = Stand::new(40, 15).await;
    let engine = stand.engine(limits(WINDOW)).await;
    stand.equal().await;
    let generation = stand.generation("users").await;
    let settings = format!("{generation}/_settings");
    for (round, (method, path, body, undo, undone)) in [
        (Method::POST, format!("{generation}/_close"), json!({}), format!("{generation}/_open"), json!({})),
        (
            Method::PUT,
            settings.clone(),
            json!({"index.blocks.write": true}),
            settings.clone(),
            json!({"index.blocks.write": null}),
        ),
        (
            Method::PUT,
            settings.clone(),
            // As the engine does it when a disk is full.
            json!({"index.blocks.read_only_allow_delete": true}),
            settings.clone(),
            json!({"index.blocks.read_only_allow_delete": null}),
        ),
        (
            Method::PUT,
            settings.clone(),
            json!({"index.blocks.read_only": true}),
            settings.clone(),
            json!({"index.blocks.read_only": null}),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        stand.search.must(method.clone(), &path, Some(&body)).await;
        stand
            .sql(&format!(
                "update users set name = 'round {round}' where id < 20; delete from users where id = 30 + {round}"
            ))
            .await;
        let after = stand.position().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(engine.is_running() && !stand.confirmed(&after).await, "round {round}");
        stand.search.must(method, &undo, Some(&undone)).await;
        stand.equal().await;
        stand.await_confirmed(&after).await;
    }
    assert_eq!(engine.stop().await.rejected, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_made_lossy_stops_the_pipeline_and_is_refused_until_it_is_not() {
    let stand = Stand::new(20, 5).await;
    let engine = stand.engine(limits(WINDOW)).await;
    stand.equal().await;
    let settings = format!("{}/_settings", stand.generation("users").await);
    let durability = |value: &str| json!({"index.translog.durability": value});
    stand.search.must(Method::PUT, &settings, Some(&durability("async"))).await;
    for engine in [engine, stand.engine(limits(WINDOW)).await] {
        let failure = engine.ended().await.expect_err("refused");
        assert_eq!(failure.class, FailureClass::Fatal);
        assert!(failure.to_string().contains("durability"), "{failure}");
    }
    stand.search.must(Method::PUT, &settings, Some(&durability("request"))).await;
    stand.sql("update users set name = 'again'").await;
    let engine = stand.engine(limits(WINDOW)).await;
    stand.equal().await;
    engine.stop().await;
}
