//! The mark of an index on a real search engine: it changes when confirmed writes may be gone, and never otherwise.

use std::sync::Arc;
use std::time::Duration;

use docmill::edges::{Failure, FailureClass, Sink};
use docmill::opensearch::OpenSearch;
use reqwest::Method;
use serde_json::json;

use super::super::support::opensearch::Node;
use super::super::support::snapshots::Snapshots;
use super::{Server, connect, declared, ensure, options, outcomes, write};

/// The mark, once every shard answers.
async fn mark(sink: &Arc<OpenSearch>, generation: &str) -> String {
    for _ in 0..300 {
        match sink.indexes().uuid(generation).await {
            Ok(mark) => return mark.expect("the index is there"),
            Err(failure) => assert_eq!(failure.class, FailureClass::Transient, "{failure}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the shards of {generation} do not answer");
}

#[tokio::test]
async fn the_mark_of_an_index_changes_with_a_restore_and_not_with_a_crash() {
    let snapshots = Snapshots::new();
    let mut node = Node::start(&[&snapshots.setting()]).await;
    let server = Server::at(&node.url());
    let sink = connect(&server).await;
    let mut index = declared(json!({"properties": {"age": {"type": "long"}}}));
    index.settings = Some(json!({"number_of_shards": 2, "number_of_replicas": 0}));
    let users = ensure(&sink, index).await;
    outcomes(&sink, &[write(&users, "1", 7, Some(json!({"age": 7})))]).await;
    snapshots.take(&server, &users.name).await;
    outcomes(&sink, &[write(&users, "1", 8, Some(json!({"age": 8})))]).await;
    assert_eq!(mark(&sink, &users.name).await, users.uuid);

    server.must(Method::POST, &format!("{}/_close", users.name), None).await;
    server.must(Method::POST, &format!("{}/_open", users.name), None).await;
    assert_eq!(mark(&sink, &users.name).await, users.uuid, "closed and opened");
    node.kill();
    node.resume().await;
    assert_eq!(mark(&sink, &users.name).await, users.uuid, "killed and started");

    server.must(Method::POST, &format!("{}/_close", users.name), None).await;
    snapshots.restore(&server, &users.name).await;
    let restored = mark(&sink, &users.name).await;
    assert_eq!(server.document("users", "1").await, Some(json!({"age": 7})), "yesterday's");
    assert_ne!(restored, users.uuid, "restored into the closed index");

    server.must(Method::DELETE, &users.name, None).await;
    assert_eq!(sink.indexes().uuid(&users.name).await.expect("an answer"), None);
    snapshots.restore(&server, &users.name).await;
    let again = mark(&sink, &users.name).await;
    assert!(again != users.uuid && again != restored, "deleted and restored");
}

#[tokio::test]
async fn an_index_made_lossy_while_it_is_written_is_refused_when_it_is_looked_at() {
    let server = Server::fresh().await;
    let sink = connect(&server).await;
    let users = ensure(&sink, super::users()).await;
    let asynchronous = json!({"index.translog.durability": "async"});
    server.must(Method::PUT, &format!("{}/_settings", users.name), Some(&asynchronous)).await;
    let refused: Failure = sink.indexes().uuid(&users.name).await.expect_err("refused");
    assert_eq!(refused.class, FailureClass::Fatal);
    assert!(refused.to_string().contains("durability"), "{refused}");
    server.remove_all().await;
}

#[tokio::test]
async fn a_state_index_that_could_lose_a_checkpoint_is_refused() {
    let server = Server::fresh().await;
    let sink = connect(&server).await;
    sink.state().store("shop", &super::state_of("one", 1), None).await.expect("stored");
    let asynchronous = json!({"index.translog.durability": "async"});
    server.must(Method::PUT, &format!("{}/_settings", server.index("docmill-state")), Some(&asynchronous)).await;
    let refused = sink.indexes().ensure(&[super::users()]).await.expect_err("refused");
    assert_eq!(refused.class, FailureClass::Fatal);
    assert!(refused.to_string().contains("docmill-state"), "{refused}");
    server.remove_all().await;
}

#[tokio::test]
async fn a_template_of_the_cluster_does_not_make_an_index_lossy() {
    let server = Server::fresh().await;
    let template = format!("_index_template/{}lossy", server.prefix);
    let body = json!({
        "index_patterns": [format!("{}*", server.prefix)],
        "template": {"settings": {"index.translog.durability": "async"}},
    });
    server.must(Method::PUT, &template, Some(&body)).await;
    let sink = connect(&server).await;
    sink.state().store("shop", &super::state_of("one", 1), None).await.expect("stored");
    let users = ensure(&sink, super::users()).await;
    assert_eq!(sink.indexes().uuid(&users.name).await.expect("a mark"), Some(users.uuid));
    server.must(Method::DELETE, &template, None).await;
    server.remove_all().await;
}

#[tokio::test]
async fn deletions_are_remembered_for_twice_the_late_window_and_the_sink_says_how_late_a_write_may_be() {
    let server = Server::fresh().await;
    let mut options = options(&server.url, &server.prefix);
    assert!(options.late_for() < options.late_window, "the defaults fit");
    options.late_window = Duration::from_secs(7);
    options.request_timeout = Duration::from_secs(4);
    options.connect_timeout = Duration::from_millis(500);
    options.shard_timeout = Duration::from_millis(1_500);
    let sink = OpenSearch::connect(options).await.expect("a sink");
    assert_eq!(sink.late_for(), Duration::from_secs(6));
    let users = ensure(&sink, super::users()).await;
    let settings = server.must(Method::GET, &format!("{}/_settings", users.name), None).await;
    assert_eq!(settings[&users.name]["settings"]["index"]["gc_deletes"], "14s");
    server.remove_all().await;
}
