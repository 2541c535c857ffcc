//! What becomes of writes on a real search engine.

use docmill::edges::{FailureClass, Sink, SoleOwner, WriteOutcome};
use docmill::model::Rejection;
use reqwest::Method;
use serde_json::{Value, json};

use super::super::support::http::{Call, FaultyServer};
use super::{Server, connect, declared, ensure, options, outcomes, users, version, write};

fn stale(position: u64) -> WriteOutcome {
    WriteOutcome::Stale { current: Some(version(position)) }
}

fn kind(outcome: &WriteOutcome) -> &str {
    match outcome {
        WriteOutcome::Rejected(Rejection { kind, .. }) => kind,
        other => panic!("not rejected: {other:?}"),
    }
}

#[tokio::test]
async fn the_highest_version_stays_in_whatever_order_writes_arrive() {
    let server = Server::fresh().await;
    let sink = connect(&server).await;
    let users = ensure(&sink, users()).await;
    let orders: [&[u64]; 6] = [&[1, 2, 3], &[3, 2, 1], &[2, 3, 1], &[1, 3, 2], &[2, 1, 3], &[3, 1, 2]];
    for (number, order) in orders.iter().enumerate() {
        for position in *order {
            let (age, gone) = (format!("age-{number}"), format!("gone-{number}"));
            // Version 2 deletes the one, version 3 the other.
            let first = (*position != 2).then(|| json!({"age": position}));
            let second = (*position != 3).then(|| json!({"age": position}));
            outcomes(&sink, &[write(&users, &age, *position, first), write(&users, &gone, *position, second)]).await;
        }
    }
    let found = server.documents("users").await.expect("the index");
    assert_eq!(found.len(), orders.len());
    assert!(found.iter().all(|(id, document)| id.starts_with("age-") && document["age"] == 3), "{found:?}");
    server.remove_all().await;
}

#[tokio::test]
async fn a_write_that_lost_says_against_which_version_even_a_deleted_one() {
    let server = Server::fresh().await;
    let sink = connect(&server).await;
    let users = ensure(&sink, users()).await;
    let id = "a version conflict, current version [3] is higher";
    let document = || Some(json!({"age": 1}));
    assert_eq!(outcomes(&sink, &[write(&users, id, 7, document())]).await, [WriteOutcome::Written]);
    assert_eq!(outcomes(&sink, &[write(&users, id, 7, document())]).await, [WriteOutcome::Written]);
    assert_eq!(outcomes(&sink, &[write(&users, id, 6, document())]).await, [stale(7)]);
    assert_eq!(outcomes(&sink, &[write(&users, id, 9, None)]).await, [WriteOutcome::Written]);
    assert_eq!(outcomes(&sink, &[write(&users, id, 8, document())]).await, [stale(9)]);
    assert_eq!(outcomes(&sink, &[write(&users, id, 8, None)]).await, [stale(9)]);
    server.remove_all().await;
}

#[tokio::test]
async fn deleting_what_is_not_there_is_done() {
    let server = Server::fresh().await;
    let sink = connect(&server).await;
    let users = ensure(&sink, users()).await;
    assert_eq!(outcomes(&sink, &[write(&users, "1", 7, None)]).await, [WriteOutcome::Written]);
    server.remove_all().await;
}

#[tokio::test]
async fn each_write_has_its_own_outcome_and_names_the_field_but_not_the_value() {
    let server = Server::fresh().await;
    let sink = connect(&server).await;
    let users = ensure(&sink, users()).await;
    let secret = "a-row-value";
    let cases: [(&str, Value, Option<&str>); 7] = [
        ("strict_dynamic_mapping_exception", json!({"unknown": secret}), Some("unknown")),
        ("strict_dynamic_mapping_exception", json!({"home": {"number": secret}}), Some("home.number")),
        ("mapper_parsing_exception", json!({"age": secret}), Some("age")),
        ("mapper_parsing_exception", json!({"home": secret}), Some("home")),
        ("mapper_parsing_exception", json!({"city": {secret: secret}}), Some("city")),
        ("illegal_argument_exception", json!({"city": secret.repeat(4_000)}), Some("city")),
        ("document_id", json!({"age": 1}), None),
    ];
    let mut writes = vec![write(&users, "first", 7, Some(json!({"age": 1})))];
    for (number, (_, document, field)) in cases.iter().enumerate() {
        let id = if field.is_some() { number.to_string() } else { "i".repeat(513) };
        writes.push(write(&users, &id, 7, Some(document.clone())));
        writes.push(write(&users, &format!("good-{number}"), 7, Some(json!({"age": number}))));
    }
    let found = outcomes(&sink, &writes).await;
    assert_eq!(found.len(), writes.len());
    for (number, (expected, _, field)) in cases.iter().enumerate() {
        let outcome = &found[1 + 2 * number];
        assert_eq!(kind(outcome), *expected, "{outcome:?}");
        let WriteOutcome::Rejected(rejection) = outcome else { unreachable!() };
        assert!(!rejection.to_string().contains(secret), "{rejection}");
        if let Some(field) = field {
            assert_eq!(rejection.reason, format!("the search engine refuses field {field}"));
        }
        assert_eq!(found[2 + 2 * number], WriteOutcome::Written);
    }
    assert_eq!(server.documents("users").await.expect("the index").len(), 1 + cases.len());
    server.remove_all().await;
}

