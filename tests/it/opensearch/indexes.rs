//! Indexes behind aliases on a real search engine.

use docmill::edges::{Failure, FailureClass, Severity};
use docmill::edges::{Sink, WriteOutcome};
use docmill::model::IndexDeclaration;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Server, connect, declared, ensure, outcomes, users, write};

async fn refused(server: &Server, index: IndexDeclaration) -> Failure {
    let sink = connect(server).await;
    let refused = sink.indexes().ensure(&[index]).await.expect_err("refused");
    assert_eq!(refused.class, FailureClass::Fatal, "{refused}");
    refused
}

/// The index behind the alias of `users`, as the engine describes it.
async fn described(server: &Server) -> Value {
    let found = server.must(Method::GET, &server.index("users"), None).await;
    let Value::Object(found) = found else { panic!("an index") };
    assert_eq!(found.len(), 1);
    found.into_iter().next().expect("one").1
}

#[tokio::test]
async fn an_index_is_made_once_with_its_alias_and_then_left_as_it_is() {
    let server = Server::fresh().await;
    let sink = connect(&server).await;
    let first = ensure(&sink, users()).await;
    assert!(first.created && first.empty && first.name.starts_with(&format!("{}.", server.index("users"))));
    let index = described(&server).await;
    assert_eq!(index["mappings"]["dynamic"], "strict");
    assert_eq!(index["settings"]["index"]["gc_deletes"], "240s");
    assert_eq!(index["settings"]["index"]["number_of_replicas"], "0");
    outcomes(&sink, &[write(&first, "1", 7, Some(json!({"age": 1})))]).await;
    for _ in 0..2 {
        let again = ensure(&connect(&server).await, users()).await;
        assert_eq!((&again.name, &again.uuid), (&first.name, &first.uuid));
        assert!(!again.created && !again.empty);
    }
    assert_eq!(described(&server).await, index);
    server.remove_all().await;
}

#[tokio::test]
async fn an_index_made_by_two_at_once_is_one() {
    let server = Server::fresh().await;
    let (one, other) = (connect(&server).await, connect(&server).await);
    let (one, other) = tokio::join!(ensure(&one, users()), ensure(&other, users()));
    assert_eq!((&one.name, &one.uuid), (&other.name, &other.uuid));
    assert!(one.created != other.created);
    server.remove_all().await;
}

#[tokio::test]
async fn fields_that_are_added_are_put_in_place() {
    let server = Server::fresh().await;
    let sink = connect(&server).await;
    let first = ensure(&sink, users()).await;
    let mut more = users();
    more.mapping["properties"]["home"]["properties"]["zip"] = json!({"type": "keyword"});
    more.mapping["properties"]["born"] = json!({"type": "date"});
    more.settings = Some(json!({"index": {"refresh_interval": "5s"}}));
    for _ in 0..2 {
        assert_eq!(ensure(&sink, more.clone()).await.uuid, first.uuid);
    }
    let index = described(&server).await;
    assert_eq!(index["settings"]["index"]["refresh_interval"], "5s");
    let document = json!({"born": "2020-01-01", "home": {"zip": "1"}});
    assert_eq!(outcomes(&sink, &[write(&first, "1", 7, Some(document))]).await, [WriteOutcome::Written]);
    // The builder before that one is another now: it would leave the new fields out.
    let failure = refused(&server, users()).await;
    assert!(failure.to_string().contains("field "), "{failure}");
    server.remove_all().await;
}

#[tokio::test]
async fn a_changed_field_or_setting_needs_a_new_index_and_says_what_to_do() {
    let server = Server::fresh().await;
    let first = ensure(&connect(&server).await, users()).await;
    let mut other = users();
    other.mapping["properties"]["age"]["type"] = json!("keyword");
    let failure = refused(&server, other).await;
    assert!(failure.to_string().contains("field age") && failure.to_string().contains(&first.name), "{failure}");
    assert!(failure.advice().is_some_and(|advice| advice.contains("delete index")), "{failure}");
    let mut wider = users();
    wider.settings = Some(json!({"number_of_replicas": 0, "number_of_shards": 2}));
    assert!(refused(&server, wider).await.to_string().contains("setting number_of_shards"));
    server.remove_all().await;
}

#[tokio::test]
async fn a_name_that_somebody_else_has_is_not_taken_over() {
    let server = Server::fresh().await;
    let name = server.index("users");
    server.must(Method::PUT, &name, None).await;
    let failure = refused(&server, users()).await;
    assert!(failure.to_string().contains("an index of its own"), "{failure}");
    server.must(Method::DELETE, &name, None).await;
    let theirs = server.index("theirs");
    server.must(Method::PUT, &theirs, Some(&json!({"aliases": {name.as_str(): {}}}))).await;
    let failure = refused(&server, users()).await;
    assert!(failure.to_string().contains(&theirs), "{failure}");
    // A name of our form does not make it ours.
    server.must(Method::DELETE, &theirs, None).await;
    let alike = format!("{name}.01234567-1");
    server.must(Method::PUT, &alike, Some(&json!({"aliases": {name.as_str(): {}}}))).await;
    assert!(refused(&server, users()).await.to_string().contains("_meta"));
    server.remove_all().await;
}

