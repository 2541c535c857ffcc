//! The real binary, started as an operator starts it, and looked at from outside.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use docmill::embedded::{Child, free_port};
use serde_json::Value;

use super::opensearch::OpenSearch;
use super::postgres::Database;

/// A folder with a configuration of the shop, and the command that runs it.
#[derive(Debug)]
pub struct Shop {
    folder: tempfile::TempDir,
    port: u16,
}

impl Shop {
    /// The shop of `database` into `search`; `more` is added to the configuration.
    pub fn new(database: &Database, search: &OpenSearch, more: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let port = free_port().expect("a free port");
        std::fs::write(folder.path().join("shop.wasm"), super::running::SHOP_WASM).expect("the builder");
        // Nothing between a test and its sink holds a request for long, unless a test says so.
        let late = if more.contains("late_window") { "" } else { "late_window = \"1s\"\n" };
        let text = format!(
            "[sources.main]\nurl = \"{}\"\nslot = \"docmill_{}\"\n\n[sinks.search]\ntype = \"opensearch\"\nurl = \"{}\"\n\n\
             [pipelines.shop]\nbuilder = \"shop.wasm\"\nindex_prefix = \"{}\"\n{late}{more}\n\n[server]\nlisten = \"127.0.0.1:{port}\"\n",
            database.url, database.name, search.url, search.prefix
        );
        std::fs::write(folder.path().join("docmill.toml"), text).expect("the configuration");
        Self { folder, port }
    }

    /// Of any configuration that names `shop.wasm` and listens on that port.
    pub fn of(text: &str, port: u16) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("shop.wasm"), super::running::SHOP_WASM).expect("the builder");
        std::fs::write(folder.path().join("docmill.toml"), text).expect("the configuration");
        Self { folder, port }
    }

    /// The same pipeline as another process would run it: its own folder and port, everything else alike.
    pub fn again(&self) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let port = free_port().expect("a free port");
        std::fs::copy(self.path().join("shop.wasm"), folder.path().join("shop.wasm")).expect("the builder");
        let text = std::fs::read_to_string(self.path().join("docmill.toml")).expect("the configuration");
        let text = text.replace(&format!("127.0.0.1:{}\"", self.port), &format!("127.0.0.1:{port}\""));
        std::fs::write(folder.path().join("docmill.toml"), text).expect("the configuration");
        Self { folder, port }
    }

    /// Changes the configuration for the next run.
    pub fn configure(&self, from: &str, to: &str) {
        let file = self.path().join("docmill.toml");
        let text = std::fs::read_to_string(&file).expect("the configuration");
        assert!(text.contains(from), "{from} is not in {text}");
        std::fs::write(&file, text.replace(from, to)).expect("the configuration");
    }

    /// Where its files are.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// `docmill run`, its output in `log`.
    pub fn run(&self) -> Docmill {
        self.run_with_fail_points("")
    }

    /// The same with rules switched off, or steps at which it ends (`src/fail_points.rs`).
    pub fn run_with_fail_points(&self, fail_points: &str) -> Docmill {
        // A release build, where figures are wanted.
        let program = std::env::var_os("DOCMILL_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_docmill").into());
        self.run_program(program.as_ref(), fail_points)
    }

    /// The same with another build of the program.
    pub fn run_program(&self, program: &Path, fail_points: &str) -> Docmill {
        let log = self.folder.path().join("log");
        let file = std::fs::File::options().create(true).append(true).open(&log).expect("a log");
        let mut command = Command::new(program);
        command
            .args(["run", "--config", "docmill.toml"])
            .current_dir(self.folder.path())
            .env("DOCMILL_FAIL_POINTS", fail_points)
            .env("XDG_STATE_HOME", self.folder.path())
            .env_remove("STATE_DIRECTORY")
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a log"))
            .stderr(file);
        let child = Child::spawn(command, libc::SIGKILL).expect("docmill starts");
        Docmill { child, log, port: self.port }
    }
}

/// A running `docmill run`. It ends with the test.
#[derive(Debug)]
pub struct Docmill {
    child: Child,
    log: PathBuf,
    port: u16,
}

/// What it said last is what a failed test wants to know.
impl Drop for Docmill {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(30).collect();
            println!("the end of docmill's log:");
            tail.iter().rev().for_each(|line| println!("  {line}"));
        }
    }
}

impl Docmill {
    /// SIGKILL, and waits until it is gone.
    pub fn kill(self) {
        self.child.signal(libc::SIGKILL);
        self.child.wait(Duration::from_secs(10)).expect("a killed process ends");
    }

    /// Stops every thread of it where it is: connections stay open, nothing answers.
    pub fn freeze(&self) {
        self.child.signal(libc::SIGSTOP);
    }

    /// Lets a frozen one go on.
    pub fn thaw(&self) {
        self.child.signal(libc::SIGCONT);
    }

    /// Waits until it has ended by itself; how.
    pub async fn ended(&self, timeout: Duration) -> ExitStatus {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.status() {
                return status;
            }
            assert!(begin.elapsed() < timeout, "it runs on after {timeout:?}: {}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until its status has `value` under `key`.
    pub async fn await_status(&self, key: &str, value: &str, timeout: Duration) {
        let begin = Instant::now();
        loop {
            let status = self.status().await.unwrap_or_default();
            if status[key] == value {
                return;
            }
            assert!(self.is_running(), "docmill ended: {}", self.log());
            assert!(begin.elapsed() < timeout, "{key} is not {value:?} in {status}: {}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// SIGTERM; how it ended.
    pub fn terminate(self) -> ExitStatus {
        self.child.signal(libc::SIGTERM);
        let ended = self.child.wait(Duration::from_secs(60));
        ended.unwrap_or_else(|| panic!("it does not end when told to: {}", self.log()))
    }

    /// Whether it runs still.
    pub fn is_running(&self) -> bool {
        self.child.status().is_none()
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it printed so far, earlier runs of the same folder included.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The highest memory it ever used, in MiB (Linux).
    pub fn peak_memory_mib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        line.and_then(|line| line.trim().trim_end_matches(" kB").trim().parse::<u64>().ok()).unwrap_or(0) / 1024
    }

    /// An answer of its server; `None` while it does not answer.
    pub async fn get(&self, path: &str) -> Option<(u16, String)> {
        let response = super::http_client().get(format!("http://127.0.0.1:{}{path}", self.port)).send().await.ok()?;
        Some((response.status().as_u16(), response.text().await.ok()?))
    }

    /// How its only pipeline stands.
    pub async fn status(&self) -> Option<Value> {
        let (_, text) = self.get("/api/v1/status").await?;
        let status: Value = serde_json::from_str(&text).ok()?;
        Some(status["pipelines"][0].clone())
    }

    /// Waits until it says of itself that it is ready and live.
    pub async fn await_live(&self, timeout: Duration) {
        let begin = Instant::now();
        loop {
            assert!(self.is_running(), "docmill ended: {}", self.log());
            if self.status().await.is_some_and(|status| status["phase"] == "live") {
                return;
            }
            assert!(begin.elapsed() < timeout, "not live after {timeout:?}: {}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Its metrics, by name with labels.
    pub async fn metrics(&self) -> BTreeMap<String, f64> {
        let (_, text) = self.get("/metrics").await.expect("metrics");
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines
            .filter_map(|line| {
                line.rsplit_once(' ').and_then(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
            })
            .collect()
    }
}

/// For trials that do more to it than start and stop.
impl Docmill {
    /// Any signal; it is not waited for what it does.
    pub fn signal(&self, signal: i32) {
        self.child.signal(signal);
    }

    /// How it ended, if it has.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        self.child.status()
    }
}
