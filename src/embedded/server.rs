//! One run of the server process: start it on a port, wait until it is ready, read what its log says.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::EmbeddedError;
use super::account::Account;
use super::binaries::Binaries;
use super::child::Child;

/// How much of a log's end goes into an error.
const LOG_TAIL_BYTES: u64 = 2_000;
/// How often the server is looked at while it starts.
const POLL: Duration = Duration::from_millis(20);
/// The line of `postmaster.pid` (from 0) that says how far the server is.
const STATUS_LINE: usize = 7;

/// What every run of a cluster shares.
#[derive(Debug)]
pub(super) struct Cluster {
    pub binaries: Binaries,
    pub account: Account,
    /// The directory that holds `data/` and the log.
    pub home: PathBuf,
    pub start_timeout: Duration,
}

/// Why a start failed, apart the one reason to try another port.
pub(super) enum StartError {
    PortTaken,
    Other(EmbeddedError),
}

impl Cluster {
    pub fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    pub fn log(&self) -> PathBuf {
        self.home.join("server.log")
    }

    /// A command that runs a program of the server as the server's user.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.binaries.program(program));
        self.account.apply(&mut command);
        // The user may not be able to enter our working directory; and messages are read below, in English.
        command.current_dir(&self.home).env("LC_ALL", "C").env_remove("LANGUAGE").stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PG") {
                command.env_remove(name);
            }
        }
        command
    }

    /// Starts the server on `port` and waits until it takes connections.
    pub fn start(&self, port: u16) -> Result<Child, StartError> {
        let log_path = self.log();
        let log = OpenOptions::new().create(true).append(true).open(&log_path);
        let log = log.map_err(EmbeddedError::file("open", &log_path)).map_err(StartError::Other)?;
        let log_start = log.metadata().map(|found| found.len()).unwrap_or(0);
        let second = log.try_clone().map_err(EmbeddedError::file("open", &log_path)).map_err(StartError::Other)?;

        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data()).arg("-p").arg(port.to_string()).stdout(log).stderr(second);
        // SIGQUIT is the immediate shutdown: the server takes its sessions with it, which a killed one would leave behind.
        let child = Child::spawn(command, libc::SIGQUIT).map_err(|source| {
            StartError::Other(EmbeddedError::Spawn { program: self.binaries.program("postgres"), source })
        })?;

        let until = Instant::now() + self.start_timeout;
        loop {
            if self.is_ready(child.id()) {
                return Ok(child);
            }
            if let Some(status) = child.wait(POLL) {
                let log = tail(&log_path, log_start);
                if log.contains("could not create any TCP/IP sockets") || log.contains("could not bind") {
                    return Err(StartError::PortTaken);
                }
                let status = status.to_string();
                return Err(StartError::Other(EmbeddedError::Ended { status, path: log_path, log }));
            }
            if Instant::now() >= until {
                let log = tail(&log_path, log_start);
                let waited = self.start_timeout;
                return Err(StartError::Other(EmbeddedError::NotReady { waited, path: log_path, log }));
            }
        }
    }

    /// The server keeps its state in `postmaster.pid`; the first line says whose state it is.
    fn is_ready(&self, pid: u32) -> bool {
        let Ok(text) = fs::read_to_string(self.data().join("postmaster.pid")) else {
            return false;
        };
        let mut lines = text.lines().map(str::trim);
        let ours = lines.next().and_then(|line| line.parse().ok()) == Some(pid);
        ours && lines.nth(STATUS_LINE - 1) == Some("ready")
    }
}

/// The end of a log from `start` on, on one line.
fn tail(path: &Path, start: u64) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(start.max(length.saturating_sub(LOG_TAIL_BYTES))))?;
        let mut bytes = Vec::new();
        file.take(LOG_TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match read() {
        Ok(bytes) if bytes.is_empty() => "(nothing)".to_owned(),
        Ok(bytes) => String::from_utf8_lossy(&bytes).trim().replace('\n', " | "),
        Err(error) => format!("(unreadable: {error})"),
    }
}
