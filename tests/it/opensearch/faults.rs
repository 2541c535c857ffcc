//! What is made of answers that are late, cut, half, refused or no answers: the same bytes may be sent again only where they
//! surely were not applied.

use std::sync::Arc;
use std::time::Duration;

use docmill::edges::{Failure, FailureClass, Generation, Sink, SoleOwner, Write, WriteOutcome};
use docmill::opensearch::OpenSearch;
use serde_json::{Value, json};

use super::super::support::http::{Call, Fault, FaultyServer};
use super::{options, write};

/// What the fake's answers are kept under: the name that writes go through.
const INDEX: &str = "users.01234567-1";
const WRITTEN_THROUGH: &str = "users.01234567-1.Write";

async fn fake() -> (FaultyServer, Arc<OpenSearch>) {
    let server = FaultyServer::fake().await;
    server.fail_always(|call: &Call| call.path.ends_with("/_search"), Fault::Answer(404, Value::Null));
    let mut options = options(&server.url, "");
    options.request_timeout = Duration::from_millis(500);
    let sink = OpenSearch::connect(options).await.expect("a sink");
    (server, sink)
}

fn three() -> [Write; 3] {
    let users = Generation { name: INDEX.into(), uuid: "u".into(), created: false, empty: true };
    ["a", "b", "c"].map(|id| write(&users, id, 7, Some(json!({"age": 1}))))
}

async fn under(fault: Fault) -> (FaultyServer, Result<Vec<WriteOutcome>, Failure>) {
    let (server, sink) = fake().await;
    server.fail(1, Call::is_bulk, fault);
    let found = sink.write(&three(), &SoleOwner).await;
    assert_eq!(server.bulks().len(), 1, "the sink never sends again by itself");
    (server, found)
}

fn all(found: &Result<Vec<WriteOutcome>, Failure>, is: fn(&WriteOutcome) -> bool) -> bool {
    matches!(found, Ok(outcomes) if outcomes.len() == 3 && outcomes.iter().all(is))
}

fn unknown(outcome: &WriteOutcome) -> bool {
    matches!(outcome, WriteOutcome::Unknown(_))
}

fn overloaded(outcome: &WriteOutcome) -> bool {
    matches!(outcome, WriteOutcome::Overloaded(_))
}

#[tokio::test]
async fn an_answer_that_says_nothing_leaves_every_outcome_unknown() {
    for fault in [
        Fault::Cut { done: false },
        Fault::Cut { done: true },
        Fault::HalfAnswer,
        Fault::Garbage,
        Fault::Silence,
        Fault::AnswerLate(Duration::from_secs(2)),
        Fault::Answer(500, Value::Null),
        Fault::Answer(502, json!("bad gateway")),
        Fault::Answer(503, json!({"error": {"type": "unavailable_shards_exception"}})),
        Fault::Answer(504, Value::Null),
        Fault::Answer(200, json!({"items": []})),
        Fault::Answer(200, json!({})),
        Fault::Answer(200, Value::Null),
    ] {
        let (_server, found) = under(fault.clone()).await;
        assert!(all(&found, unknown), "{fault:?}: {found:?}");
    }
}

#[tokio::test]
async fn a_refusal_for_load_lets_the_same_bytes_be_sent_again() {
    let (_server, found) = under(Fault::Answer(429, json!({"error": {"type": "rejected_execution_exception"}}))).await;
    assert!(all(&found, overloaded), "{found:?}");
    for (status, kind) in [
        (429, "es_rejected_execution_exception"),
        (429, "circuit_breaking_exception"),
        (403, "cluster_block_exception"),
        (429, "cluster_block_exception"),
        (400, "index_closed_exception"),
    ] {
        let (server, found) = under(Fault::Items { ids: vec!["b".into()], status, kind }).await;
        let found = found.expect("outcomes");
        assert!(matches!(&found[1], WriteOutcome::Overloaded(why) if why.starts_with(kind)), "{found:?}");
        assert_eq!([&found[0], &found[2]], [&WriteOutcome::Written; 2]);
        assert_eq!(server.index().documents(WRITTEN_THROUGH).len(), 2);
    }
}

#[tokio::test]
async fn no_connection_means_that_nothing_was_sent() {
    let (server, sink) = fake().await;
    drop(server);
    // The first still has a connection from before, which is cut: that one may have been sent.
    let _ = sink.write(&three(), &SoleOwner).await;
    let found = sink.write(&three(), &SoleOwner).await;
    assert!(all(&found, overloaded), "{found:?}");
}

