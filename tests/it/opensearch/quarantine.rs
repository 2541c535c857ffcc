//! Quarantined documents on a real search engine.

use docmill::edges::{Sink, WriteOutcome};
use reqwest::Method;
use serde_json::json;

use super::{Server, connect, ensure, outcomes, record, users, write};

async fn ids(server: &Server) -> Vec<String> {
    let found = server.documents("docmill-quarantine").await.expect("the quarantine");
    let mut ids: Vec<String> =
        found.into_values().map(|record| record["id"].as_str().expect("an id").to_owned()).collect();
    ids.sort();
    ids
}

#[tokio::test]
async fn a_record_is_parked_once_and_cleared_by_a_later_good_write_even_after_a_restart() {
    let server = Server::fresh().await;
    let sink = connect(&server).await;
    let users = ensure(&sink, users()).await;
    for _ in 0..2 {
        sink.quarantine(&[record(&users, "1", 5), record(&users, "2", 5), record(&users, "3", 5)])
            .await
            .expect("parked");
    }
    assert_eq!(ids(&server).await, ["1", "2", "3"]);
    let parked = server.documents("docmill-quarantine").await.expect("the quarantine");
    assert!(parked.values().all(|record| record["kind"] == "trap" && record["detail"] == "whole text"), "{parked:?}");

    outcomes(&sink, &[write(&users, "1", 6, Some(json!({"age": 1})))]).await;
    assert_eq!(ids(&server).await, ["2", "3"]);
    let again = connect(&server).await;
    outcomes(&again, &[write(&users, "2", 6, None)]).await;
    assert_eq!(ids(&server).await, ["3"]);
    server.remove_all().await;
}

#[tokio::test]
async fn an_older_good_write_leaves_the_record_of_a_later_refusal_and_a_later_one_clears_it() {
    let server = Server::fresh().await;
    let sink = connect(&server).await;
    let users = ensure(&sink, users()).await;
    sink.quarantine(&[record(&users, "1", 9)]).await.expect("parked");
    let written = outcomes(&sink, &[write(&users, "1", 7, Some(json!({"age": 1})))]).await;
    assert_eq!(written, [WriteOutcome::Written]);
    assert_eq!(ids(&server).await, ["1"]);
    outcomes(&sink, &[write(&users, "1", 10, Some(json!({"age": 1})))]).await;
    assert_eq!(ids(&server).await, [""; 0]);
    // Cleared at 10: what was refused before that does not come back.
    sink.quarantine(&[record(&users, "1", 9)]).await.expect("beaten by a later version");
    assert_eq!(ids(&server).await, [""; 0]);
    server.remove_all().await;
}

#[tokio::test]
async fn a_quarantine_deleted_by_hand_stops_nothing() {
    let server = Server::fresh().await;
    let sink = connect(&server).await;
    let users = ensure(&sink, users()).await;
    sink.quarantine(&[record(&users, "1", 5)]).await.expect("parked");
    server.must(Method::DELETE, &server.index("docmill-quarantine"), None).await;
    let written = outcomes(&sink, &[write(&users, "1", 6, Some(json!({"age": 1})))]).await;
    assert_eq!(written, [WriteOutcome::Written]);
    let mut parked = sink.quarantine(&[record(&users, "2", 5)]).await;
    if parked.is_err() {
        parked = sink.quarantine(&[record(&users, "2", 5)]).await;
    }
    parked.expect("the index is made again");
    assert_eq!(ids(&server).await, ["2"]);
    server.remove_all().await;
}
