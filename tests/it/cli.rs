//! The command as it is: exit codes and messages of the real binary. Bad input gets one clear message each, and no panic.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::support::difference::differences;
use super::support::opensearch::OpenSearch;
use super::support::postgres::{Database, private};
use super::support::running::SHOP_WASM;
use super::support::shop::{self, ShopDocuments, await_equal};

/// Nothing that ends by itself takes longer.
const TIME_MAX: Duration = Duration::from_secs(120);

/// How a command ended.
struct Output {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// A directory with a configuration and the shop's component.
struct Place(tempfile::TempDir);

impl Place {
    fn new(config: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("docmill.toml"), config).unwrap();
        std::fs::write(directory.path().join("shop.wasm"), SHOP_WASM).unwrap();
        Self(directory)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_docmill"));
        command.args(arguments).current_dir(self.path()).stdin(Stdio::null());
        command.env_remove("RUST_LOG").env_remove("RUST_BACKTRACE").env_remove("DOCMILL_CONFIG");
        command.env_remove("STATE_DIRECTORY").env("XDG_STATE_HOME", self.path());
        command
    }

    /// Runs to the end. What it prints goes to files, so that a full pipe cannot hold it up.
    async fn run(&self, arguments: &[&str]) -> Output {
        self.started(arguments).wait().await
    }

    fn started(&self, arguments: &[&str]) -> Started {
        let file = |name: &str| std::fs::File::create(self.path().join(name)).unwrap();
        let child = self.command(arguments).stdout(file("stdout")).stderr(file("stderr")).spawn().unwrap();
        Started { child, stdout: self.path().join("stdout"), stderr: self.path().join("stderr") }
    }
}

/// A command that runs. Dropped, it is killed.
struct Started {
    child: std::process::Child,
    stdout: std::path::PathBuf,
    stderr: std::path::PathBuf,
}

impl Started {
    async fn wait(mut self) -> Output {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(begun.elapsed() < TIME_MAX, "it does not end: {}", self.stderr());
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let stdout = std::fs::read_to_string(&self.stdout).unwrap();
        let stderr = self.stderr();
        for text in [&stdout, &stderr] {
            assert!(!text.contains("panicked") && !text.contains("internal error"), "{text}");
        }
        Output { code: status.code(), stdout, stderr }
    }

    fn stderr(&self) -> String {
        std::fs::read_to_string(&self.stderr).unwrap()
    }