#[tokio::test]
async fn an_index_whose_alias_was_taken_away_is_named() {
    let server = Server::fresh().await;
    let first = ensure(&connect(&server).await, users()).await;
    server.must(Method::DELETE, &format!("{}/_alias/{}", first.name, server.index("users")), None).await;
    let failure = refused(&server, users()).await;
    assert!(failure.to_string().contains(&first.name), "{failure}");
    server.remove_all().await;
}

#[tokio::test]
async fn what_would_lose_confirmed_writes_is_refused() {
    let server = Server::fresh().await;
    let first = ensure(&connect(&server).await, users()).await;
    let asynchronous = json!({"index.translog.durability": "async"});
    server.must(Method::PUT, &format!("{}/_settings", first.name), Some(&asynchronous)).await;
    assert!(refused(&server, users()).await.to_string().contains("durability"));
    let findings = connect(&server).await.check(&[users()]).await;
    assert!(findings.iter().any(|finding| finding.severity == Severity::Error && finding.found.contains("durability")));
    server.remove_all().await;
}

#[tokio::test]
async fn a_mapping_that_the_engine_refuses_says_why() {
    let server = Server::fresh().await;
    let failure = refused(&server, declared(json!({"properties": {"a": {"type": "nonsense"}}}))).await;
    assert!(failure.to_string().contains("nonsense"), "{failure}");
    server.remove_all().await;
}

#[tokio::test]
async fn a_check_writes_nothing_and_finds_what_a_run_would_refuse() {
    let server = Server::fresh().await;
    let sink = connect(&server).await;
    let worst = async |index: IndexDeclaration| {
        let findings = sink.check(&[index]).await;
        findings.into_iter().map(|finding| finding.severity).max().expect("findings")
    };
    assert_eq!(worst(users()).await, Severity::Ok);
    let made = server.must(Method::GET, &format!("_cat/indices/{}*?format=json", server.prefix), None).await;
    assert_eq!(made, json!([]));
    ensure(&sink, users()).await;
    assert_eq!(worst(users()).await, Severity::Ok);
    let mut other = users();
    other.mapping["properties"]["age"]["type"] = json!("keyword");
    assert_eq!(worst(other).await, Severity::Error);
    server.remove_all().await;
}

#[tokio::test]
async fn a_walk_gives_every_id_once_though_nothing_was_refreshed() {
    let server = Server::fresh().await;
    let sink = connect(&server).await;
    let mut index = users();
    index.settings = Some(json!({"number_of_replicas": 0, "number_of_shards": 3, "refresh_interval": "-1"}));
    let users = ensure(&sink, index).await;
    let indexes = sink.indexes();
    assert!(indexes.ids(&users.name, None, 10).await.expect("an empty page").ids.is_empty());
    let writes: Vec<_> = (0..257).map(|id| write(&users, &id.to_string(), 7, Some(json!({"age": id})))).collect();
    outcomes(&sink, &writes).await;
    let (mut found, mut cursor) = (Vec::new(), None);
    loop {
        let page = indexes.ids(&users.name, cursor, 100).await.expect("a page");
        assert!(page.ids.iter().all(|held| held.version.is_some_and(|version| version.number() == 7)));
        found.extend(page.ids.into_iter().map(|held| held.id));
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    found.sort_by_key(|id| id.parse::<u32>().expect("a number"));
    assert_eq!(found, (0..257).map(|id| id.to_string()).collect::<Vec<_>>());
    let lost = indexes.ids(&users.name, Some("bm9uc2Vuc2U=".into()), 100).await.expect_err("no such walk");
    assert!(matches!(lost.class, FailureClass::Transient | FailureClass::Fatal));
    server.remove_all().await;
}

#[tokio::test]
async fn a_generation_is_empty_until_it_holds_a_document() {
    let server = Server::fresh().await;
    let sink = connect(&server).await;
    let users = ensure(&sink, users()).await;
    outcomes(&sink, &[write(&users, "1", 7, Some(json!({"age": 1})))]).await;
    assert!(!ensure(&sink, super::users()).await.empty);
    outcomes(&sink, &[write(&users, "1", 8, None)]).await;
    assert!(ensure(&sink, super::users()).await.empty);
    server.remove_all().await;
}
