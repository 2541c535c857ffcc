//! The embedded PostgreSQL does what the demo and the tests rely on.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use docmill::embedded::{self, EmbeddedError, EmbeddedPostgres, Options, StopMode};

use crate::support::postgres::{self, Database, blocking, connect};

/// Set for the process that `a_killed_process_takes_its_server_along` starts and kills.
const VICTIM: &str = "DOCMILL_TEST_VICTIM";

#[tokio::test]
async fn it_is_ready_for_logical_replication_on_loopback_only() {
    let server = postgres::private(&[("work_mem", "7MB")]).await;
    let client = connect(&server.url()).await;
    let setting = async |name: &str| -> String {
        client.query_one("select current_setting($1)", &[&name]).await.expect("a setting").get(0)
    };
    assert_eq!(setting("wal_level").await, "logical");
    assert_eq!(setting("max_replication_slots").await, "20");
    assert_eq!(setting("listen_addresses").await, "127.0.0.1");
    assert_eq!(setting("unix_socket_directories").await, "");
    assert_eq!(setting("fsync").await, "off");
    assert_eq!(setting("work_mem").await, "7MB", "the caller's settings win");
    client
        .execute("select pg_create_logical_replication_slot('a', 'pgoutput')", &[])
        .await
        .expect("a superuser with replication");

    let stranger = server.url().replace("docmill:", "docmill:not-");
    assert!(postgres::try_connect(&stranger).await.is_err(), "another password was let in");
}

#[tokio::test]
async fn rows_survive_restarts_and_crashes_and_the_url_stays() {
    let mut server = postgres::private(&[]).await;
    let url = server.url();
    connect(&url).await.batch_execute("create table t (i int)").await.expect("a table");
    type Step = (&'static str, fn(&EmbeddedPostgres) -> Result<(), EmbeddedError>);
    let steps: [Step; 3] = [
        ("fast", |server| server.restart(StopMode::Fast)),
        ("immediate", |server| server.restart(StopMode::Immediate)),
        ("kill", |server| {
            server.kill();
            server.resume()
        }),
    ];
    for (rows, (name, step)) in (1i64..).zip(steps) {
        connect(&url).await.batch_execute("insert into t values (1)").await.expect("an insert");
        server = blocking(move || {
            step(&server).unwrap_or_else(|error| panic!("{name}: {}", postgres::chain(&error)));
            server
        })
        .await;
        assert_eq!(server.url(), url);
        let found: i64 = connect(&url).await.query_one("select count(*) from t", &[]).await.expect("a count").get(0);
        assert_eq!(found, rows, "after {name}");
    }
    assert!(matches!(server.resume(), Err(EmbeddedError::Running)));
}

#[tokio::test]
async fn dropping_it_ends_the_server_and_removes_its_files() {
    let server = postgres::private(&[]).await;
    let (pid, data) = (server.pid().expect("it runs"), server.data());
    let session = connect(&server.url()).await;
    blocking(move || drop(server)).await;
    assert!(!is_alive(pid), "the server outlived its owner");
    assert!(!data.exists() && !data.parent().expect("a home").exists(), "files are left");
    assert!(session.simple_query("select 1").await.is_err());
}

#[tokio::test]
async fn a_directory_of_ones_own_is_kept_and_started_again() {
    let parent = tempfile::Builder::new().prefix("docmill-test").tempdir_in("/var/tmp").expect("a directory");
    open_to_all(parent.path());
    let directory = parent.path().join("cluster");
    for round in 0..2 {
        let options = Options { fsync: false, directory: Some(directory.clone()), ..Options::default() };
        let server = postgres::private_with(options).await;
        let client = connect(&server.url()).await;
        if round == 0 {
            client.batch_execute("create table kept ()").await.expect("a table");
        } else {
            client.batch_execute("select from kept").await.expect("the table of the first round");
        }
        blocking(move || drop(server)).await;
        assert!(directory.join("data/PG_VERSION").exists());
    }
}

#[tokio::test]
async fn missing_and_unusable_programs_are_named_with_the_remedy() {
    let options = Options { binaries: Some(PathBuf::from("/proc")), ..Options::default() };
    let error = blocking(|| EmbeddedPostgres::start(options)).await.expect_err("no server lives there").to_string();
    assert!(error.contains("/proc") && error.contains("initdb") && error.contains("DOCMILL_PG_BIN"), "{error}");
}

#[tokio::test]
async fn a_server_that_refuses_its_settings_shows_its_log() {
    let options = Options { settings: vec![("no_such_setting".into(), "1".into())], ..Options::default() };
    let error = blocking(|| EmbeddedPostgres::start(options)).await.expect_err("an unknown setting").to_string();
    assert!(error.contains("no_such_setting") && error.contains("server.log"), "{error}");
}

#[tokio::test]
async fn tests_have_databases_of_their_own() {
    let (one, other) = (Database::fresh().await, Database::fresh().await);
    one.connect().await.batch_execute("create table only_here ()").await.expect("a table");
    assert!(other.connect().await.batch_execute("select from only_here").await.is_err());
}

#[tokio::test]
async fn a_killed_process_takes_its_server_along() {
    let this = std::env::current_exe().expect("this test's own path");
    let victim = Command::new(this)
        .args(["--exact", "embedded_postgres::victim", "--nocapture", "--ignored"])
        .env(VICTIM, "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut victim = victim.expect("the victim starts");
    let output = BufReader::new(victim.stdout.take().expect("a pipe"));
    let line = output.lines().map_while(Result::ok).find_map(|line| Some(line.split_once("server ")?.1.to_owned()));
    let (pid, data) = line.as_deref().and_then(|line| line.split_once(' ')).expect("the victim's server");
    let (pid, data) = (pid.parse().expect("a process id"), PathBuf::from(data));
    assert!(is_alive(pid));

    victim.kill().expect("SIGKILL");
    victim.wait().expect("its end");
    let until = Instant::now() + Duration::from_secs(20);
    while is_alive(pid) {
        assert!(Instant::now() < until, "server {pid} outlived its process");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // The next start anywhere removes what the victim could not.
    blocking(|| drop(embedded::Home::of("sweep").expect("a directory"))).await;
    assert!(!data.exists(), "{} is left", data.display());
}

#[tokio::test]
#[ignore = "the victim of a_killed_process_takes_its_server_along, which starts it itself"]
async fn victim() {
    if std::env::var_os(VICTIM).is_none() {
        return;
    }
    let server = postgres::private(&[]).await;
    println!("server {} {}", server.pid().expect("it runs"), server.data().display());
    tokio::time::sleep(Duration::from_secs(60)).await;
}

fn is_alive(pid: u32) -> bool {
    // "17394 (postgres) S …": a zombie is only waiting for init, which in a container may never look.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

fn open_to_all(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("permissions");
}