#[tokio::test]
async fn a_server_error_of_one_item_leaves_that_one_unknown() {
    let fault = Fault::Items { ids: vec!["a".into()], status: 503, kind: "unavailable_shards_exception" };
    let found = under(fault).await.1.expect("outcomes");
    assert!(unknown(&found[0]) && found[1..] == [WriteOutcome::Written, WriteOutcome::Written], "{found:?}");
}

#[tokio::test]
async fn what_needs_a_person_fails_the_whole_call_with_advice() {
    for fault in [
        Fault::Answer(401, Value::Null),
        Fault::Answer(403, json!({"error": {"type": "security_exception"}})),
        Fault::Answer(400, json!({"error": {"type": "illegal_argument_exception"}})),
        Fault::Answer(302, Value::Null),
        Fault::Items { ids: vec!["b".into()], status: 400, kind: "an_error_that_nobody_knows" },
    ] {
        let failure = under(fault.clone()).await.1.expect_err("a failure");
        assert_eq!(failure.class, FailureClass::Fatal, "{fault:?}");
        assert!(failure.advice().is_some() || failure.message().contains("400"), "{failure}");
    }
    // What an index was is compared anew when it is gone.
    let gone = Fault::Items { ids: vec!["b".into()], status: 404, kind: "index_not_found_exception" };
    assert_eq!(under(gone).await.1.expect_err("a failure").class, FailureClass::Restart);
    // A block of the whole cluster passes.
    let blocked = Fault::Answer(403, json!({"error": {"type": "cluster_block_exception"}}));
    assert_eq!(under(blocked).await.1.expect_err("a failure").class, FailureClass::Transient);
}

#[tokio::test]
async fn a_request_that_is_too_large_is_halved_until_a_document_stands_alone() {
    let (server, sink) = fake().await;
    let too_large = |call: &Call| call.is_bulk() && call.ids().iter().any(|(_, id)| id == "b");
    server.fail_always(too_large, Fault::Answer(413, Value::Null));
    let found = sink.write(&three(), &SoleOwner).await.expect("outcomes");
    let WriteOutcome::Rejected(rejection) = &found[1] else { panic!("{found:?}") };
    assert_eq!(rejection.kind, "request_too_large");
    assert_eq!((&found[0], &found[2]), (&WriteOutcome::Written, &WriteOutcome::Written));
    assert_eq!(server.index().documents(WRITTEN_THROUGH).len(), 2);
}

#[tokio::test]
async fn a_response_past_its_limit_is_not_read_to_its_end() {
    let server = FaultyServer::fake().await;
    server.fail_always(|call: &Call| call.path.ends_with("/_search"), Fault::Answer(404, Value::Null));
    let mut options = options(&server.url, "");
    options.response_bytes_max = 1_000;
    let sink = OpenSearch::connect(options).await.expect("a sink");
    server.fail(1, Call::is_bulk, Fault::Answer(200, json!({"items": "x".repeat(100_000)})));
    let found = sink.write(&three(), &SoleOwner).await;
    assert!(all(&found, unknown), "{found:?}");
}

#[tokio::test]
async fn no_more_requests_are_under_way_than_allowed() {
    let server = FaultyServer::fake().await;
    server.fail_always(|call: &Call| call.path.ends_with("/_search"), Fault::Answer(404, Value::Null));
    server.fail_always(Call::is_bulk, Fault::AnswerLate(Duration::from_millis(50)));
    let mut options = options(&server.url, "");
    (options.bulk_writes_max, options.bulk_in_flight, options.bulk_in_flight_max) = (1, 2, 2);
    let sink = OpenSearch::connect(options).await.expect("a sink");
    let users = Generation { name: INDEX.into(), uuid: "u".into(), created: false, empty: true };
    let writes: Vec<Write> = (0..10).map(|id| write(&users, &id.to_string(), 7, Some(json!({})))).collect();
    let begun = std::time::Instant::now();
    let outcomes = sink.write(&writes, &SoleOwner).await.expect("outcomes");
    assert!(outcomes.iter().all(|outcome| *outcome == WriteOutcome::Written));
    assert!(begun.elapsed() >= Duration::from_millis(250), "ten requests, two at a time, 50 ms each");
}
