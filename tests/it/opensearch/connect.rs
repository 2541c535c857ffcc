//! Connecting: what answers, what is said when nothing or something else does, and that no secret is ever shown.

use std::time::Duration;

use docmill::edges::{Failure, FailureClass, Sink};
use docmill::opensearch::{Auth, OpenSearch};
use reqwest::Method;
use serde_json::{Value, json};

use super::super::support::http::{Call, Fault, FaultyServer};
use super::{Server, connect, ensure, options, outcomes, users, write};

async fn answered(status: u16, body: Value) -> Failure {
    let server = FaultyServer::fake().await;
    server.fail_always(|call: &Call| call.path == "/", Fault::Answer(status, body));
    OpenSearch::connect(options(&server.url, "")).await.expect_err("refused")
}

#[tokio::test]
async fn engines_that_are_not_written_to_are_named() {
    let version = |number: &str, rest: Value| {
        let mut body = json!({"version": {"number": number}, "tagline": "You Know, for Search"});
        for (name, value) in rest.as_object().expect("fields") {
            body["version"][name] = value.clone();
        }
        body
    };
    for (body, found) in [
        (version("7.17.0", json!({})), "7.17.0"),
        (version("1.3.0", json!({"distribution": "opensearch"})), "opensearch 1.3.0"),
        (json!({"hello": "world"}), "no search engine"),
        (Value::Null, "no search engine"),
    ] {
        let failure = answered(200, body).await;
        assert_eq!(failure.class, FailureClass::Fatal);
        assert!(failure.to_string().contains(found), "{failure}");
    }
}

#[tokio::test]
async fn wrong_credentials_are_fatal_and_say_what_to_do() {
    for (status, word) in [(401, "credentials"), (403, "privilege")] {
        let failure = answered(status, json!({"error": {"type": "security_exception"}})).await;
        assert_eq!(failure.class, FailureClass::Fatal);
        assert!(failure.advice().is_some_and(|advice| advice.contains(word)), "{failure}");
    }
    assert_eq!(answered(503, Value::Null).await.class, FailureClass::Transient);
    let redirected = answered(301, Value::Null).await;
    assert_eq!(redirected.class, FailureClass::Fatal);
    assert!(redirected.to_string().contains("redirects"), "{redirected}");
}

#[tokio::test]
async fn what_cannot_be_reached_is_transient_and_shows_no_login() {
    // Taken and given back: nobody listens there.
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    let url = format!("http://user:geheim@127.0.0.1:{port}");
    let options = options(&url, "");
    assert!(!format!("{options:?}").contains("geheim"), "{options:?}");
    let failure = OpenSearch::connect(options).await.expect_err("nobody there");
    assert_eq!(failure.class, FailureClass::Transient);
    let text = format!("{failure} {failure:?} {}", failure.chain());
    assert!(
        text.contains(&format!("127.0.0.1:{port}")) && !text.contains("geheim") && !text.contains("user"),
        "{text}"
    );
}

#[tokio::test]
async fn each_way_to_log_in_is_one_header_and_never_shown() {
    let basic = || Auth::Basic { user: "u".into(), password: "geheim".into() };
    for (auth, userinfo, expected) in [
        (basic(), "", "Basic dTpnZWhlaW0="),
        (Auth::None, "u:geheim@", "Basic dTpnZWhlaW0="),
        (Auth::ApiKey("geheim".into()), "", "ApiKey geheim"),
        (Auth::Bearer("geheim".into()), "", "Bearer geheim"),
    ] {
        let server = FaultyServer::fake().await;
        // The fake knows no search; that is how its quarantine looks when there is none yet.
        server.fail_always(|call: &Call| call.path.ends_with("/_search"), Fault::Answer(404, Value::Null));
        let mut options = options(&server.url.replace("//", &format!("//{userinfo}")), "");
        options.auth = auth;
        assert!(!format!("{options:?}").contains("geheim"));
        let sink = OpenSearch::connect(options).await.expect("a sink");
        assert!(!format!("{sink:?}").contains("geheim"));
        for seen in server.log() {
            assert_eq!(seen.call.headers["authorization"], expected);
        }
    }
}

#[tokio::test]
async fn a_prefix_that_is_none_and_an_address_that_is_none_are_refused_at_once() {
    for (url, prefix) in
        [("localhost:9200", ""), ("ftp://localhost", ""), ("http://127.0.0.1:1", "_all"), ("http://127.0.0.1:1", "A*")]
    {
        let failure = OpenSearch::connect(options(url, prefix)).await.expect_err("refused");
        assert_eq!(failure.class, FailureClass::Fatal, "{failure}");
        assert!(failure.advice().is_some());
    }
}

#[tokio::test]
async fn a_search_engine_that_does_not_answer_in_time_is_transient() {
    let server = FaultyServer::fake().await;
    server.fail_always(|_| true, Fault::Silence);
    let mut options = options(&server.url, "");
    options.request_timeout = Duration::from_millis(300);
    let failure = OpenSearch::connect(options).await.expect_err("no answer");
    assert_eq!(failure.class, FailureClass::Transient);
    assert!(failure.to_string().contains("no answer in time"), "{failure}");
}

#[tokio::test]
async fn prefixes_share_a_search_engine_and_not_their_indexes() {
    let server = Server::fresh().await;
    let sink = connect(&server).await;
    let other = sink.with_index_prefix(&format!("{}b-", server.prefix)).await.expect("a prefix");
    let (mine, theirs) = (ensure(&sink, users()).await, ensure(&other, users()).await);
    assert_ne!(mine.name, theirs.name);
    outcomes(&other, &[write(&theirs, "1", 7, Some(json!({"age": 1})))]).await;
    assert_eq!(server.documents("users").await.expect("mine").len(), 0);
    assert_eq!(server.documents("b-users").await.expect("theirs").len(), 1);
    other.state().store("shop", &super::state_of("one", 1), None).await.expect("stored");
    assert!(sink.state().load("shop").await.expect("read").is_none());
    let path = format!("_cat/indices/{}*?format=json&expand_wildcards=all", server.prefix);
    assert_eq!(server.must(Method::GET, &path, None).await.as_array().map(Vec::len), Some(3));
    server.remove_all().await;
}