#[tokio::test]
async fn documents_that_no_parser_takes_are_refused_alone() {
    let server = Server::fresh().await;
    let sink = connect(&server).await;
    let users = ensure(&sink, users()).await;
    let raw = |id: &str, text: &str| {
        let mut write = write(&users, id, 7, Some(json!({})));
        write.document = Some(text.to_owned().into());
        write
    };
    // Sent, this one overflows the stack of the engine's thread, and is never answered.
    let deep = format!("{}1{}", "{\"extra\":".repeat(1_500), "}".repeat(1_500));
    let bad = [
        raw("1", r#"{"age":1,"age":2}"#),
        raw("2", &format!("{{\"age\":{}}}", "9".repeat(1_200))),
        raw("3", &deep),
        raw("4", r#"{"":1}"#),
        raw("5", "{\n\"age\":1}"),
        raw("6", r#"{"a..b":1}"#),
        raw("7", "{\"age\":1}\n{\"delete\":{\"_index\":\"x\",\"_id\":\"1\"}}"),
    ];
    let mut writes = bad.to_vec();
    writes.push(write(&users, "good", 7, Some(json!({"age": 1}))));
    let found = outcomes(&sink, &writes).await;
    for outcome in &found[..bad.len()] {
        kind(outcome);
    }
    assert_eq!(found[bad.len()], WriteOutcome::Written);
    server.remove_all().await;
}

#[tokio::test]
async fn what_the_documents_say_is_kept_byte_by_byte() {
    let server = Server::fresh().await;
    let sink = connect(&server).await;
    let users = ensure(&sink, users()).await;
    let mut one = write(&users, "ä/\"\u{1}\\ ?#", 7, Some(json!({})));
    one.document = Some(r#"{"price":1.50,"name":"\u00e4 \\ \" ä 😀","age":9007199254740993}"#.into());
    assert_eq!(outcomes(&sink, &[one.clone()]).await, [WriteOutcome::Written]);
    let found = server.document("users", &one.id).await.expect("the document");
    assert_eq!(found.to_string(), r#"{"price":1.5,"name":"ä \\ \" ä 😀","age":9007199254740993}"#);
    server.remove_all().await;
}

#[tokio::test]
async fn a_big_batch_is_split_by_count_and_by_bytes_and_nothing_is_lost() {
    let server = Server::fresh().await;
    let proxy = FaultyServer::before(&server.url).await;
    let mut options = options(&proxy.url, &server.prefix);
    (options.bulk_writes_max, options.bulk_bytes_max, options.document_bytes_max) = (100, 16 << 10, 20_000);
    let sink = docmill::opensearch::OpenSearch::connect(options).await.expect("a sink");
    let users = ensure(&sink, users()).await;
    let mut writes: Vec<_> = (0..1_000).map(|id| write(&users, &id.to_string(), 7, Some(json!({"age": id})))).collect();
    writes.push(write(&users, "large", 7, Some(json!({"name": "word ".repeat(3_500)}))));
    writes.push(write(&users, "too large", 7, Some(json!({"name": "word ".repeat(5_000)}))));
    let found = outcomes(&sink, &writes).await;
    let (last, rest) = found.split_last().expect("outcomes");
    assert!(rest.iter().all(|outcome| *outcome == WriteOutcome::Written));
    assert_eq!(kind(last), "document_too_large");
    let bulks = proxy.bulks();
    assert!(bulks.iter().all(|seen| seen.call.ids().len() <= 100 && seen.call.body.len() <= 20_000));
    assert_eq!(bulks.iter().map(|seen| seen.call.ids().len()).sum::<usize>(), 1_001);
    assert!(bulks.iter().all(|seen| seen.call.query.as_ref().is_some_and(|query| query.contains("timeout=30s"))));
    assert_eq!(server.documents("users").await.expect("the index").len(), 1_001);
    server.remove_all().await;
}

#[tokio::test]
async fn an_index_deleted_under_writes_is_not_made_again_by_them() {
    let server = Server::fresh().await;
    let sink = connect(&server).await;
    let users = ensure(&sink, users()).await;
    server.must(Method::DELETE, &users.name, None).await;
    for document in [None, Some(json!({"age": 1}))] {
        let refused = sink.write(&[write(&users, "1", 7, document)], &SoleOwner).await.expect_err("no index");
        assert_eq!(refused.class, FailureClass::Restart);
        assert!(refused.to_string().contains("was deleted"), "{refused}");
    }
    let indexes = sink.indexes();
    assert_eq!(indexes.uuid(&users.name).await.expect("an answer"), None);
    let walked = indexes.ids(&users.name, None, 10).await.expect_err("no index");
    assert_eq!(walked.class, FailureClass::Restart);
    assert_eq!(server.documents("users").await, None);
    let made = server.must(Method::GET, &format!("_cat/indices/{}*?format=json", server.prefix), None).await;
    assert_eq!(made, json!([]));
    let again = ensure(&sink, super::users()).await;
    assert!(again.created && again.empty && again.uuid != users.uuid);
    server.remove_all().await;
}

#[tokio::test]
async fn the_condition_of_an_index_stops_and_a_block_waits() {
    let server = Server::fresh().await;
    let sink = connect(&server).await;
    let users = ensure(&sink, users()).await;
    let one = || [write(&users, "1", 7, Some(json!({"age": 1})))];
    let settings = format!("{}/_settings", users.name);
    server.must(Method::PUT, &settings, Some(&json!({"index.blocks.write": true}))).await;
    let blocked = outcomes(&sink, &one()).await;
    assert!(matches!(&blocked[..], [WriteOutcome::Overloaded(why)] if why.contains("index.blocks")), "{blocked:?}");
    let missing = json!({"index.blocks.write": null, "index.default_pipeline": "nowhere"});
    server.must(Method::PUT, &settings, Some(&missing)).await;
    let refused = sink.write(&one(), &SoleOwner).await.expect_err("a missing ingest pipeline");
    assert_eq!(refused.class, FailureClass::Fatal);
    server.must(Method::PUT, &settings, Some(&json!({"index.default_pipeline": null}))).await;
    server.must(Method::POST, &format!("{}/_close", users.name), None).await;
    let closed = outcomes(&sink, &one()).await;
    assert!(matches!(&closed[..], [WriteOutcome::Overloaded(why)] if why.contains("_open")), "{closed:?}");
    let indexes = sink.indexes();
    for failure in [indexes.uuid(&users.name).await.err(), indexes.ids(&users.name, None, 10).await.err()] {
        let failure = failure.expect("a closed index says nothing");
        assert_eq!(failure.class, FailureClass::Transient, "{failure}");
        assert!(failure.advice().is_some_and(|advice| advice.contains("_open")), "{failure}");
    }
    server.must(Method::POST, &format!("{}/_open", users.name), None).await;
    let written = async || outcomes(&sink, &one()).await == [WriteOutcome::Written];
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !written().await {
        assert!(std::time::Instant::now() < until, "an opened index takes writes");
    }
    server.remove_all().await;
}

#[tokio::test]
async fn a_routing_value_leads_to_one_shard_for_writing_and_deleting() {
    let server = Server::fresh().await;
    let sink = connect(&server).await;
    let mut index = declared(json!({"properties": {"age": {"type": "long"}}}));
    index.settings = Some(json!({"number_of_shards": 3, "number_of_replicas": 0}));
    let users = ensure(&sink, index).await;
    let routed = |id: &str, position: u64, document: Option<Value>| {
        let mut write = write(&users, id, position, document);
        write.routing = Some(id.split('-').next().unwrap_or_default().to_owned());
        write
    };
    let ids: Vec<String> = (0..30).map(|number| format!("tenant{}-{number}", number % 5)).collect();
    let writes: Vec<_> = ids.iter().map(|id| routed(id, 7, Some(json!({"age": 1})))).collect();
    assert!(outcomes(&sink, &writes).await.iter().all(|outcome| *outcome == WriteOutcome::Written));
    let deletes: Vec<_> = ids.iter().map(|id| routed(id, 8, None)).collect();
    assert!(outcomes(&sink, &deletes).await.iter().all(|outcome| *outcome == WriteOutcome::Written));
    assert_eq!(server.documents("users").await.expect("the index").len(), 0);
    server.remove_all().await;
}

#[tokio::test]
async fn a_call_that_is_bulk_asks_for_a_small_answer() {
    let server = Server::fresh().await;
    let proxy = FaultyServer::before(&server.url).await;
    let sink = docmill::opensearch::OpenSearch::connect(options(&proxy.url, &server.prefix)).await.expect("a sink");
    let users = ensure(&sink, users()).await;
    outcomes(&sink, &[write(&users, "1", 7, Some(json!({"age": 1})))]).await;
    let seen = proxy.log().into_iter().find(|seen| Call::is_bulk(&seen.call)).expect("a bulk");
    assert!(seen.call.query.is_some_and(|query| query.contains("filter_path=items.*.status")));
    server.remove_all().await;
}
