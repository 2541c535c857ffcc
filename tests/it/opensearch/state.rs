//! State by compare-and-set on a real search engine.

use std::time::Duration;

use docmill::edges::{FailureClass, Sink};
use docmill::opensearch::OpenSearch;
use reqwest::Method;
use serde_json::json;

use super::super::support::http::{Call, Fault, FaultyServer};
use super::{Server, connect, options, state_of};

fn writes_state(call: &Call) -> bool {
    call.method == Method::PUT && call.path.contains("docmill-state") && call.path.contains("/_doc/")
}

#[tokio::test]
async fn a_second_owner_is_refused() {
    let server = Server::fresh().await;
    let (one, other) = (connect(&server).await, connect(&server).await);
    assert!(one.state().load("a shop/ä").await.expect("nothing").is_none());
    let first = one.state().store("a shop/ä", &state_of("one", 1), None).await.expect("stored");
    let refused = other.state().store("a shop/ä", &state_of("other", 1), None).await.expect_err("it is there");
    assert_eq!(refused.class, FailureClass::Fatal);
    assert!(refused.to_string().contains("another process"), "{refused}");

    let (_, seen) = other.state().load("a shop/ä").await.expect("read").expect("there");
    let second = one.state().store("a shop/ä", &state_of("one", 2), Some(&first)).await.expect("stored");
    for stale in [&first, &seen] {
        let refused = other.state().store("a shop/ä", &state_of("other", 3), Some(stale)).await.expect_err("stale");
        assert_eq!(refused.class, FailureClass::Fatal);
    }
    one.state().store("a shop/ä", &state_of("one", 3), Some(&second)).await.expect("the owner goes on");
    one.state().store("another", &state_of("one", 1), None).await.expect("another pipeline's is another");
    let (found, _) = other.state().load("a shop/ä").await.expect("read").expect("there");
    assert_eq!(found, state_of("one", 3));
    server.remove_all().await;
}

#[tokio::test]
async fn a_lost_answer_to_our_own_write_is_recognised() {
    let server = Server::fresh().await;
    let proxy = FaultyServer::before(&server.url).await;
    let mut options = options(&proxy.url, &server.prefix);
    options.request_timeout = Duration::from_secs(2);
    let sink = OpenSearch::connect(options).await.expect("a sink");
    let mut revision = sink.state().store("shop", &state_of("one", 0), None).await.expect("stored");
    for (number, fault) in [
        (1, Fault::Cut { done: true }),
        (2, Fault::HalfAnswer),
        (3, Fault::Garbage),
        (4, Fault::AnswerLate(Duration::from_secs(4))),
    ] {
        proxy.fail(1, writes_state, fault.clone());
        let stored = sink.state().store("shop", &state_of("one", number), Some(&revision)).await;
        revision = stored.unwrap_or_else(|failure| panic!("{fault:?}: {failure}"));
    }
    // One that was not applied is not taken for one that was.
    proxy.fail(1, writes_state, Fault::Cut { done: false });
    let unknown = sink.state().store("shop", &state_of("one", 5), Some(&revision)).await.expect_err("not applied");
    assert_eq!(unknown.class, FailureClass::Transient);
    revision = sink.state().store("shop", &state_of("one", 5), Some(&revision)).await.expect("stored");
    // Said again by a caller who did not learn that it was applied.
    sink.state().store("shop", &state_of("one", 6), Some(&revision)).await.expect("stored");
    sink.state().store("shop", &state_of("one", 6), Some(&revision)).await.expect("the same again is the same");
    server.remove_all().await;
}

#[tokio::test]
async fn a_state_index_deleted_under_us_is_not_made_again_by_a_write() {
    let server = Server::fresh().await;
    let sink = connect(&server).await;
    let revision = sink.state().store("shop", &state_of("one", 1), None).await.expect("stored");
    server.must(Method::DELETE, &server.index("docmill-state"), None).await;
    let refused = sink.state().store("shop", &state_of("one", 2), Some(&revision)).await.expect_err("gone");
    assert_eq!(refused.class, FailureClass::Fatal);
    assert!(refused.to_string().contains("was deleted"), "{refused}");
    assert!(sink.state().load("shop").await.expect("nothing").is_none());
    server.remove_all().await;
}

#[tokio::test]
async fn a_state_that_cannot_be_read_is_not_taken_for_none() {
    let server = Server::fresh().await;
    let sink = connect(&server).await;
    sink.state().store("shop", &state_of("one", 1), None).await.expect("stored");
    let path = format!("{}/_doc/shop", server.index("docmill-state"));
    server.must(Method::PUT, &path, Some(&json!({"state": {"format": 99}}))).await;
    assert_eq!(sink.state().load("shop").await.expect_err("unreadable").class, FailureClass::Fatal);
    server.remove_all().await;
}
