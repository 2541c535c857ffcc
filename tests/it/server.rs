//! The HTTP server: who may ask, and what is answered.

use std::sync::Arc;
use std::time::Duration;

use docmill::edges::{Failure, GuestEnd, Observer, PassReport, Waiting, Written};
use docmill::model::{Origin, PassReason, Position, Rejection};
use docmill::server::{Controls, Served, Server};
use docmill::telemetry::{All, Metrics, PausedBy, Roster, Status};
use reqwest::StatusCode;
use reqwest::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, ORIGIN};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

/// A server on a free port, with one pipeline that is told what happens.
struct Running {
    url: String,
    observer: All,
    status: Arc<Status>,
    shutdown: CancellationToken,
}

impl Running {
    async fn start() -> Self {
        let metrics = Metrics::new("1.2.3");
        let status = Status::new("shop");
        let pipelines = Roster::default();
        pipelines.add(Arc::clone(&status));
        let served = Served { metrics: metrics.clone(), pipelines, controls: Controls::new(None).0 };
        let server = Server::bind("127.0.0.1:0", &["docmill.internal".to_owned()], served).await.expect("a free port");
        let url = format!("http://{}", server.address());
        let shutdown = CancellationToken::new();
        tokio::spawn(server.run(shutdown.clone()));
        let observer = All(vec![Arc::new(metrics.pipeline("shop")), Arc::clone(&status) as _]);
        Self { url, observer, status, shutdown }
    }

    async fn get(&self, path: &str) -> (StatusCode, String) {
        let answer = super::support::http_client().get(format!("{}{path}", self.url)).send().await.expect("an answer");
        (answer.status(), answer.text().await.expect("text"))
    }

