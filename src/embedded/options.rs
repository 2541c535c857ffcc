//! How the embedded PostgreSQL should be: plain settings with defaults that a demo wants.

use std::path::PathBuf;
use std::time::Duration;

/// What the embedded PostgreSQL should be like.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whether commits reach the disk. `false` is faster, and a crash of the machine (not of the server) loses the cluster.
    pub fsync: bool,
    /// Further lines of `postgresql.conf`, name and value unquoted; they win over the ones set here.
    pub settings: Vec<(String, String)>,
    /// Where the cluster lives: the directory gets `data/`, `server.log` and `password`. A cluster that is there already is
    /// started as it is. `None`: a new directory, removed when the server is dropped.
    pub directory: Option<PathBuf>,
    /// The directory of `initdb` and `postgres` to use; `None` looks for one (see [`EmbeddedPostgres::start`]).
    ///
    /// [`EmbeddedPostgres::start`]: super::EmbeddedPostgres::start
    pub binaries: Option<PathBuf>,
    /// How long a start may take (crash recovery included).
    pub start_timeout: Duration,
    /// Told one line before anything slow or unexpected is done, such as fetching a server.
    pub progress: fn(&str),
}

impl Default for Options {
    /// `fsync` on, a temporary directory, 60 s to start, silent.
    fn default() -> Self {
        Self {
            fsync: true,
            settings: Vec::new(),
            directory: None,
            binaries: None,
            start_timeout: Duration::from_secs(60),
            progress: |_| {},
        }
    }
}

/// How a server is told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopMode {
    /// Ends sessions, waits for replication to receive everything, writes a checkpoint.
    Fast,
    /// Ends at once without a checkpoint; the next start recovers from the log, as after a crash of the server.
    Immediate,
}