    /// Waits until it logged `text`.
    async fn says(&mut self, text: &str) {
        let begun = Instant::now();
        while !self.stderr().contains(text) {
            assert!(self.child.try_wait().unwrap().is_none(), "it ended before it said {text:?}: {}", self.stderr());
            assert!(begun.elapsed() < TIME_MAX, "it does not say {text:?}: {}", self.stderr());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn signal(&self, signal: i32) {
        // SAFETY: kill takes numbers only; the child is not reaped before `wait`.
        unsafe { libc::kill(self.child.id() as libc::pid_t, signal) };
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn source(url: &str, slot: &str) -> String {
    format!("[sources.main]\nurl = \"{url}\"\nslot = \"{slot}\"\n")
}

/// The shop from a database to some sink; serves on any port.
fn shop(database: &Database, sink: &str) -> String {
    let source = source(&database.url, &format!("docmill_{}", database.name));
    format!("{source}\n{sink}\n[pipelines.shop]\nbuilder = \"shop.wasm\"\n[server]\nlisten = \"127.0.0.1:0\"\n")
}

fn search(search: &OpenSearch) -> String {
    format!("[sinks.search]\ntype = \"opensearch\"\nurl = \"{}\"\n", search.url)
}

const STDOUT: &str = "[sinks.out]\ntype = \"stdout\"\n";

#[track_caller]
fn holds(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

#[tokio::test]
async fn wrong_usage_is_2_and_help_is_0() {
    let place = Place::new("");
    for (arguments, code) in [
        (&["--help"][..], 0),
        (&["run", "--help"], 0),
        (&["--version"], 0),
        (&[], 2),
        (&["rnu"], 2),
        (&["run", "--confg", "x"], 2),
        (&["demo", "--for", "soon"], 2),
        (&["run", "--log-level", "loud"], 2),
    ] {
        assert_eq!(place.run(arguments).await.code, Some(code), "{arguments:?}");
    }
}

#[tokio::test]
async fn a_configuration_that_is_missing_or_broken_is_2_with_everything_that_is_wrong() {
    let place =
        Place::new("[sources.main]\nulr = \"x\"\n[sinks.out]\ntype = \"stdout\"\n[pipelines.shop]\nbuilder = \"b\"\n");
    for command in ["run", "check"] {
        let missing = place.run(&[command, "--config", "nowhere.toml"]).await;
        assert_eq!(missing.code, Some(2));
        holds(
            &missing.stderr,
            &["docmill: a problem with the configuration\nnowhere.toml: could not read the configuration"],
        );
        let broken = place.run(&[command]).await;
        assert_eq!(broken.code, Some(2));
        holds(
            &broken.stderr,
            &[
                "docmill: 2 problems with the configuration\n",
                "docmill.toml:1:1: sources.main: ",
                "docmill.toml:2:1: sources.main.ulr: ",
            ],
        );
    }
    let json = place.run(&["check", "--json"]).await;
    let report: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((json.code, &report["problems"][1]["line"]), (Some(2), &2.into()));
}

#[tokio::test]
async fn a_file_that_is_no_component_is_said() {
    let database = Database::fresh().await;
    shop::create(&database, 1, 1).await;
    let place = Place::new(&shop(&database, STDOUT));
    std::fs::write(place.path().join("shop.wasm"), "this is text").unwrap();
    let run = place.run(&["run"]).await;
    assert_eq!(run.code, Some(2), "{}", run.stderr);
    holds(&run.stderr, &["pipeline shop: builder of pipeline shop"]);
    let check = place.run(&["check"]).await;
    assert_eq!(check.code, Some(3), "{}", check.stdout);
    holds(&check.stdout, &["error   builder shop.wasm: "]);

    std::fs::remove_file(place.path().join("shop.wasm")).unwrap();
    let run = place.run(&["run"]).await;
    assert_eq!(run.code, Some(2));
    holds(&run.stderr, &["failed to read builder shop.wasm: No such file or directory"]);
}

#[tokio::test]
async fn check_names_a_database_and_a_sink_that_do_not_answer() {
    let sink = "[sinks.search]\ntype = \"opensearch\"\nurl = \"http://me:hunter2@127.0.0.1:9\"\n";
    let place = Place::new(&format!(
        "{}{sink}[pipelines.shop]\nbuilder = \"shop.wasm\"\n",
        source("postgres://me:hunter2@127.0.0.1:9/shop", "docmill")
    ));
    let check = place.run(&["check"]).await;
    assert_eq!(check.code, Some(3), "{}", check.stderr);
    holds(&check.stdout, &["ok      builder shop.wasm: ", "error   source: ", "error   sink search: ", "127.0.0.1:9"]);
    assert!(!check.stdout.contains("hunter2") && !check.stderr.contains("hunter2"));
    let json = place.run(&["check", "--json"]).await;
    let report: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((json.code, &report["errors"]), (Some(3), &2.into()), "{report:#}");
}

#[tokio::test]
async fn check_says_what_a_server_without_logical_decoding_needs() {
    let server = private(&[("wal_level", "replica")]).await;
    let database = Database { name: "postgres".to_owned(), url: server.url() };
    shop::create(&database, 1, 1).await;
    let place = Place::new(&shop(&database, STDOUT));
    let check = place.run(&["check"]).await;
    assert_eq!(check.code, Some(3));
    holds(&check.stdout, &["wal_level", "alter system set wal_level = 'logical'"]);
    let run = place.run(&["run"]).await;
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    holds(&run.stderr, &["pipeline shop: ", "wal_level"]);
}

#[tokio::test]
async fn check_says_what_a_role_and_a_table_need() {
    let database = Database::fresh().await;
    shop::create(&database, 1, 1).await;
    let client = database.connect().await;
    let role = format!("role_{}", database.name);
    client
        .batch_execute(&format!(
            "create role {role} login password 'hunter2'; drop table reviews;
             alter table order_items replica identity default;"
        ))
        .await
        .unwrap();
    let mut url = url::Url::parse(&database.url).unwrap();
    url.set_username(&role).unwrap();
    url.set_password(Some("hunter2")).unwrap();
    let poor = Database { name: database.name.clone(), url: url.to_string() };
    let place = Place::new(&shop(&poor, STDOUT));
    let check = place.run(&["check"]).await;
    assert_eq!(check.code, Some(3));
    holds(
        &check.stdout,
        &[
            &format!("alter role \"{role}\" replication;"),
            "table public.reviews: there is no such table",
            "replica identity full",
        ],
    );
    assert!(!check.stdout.contains("hunter2"));
    let run = place.run(&["run"]).await;
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    holds(&run.stderr, &["pipeline shop: "]);
}

#[tokio::test]
async fn check_of_what_would_run_is_0_and_changes_nothing() {
    let database = Database::fresh().await;
    shop::create(&database, 1, 1).await;
    let place = Place::new(&shop(&database, STDOUT));
    let check = place.run(&["check"]).await;
    assert_eq!(check.code, Some(0), "{}{}", check.stdout, check.stderr);
    let client = database.connect().await;
    for catalog in ["pg_publication", "pg_replication_slots where database = current_database()"] {
        let count: i64 = client.query_one(&format!("select count(*) from {catalog}"), &[]).await.unwrap().get(0);
        assert_eq!(count, 0, "{catalog}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn run_drains_and_reports_on_sigterm_and_goes_on_where_it_stopped() {
    let database = Database::fresh().await;
    shop::create(&database, 200, 50).await;
    let search_engine = OpenSearch::fresh().await;
    let config = shop(&database, &search(&search_engine))
        .replace("builder =", &format!("index_prefix = \"{}\"\nbuilder =", search_engine.prefix));
    let place = Place::new(&config);
    let mut first = place.started(&["run"]);
    first.says("live: all passes are done").await;
    database.connect().await.batch_execute("update users set name = 'Ada' where id <= 20").await.unwrap();
    await_equal(&database, &search_engine, TIME_MAX).await;
    first.signal(libc::SIGTERM);
    let first = first.wait().await;
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    holds(&first.stderr, &["stopping: ", "pipeline shop: ", " documents written, ", "confirmed position "]);

    database.connect().await.batch_execute("delete from users where id = 7").await.unwrap();
    let mut second = place.started(&["run", "--log", "json"]);
    second.says("live: all passes are done").await;
    await_equal(&database, &search_engine, TIME_MAX).await;
    second.signal(libc::SIGINT);
    let second = second.wait().await;
    assert_eq!(second.code, Some(0), "{}", second.stderr);
    let logged = second.stderr.lines().filter(|line| line.starts_with('{'));
    for line in logged {
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
    assert!(!second.stderr.contains("250 documents written"), "it began anew: {}", second.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_pipeline_that_cannot_run_does_not_stop_the_others() {
    let database = Database::fresh().await;
    shop::create(&database, 50, 10).await;
    let sinks = "[sinks.lines]\ntype = \"ndjson\"\npath = \"documents.ndjson\"\n[sinks.other]\ntype = \"ndjson\"\npath = \"other.ndjson\"\n";
    let config = shop(&database, sinks).replace("builder =", "sink = \"lines\"\nbuilder =")
        + "[pipelines.broken]\nsink = \"other\"\nslot = \"own\"\nbuilder = \"docmill.toml\"\n";
    let place = Place::new(&config);
    let mut run = place.started(&["run"]);
    run.says("live: all passes are done").await;
    let lines = || std::fs::read_to_string(place.path().join("documents.ndjson")).unwrap_or_default();
    assert_eq!(lines().lines().count(), 60);
    run.signal(libc::SIGTERM);
    let run = run.wait().await;
    assert_eq!(run.code, Some(2), "{}", run.stderr);
    holds(&run.stderr, &["pipeline broken: builder of pipeline broken", "pipeline shop: ", "60 documents written"]);

    let mut found = BTreeMap::new();
    for line in lines().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        if line["index"] == "users" {
            let id = line["id"].as_str().or(line["_id"].as_str()).expect("an id").to_owned();
            found.insert(id, line["document"].clone());
        }
    }
    let expected = ShopDocuments::from_sql(&database.url).await;
    assert_eq!(differences("users", &expected.users, &found).total(), 0);
}

#[tokio::test]
async fn run_waits_for_a_sink_that_is_down_and_still_ends_when_told_to() {
    let database = Database::fresh().await;
    shop::create(&database, 1, 1).await;
    let place = Place::new(&shop(&database, "[sinks.search]\ntype = \"opensearch\"\nurl = \"http://127.0.0.1:9\"\n"));
    let mut run = place.started(&["run"]);
    run.says("127.0.0.1:9").await;
    run.signal(libc::SIGTERM);
    let run = run.wait().await;
    assert_eq!(run.code, Some(0), "{}", run.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_ends_by_itself_with_every_document_equal_to_sql() {
    let place = Place::new("");
    let demo = place.run(&["demo", "--for", "3s", "--users", "100", "--products", "30"]).await;
    assert_eq!(demo.code, Some(0), "{}{}", demo.stdout, demo.stderr);
    holds(
        &demo.stdout,
        &[
            "PostgreSQL ",
            "130 documents",
            " ms  (",
            "compared with SQL, field by field: all ",
            "commit to durable: half within ",
        ],
    );
}
