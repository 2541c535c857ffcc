//! What can go wrong with the embedded PostgreSQL, each with what to do about it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::binaries::OLDEST_MAJOR;

/// Why the embedded PostgreSQL is not there. No variant carries a password or a row's value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddedError {
    /// No server was found and none could be fetched.
    #[error(
        "no PostgreSQL server ({OLDEST_MAJOR} or newer) found in {looked}, and fetching one failed: {fetch}; \
         install one (`apt-get install postgresql`, `brew install postgresql@17`), \
         or name the directory of `initdb` and `postgres` in DOCMILL_PG_BIN"
    )]
    NoServer {
        /// The directories that were looked in.
        looked: String,
        /// Why there is none from the package registry.
        fetch: String,
    },
    /// The directory named in `DOCMILL_PG_BIN` cannot be used.
    #[error(
        "DOCMILL_PG_BIN names {}, but {problem}; \
         name the directory that holds `initdb` and `postgres` of {OLDEST_MAJOR} or newer",
        directory.display()
    )]
    BadBinaries {
        /// What the variable says.
        directory: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// PostgreSQL refuses to run as root, and there is no other user to run it as.
    #[error(
        "PostgreSQL refuses to run as root, and this machine has neither a user `postgres` nor a user `nobody` \
         to run it as; run docmill as an ordinary user, or add one (`useradd --system postgres`)"
    )]
    NoAccount,
    /// The user who runs the server cannot get at a directory.
    #[error(
        "user `{account}`, who runs the embedded PostgreSQL, cannot reach {}: {} is closed to it; \
         set DOCMILL_CACHE to a directory that it can reach, such as /var/tmp/docmill",
        path.display(), closed.display()
    )]
    Unreachable {
        /// The user's name.
        account: String,
        /// What it needs.
        path: PathBuf,
        /// The directory on the way that keeps it out.
        closed: PathBuf,
    },
    /// A directory that anybody may write to has been prepared by somebody else.
    #[error(
        "{} belongs to another user or is writable by others, so nothing in it can be trusted; \
         remove it or set DOCMILL_CACHE to a directory of your own",
        path.display()
    )]
    NotOurs {
        /// The directory.
        path: PathBuf,
    },
    /// A file or directory could not be made, read or handed over.
    #[error("could not {action} {}", path.display())]
    File {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A program could not be started at all.
    #[error("could not start {}", program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A program ran and failed.
    #[error("{} failed ({status}): {output}", program.display())]
    Program {
        /// The program.
        program: PathBuf,
        /// Its exit status, or the limit it exceeded.
        status: String,
        /// The end of what it printed.
        output: String,
    },
    /// The server ended while it started.
    #[error("the embedded PostgreSQL ended while starting ({status}); its log {} ends with: {log}", path.display())]
    Ended {
        /// Its exit status.
        status: String,
        /// The log file.
        path: PathBuf,
        /// The end of the log.
        log: String,
    },
    /// The server did not get ready in time.
    #[error(
        "the embedded PostgreSQL was not ready within {} s; its log {} ends with: {log}",
        waited.as_secs(), path.display()
    )]
    NotReady {
        /// How long was waited.
        waited: Duration,
        /// The log file.
        path: PathBuf,
        /// The end of the log.
        log: String,
    },
    /// Every free port that was tried was taken by somebody else before the server could have it.
    #[error("found no free port on 127.0.0.1 in {attempts} attempts; check what listens there (`ss -ltn`)")]
    NoPort {
        /// How many were tried.
        attempts: u32,
    },
    /// `resume` was called on a server that runs.
    #[error("the embedded PostgreSQL is running already; stop it before starting it again")]
    Running,
    /// The server did not end when told to.
    #[error("the embedded PostgreSQL did not stop within {} s; end process {pid} yourself", waited.as_secs())]
    NotStopped {
        /// Its process id.
        pid: u32,
        /// How long was waited.
        waited: Duration,
    },
}

impl EmbeddedError {
    /// For `map_err`: `action` is the verb after "could not".
    pub(super) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
}