    async fn json(&self, path: &str) -> (StatusCode, Value) {
        let (status, text) = self.get(path).await;
        (status, serde_json::from_str(&text).expect("JSON"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

fn pass(done: bool) -> PassReport {
    PassReport {
        id: 1,
        index: "users".into(),
        reason: PassReason::Backfill,
        documents: 5,
        of: Some(10),
        settling: false,
        done,
    }
}

fn written(origin: Origin) -> Written {
    Written {
        index: "users".into(),
        documents: vec!["1".into(), "2".into()],
        absent: vec!["3".into()],
        stale: 1,
        bytes: 64,
        origin,
    }
}

fn rejection() -> Rejection {
    Rejection { kind: "trap".into(), reason: "unreachable".into(), detail: Some("row values".into()) }
}

/// One line of an exposition: name, labels, value.
fn samples(text: &str) -> Vec<(String, String, f64)> {
    let sample = |line: &str| {
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value in {line:?}"));
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}').expect("closed labels")),
            None => (series, ""),
        };
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'), "{name}");
        (name.to_owned(), labels.to_owned(), value.parse().unwrap_or_else(|_| panic!("no number in {line:?}")))
    };
    text.lines().filter(|line| !line.starts_with('#')).map(sample).collect()
}

#[tokio::test]
async fn metrics_are_an_exposition_with_every_name_once_described() {
    let server = Running::start().await;
    let told = &server.observer;
    told.on_captured(3, 300);
    told.on_queue(2, 200);
    told.on_resolved(3, 4, Duration::from_millis(3));
    told.on_built("users", 4, Duration::from_millis(2));
    told.on_written(&written(Origin::Pass { id: 1 }));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros() as i64;
    told.on_written(&written(Origin::Live { committed_at_us: now - 20_000 }));
    told.on_rejected("users", "secret-id", &rejection());
    told.on_retry("write", "a sentence with names in it");
    told.on_confirmed(Position::new(4_096));
    told.on_pass(&pass(false));
    told.on_waiting(Some(Waiting::Sink));
    told.on_error(&Failure::transient("gone"));
    let guest = || Failure::deterministic("of a guest").with_words("row values");
    for end in [
        GuestEnd::Limit("cpu"),
        GuestEnd::Limit("cpu"),
        GuestEnd::Trap("unreachable"),
        GuestEnd::Error,
        GuestEnd::Answer,
    ] {
        told.on_guest_failed(&guest().of_guest(end));
    }
    told.on_limit("log_bytes", 3);
    let (status, text) = server.get("/metrics").await;
    assert_eq!(status, StatusCode::OK);
    assert!(text.ends_with("# EOF\n"));
    for banned in ["secret-id", "sentence", "row values"] {
        assert!(!text.contains(banned), "{banned} is in the metrics");
    }
    let samples = samples(&text);
    let value = |name: &str, label: &str| -> f64 {
        let of = samples.iter().filter(|(found, labels, _)| found == name && labels.contains(label));
        of.map(|(_, _, value)| value).sum()
    };
    assert_eq!(value("docmill_changes_captured_total", "pipeline=\"shop\""), 3.0);
    assert_eq!(value("docmill_queue_bytes", ""), 200.0);
    assert_eq!(value("docmill_documents_written_total", "origin=\"pass\""), 2.0);
    assert_eq!(value("docmill_documents_written_total", "origin=\"live\""), 2.0);
    assert_eq!(value("docmill_documents_deleted_total", "index=\"users\""), 2.0);
    assert_eq!(value("docmill_documents_rejected_total", "kind=\"trap\""), 1.0);
    assert_eq!(value("docmill_lag_seconds_count", ""), 1.0);
    assert!(value("docmill_lag_seconds_sum", "") >= 0.02);
    assert_eq!(value("docmill_confirmed_position_bytes", ""), 4_096.0);
    assert_eq!(value("docmill_pass_documents", ""), 5.0);
    assert_eq!(value("docmill_passes_running", ""), 1.0);
    assert_eq!(value("docmill_waiting", "on=\"sink\""), 1.0);
    assert_eq!(value("docmill_waiting", "on=\"source\""), 0.0);
    assert_eq!(value("docmill_retries_total", "stage=\"write\""), 1.0);
    assert_eq!(value("docmill_guest_limits_total", "limit=\"cpu\""), 2.0);
    assert_eq!(value("docmill_guest_limits_total", "limit=\"log_bytes\""), 3.0);
    assert_eq!(value("docmill_guest_traps_total", "trap=\"unreachable\""), 1.0);
    assert_eq!(value("docmill_guest_failures_total", "by=\"limit\""), 2.0);
    assert_eq!(value("docmill_guest_failures_total", ""), 5.0);
    assert_eq!(value("docmill_paused", "pipeline=\"shop\""), 0.0);
    assert_eq!(value("docmill_build_info", "version=\"1.2.3\""), 1.0);
    let described: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split(' ').next()).collect();
    for (name, ..) in &samples {
        let known = described.iter().filter(|described| {
            name.strip_prefix(**described)
                .is_some_and(|rest| matches!(rest, "" | "_total" | "_sum" | "_count" | "_bucket" | "_info"))
        });
        assert_eq!(known.count(), 1, "{name}");
    }
}

#[tokio::test]
async fn it_is_ready_while_every_pipeline_is_and_alive_always() {
    let server = Running::start().await;
    assert_eq!(server.get("/health").await.0, StatusCode::OK);
    let (status, body) = server.json("/ready").await;
    assert_eq!((status, &body["not_ready"][0]["phase"]), (StatusCode::SERVICE_UNAVAILABLE, &"starting".into()));
    server.observer.on_pass(&pass(false));
    assert_eq!(server.get("/ready").await.0, StatusCode::OK);
    server.observer.on_pass(&pass(true));
    server.observer.on_live();
    assert_eq!(server.get("/ready").await.0, StatusCode::OK);
    server.status.ended(Some(&Failure::fatal("gone")));
    server.status.paused(PausedBy::Operator, None);
    assert_eq!(server.get("/ready").await.0, StatusCode::OK, "paused on purpose");
    server.status.paused(PausedBy::Failures, Some(&Failure::fatal("gone")));
    let (status, body) = server.json("/ready").await;
    assert_eq!((status, &body["not_ready"][0]["waiting_on"]), (StatusCode::SERVICE_UNAVAILABLE, &"operator".into()));
    server.status.ended(Some(&Failure::fatal("gone")));
    let (status, body) = server.json("/ready").await;
    assert_eq!((status, &body["not_ready"][0]["pipeline"]), (StatusCode::SERVICE_UNAVAILABLE, &"shop".into()));
    assert_eq!(server.get("/health").await.0, StatusCode::OK);
}

#[tokio::test]
async fn status_says_how_a_pipeline_stands_and_large_numbers_as_text() {
    let server = Running::start().await;
    server.status.builder_is("abc");
    server.observer.on_confirmed(Position::new(u64::MAX));
    server.observer.on_pass(&pass(false));
    server.observer.on_waiting(Some(Waiting::Barrier));
    let (_, body) = server.json("/api/v1/status").await;
    let shop = &body["pipelines"][0];
    assert_eq!(shop["confirmed_position"], "FFFFFFFF/FFFFFFFF");
    assert_eq!(
        (&shop["builder"], &shop["waiting_on"], &shop["phase"]),
        (&"abc".into(), &"barrier".into(), &"backfilling".into())
    );
    assert_eq!((&shop["passes"][0]["id"], &shop["passes"][0]["of"]), (&"1".into(), &10.into()));
}

#[tokio::test]
async fn a_request_that_does_not_name_this_server_is_refused() {
    let server = Running::start().await;
    let client = super::support::http_client();
    let ask = async |host: &str, origin: Option<&str>| {
        let mut request = client.get(format!("{}/api/v1/status", server.url)).header(HOST, host);
        if let Some(origin) = origin {
            request = request.header(ORIGIN, origin);
        }
        request.send().await.expect("an answer")
    };
    for (host, origin, status) in [
        ("localhost:7878", None, StatusCode::OK),
        ("docmill.internal", Some("https://docmill.internal"), StatusCode::OK),
        ("evil.example", None, StatusCode::FORBIDDEN),
        ("localhost", Some("https://evil.example"), StatusCode::FORBIDDEN),
        ("localhost", Some("null"), StatusCode::FORBIDDEN),
    ] {
        let answer = ask(host, origin).await;
        assert_eq!(answer.status(), status, "{host} {origin:?}");
        assert!(answer.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap().contains("default-src 'none'"));
        assert!(!answer.headers().contains_key("access-control-allow-origin"));
        assert_eq!(answer.headers()[CONTENT_TYPE], "application/json");
    }
    assert_eq!(server.get("/nothing").await.0, StatusCode::NOT_FOUND);
    let posted = client.post(format!("{}/api/v1/status", server.url)).send().await.expect("an answer");
    assert_eq!(posted.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn a_port_that_is_taken_is_said_with_what_to_do() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let served = Served { metrics: Metrics::new("0"), pipelines: Roster::default(), controls: Controls::new(None).0 };
    let failure = Server::bind(&listen, &[], served).await.expect_err("the port is taken");
    assert_eq!(
        failure.to_string(),
        format!("failed to listen on {listen}; choose another address with `listen` in [server]")
    );
}
