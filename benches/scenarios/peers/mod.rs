//! Systems that do the same work, each in its own best configuration (`benches/peers/`): programs that are started,
//! looked at from outside, and told to end.
//!
//! ```text
//! place ── run-peer prepare, once ── run-peer run ─▶ the peer, its output in run.log ── SIGTERM
//! ```

pub mod flusso;
pub mod pgsync;

use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use docmill::embedded::Child;

use crate::check;
use crate::ground::Place;
use crate::system::System;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers");
/// A table of 2,000,000 rows may be rewritten.
const PREPARE_MAX: Duration = Duration::from_secs(600);
const END_MAX: Duration = Duration::from_secs(60);
/// Lines of its log that say why it ended.
const SHOWN: usize = 30;

/// Panics with what to run if anything of that peer is missing.
pub fn must_be_installed(system: System) {
    let peer = match system {
        System::Flusso { .. } => flusso::PEER,
        System::Pgsync => pgsync::PEER,
        _ => return,
    };
    let status = Command::new(format!("{FOLDER}/install")).args(["--check", peer]).status();
    let there = status.expect("benches/peers/install can be run").success();
    assert!(there, "{} is not installed: run benches/peers/install", system.name());
}

/// How many of its documents are not what SQL says.
pub async fn wrong(system: System, place: &Place) -> usize {
    match system {
        System::Flusso { stored } => check::wrong_users_by(place, &flusso::documents(stored), None).await,
        // It finds the documents of a changed order by that field, so it cannot be left out.
        System::Pgsync => check::wrong_users_by(place, &check::users_by_sql(), Some("_meta")).await,
        _ => unreachable!("{} is no peer", system.name()),
    }
}

/// `run-peer` of one peer, running. It ends with its handle, everything below it included.
struct Process {
    peer: &'static str,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it, and makes the place ready before if this is the first time there.
    async fn start(peer: &'static str, place: &Place, environment: &[(&str, &str)]) -> Self {
        let prepared = place.folder.path().join("prepared");
        if !prepared.exists() {
            Self::spawn(peer, "prepare", place, environment).succeed().await;
            // What that wrote is not written while the peer is measured.
            place.database.connect().await.batch_execute("checkpoint").await.expect("a checkpoint");
            File::create(&prepared).expect("a file");
        }
        Self::spawn(peer, "run", place, environment)
    }

    fn spawn(peer: &'static str, step: &str, place: &Place, environment: &[(&str, &str)]) -> Self {
        let folder = place.folder.path();
        // Of this start alone: what an earlier one said must not be taken for its words.
        let log = folder.join(format!("{step}.log"));
        let file = File::create(&log).expect("a log");
        let mut command = Command::new(format!("{FOLDER}/{peer}/run-peer"));
        command
            .arg(step)
            .env("DATABASE_URL", &place.database.url)
            .env("OPENSEARCH_URL", &place.search.url)
            .env("WORK", folder)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a log"))
            .stderr(file);
        // Not SIGKILL: a script must end what it has started.
        let child = Child::spawn(command, libc::SIGTERM).expect("run-peer starts");
        Self { peer, child, log }
    }

    /// Waits until it has ended as it should.
    async fn succeed(self) {
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = self.child.status() {
                break status;
            }
            assert!(begin.elapsed() < PREPARE_MAX, "{} is not prepared after {PREPARE_MAX:?}", self.peer);
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        assert!(status.success(), "{} is not prepared: {status}\n{}", self.peer, self.last_words());
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    fn must_run(&self) {
        if let Some(status) = self.child.status() {
            panic!("{} ended by itself: {status}\n{}", self.peer, self.last_words());
        }
    }

    fn log(&self) -> String {
        // Not read_to_string: a line that is half written may end within a letter.
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    fn last_words(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(SHOWN)..].join("\n")
    }

    /// SIGTERM, and waits for the end.
    fn end(self) {
        self.child.signal(libc::SIGTERM);
        let ended = self.child.wait(END_MAX).is_some();
        assert!(ended, "{} does not end when told to:\n{}", self.peer, self.last_words());
        self.end_group();
    }

    /// Ends what a script left behind: all that it started is its group.
    fn end_group(&self) {
        // SAFETY: a call without memory. The number is not given to another while one of the group is left; without one it was free
        // a moment ago.
        unsafe { libc::kill(-(self.child.id() as libc::pid_t), libc::SIGKILL) };
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.child.status().is_some() {
            return;
        }
        if std::thread::panicking() {
            eprintln!("the end of {}'s log:\n{}", self.peer, self.last_words());
        }
        self.child.signal(libc::SIGTERM);
        self.child.wait(Duration::from_secs(10));
        self.end_group();
    }
}
