//! [`PostgresOptions`]: everything that can be set about the source, with its defaults.

use std::fmt;
use std::time::Duration;

/// How to reach and use a PostgreSQL source. `url`, `slot` and `publication` have no sensible default.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresOptions {
    /// The capture role's connection: `postgres://user:password@host:port/database?sslmode=verify-full&sslrootcert=…`, or
    /// the same as libpq's `host=… user=…`. `sslmode` is `disable`, `prefer` (default), `require`, `verify-ca` or
    /// `verify-full`. One host.
    pub url: String,
    /// The reader role's connection, where it is another role or a standby; `url` when `None`.
    pub reader_url: Option<String>,
    /// Takes the reader role of `reader_url` as it is, whatever else it may do than select. Without it a role that could pass the
    /// database's walls is refused; where `reader_url` is `None` there is one role, which is only warned of.
    pub reader_trusted: bool,
    /// Functions that declared statements may call although they are volatile, or listed as harmful: names, with or without a
    /// schema.
    pub allow_functions: Vec<String>,
    /// The logical replication slot: lower-case letters, digits and underscores. Made when it is missing.
    pub slot: String,
    /// The publication. Made and extended where the capture role may.
    pub publication: String,
    /// The schema of unqualified names in declared statements.
    pub schema: String,
    /// After that long without a transaction of ours a marker is written, so that the slot moves on; `None` for never.
    pub heartbeat: Option<Duration>,
    /// Connections for reads at most; at least 3, since two passes may hold one each while they wait for documents.
    pub read_connections_max: usize,
    /// Those of all pipelines that share the source together.
    pub read_connections_total: usize,
    /// A read connection that was idle for that long is closed.
    pub read_connection_idle_max: Duration,
    /// How long one statement of a read may take on the server.
    pub statement_timeout: Duration,
    /// How long a read waits for a free connection, and for a lost capture to come back.
    pub read_wait_max: Duration,
    /// Rows that one call (all queries of a snapshot) may yield.
    pub rows_per_call_max: usize,
    /// Bytes that one call may yield.
    pub bytes_per_call_max: usize,
    /// Ids that are read at once from a query of ids; what yields more is read through a cursor.
    pub ids_at_once_max: usize,
    /// The first pause between two looks whether a transaction is visible; it doubles.
    pub visibility_poll_min: Duration,
    /// The longest such pause.
    pub visibility_poll_max: Duration,
    /// How often the definitions of the captured tables are compared with what they were.
    pub catalog_every: Duration,
    /// When a transaction has not been visible for that long, the log says whom it waits for, and then again and again.
    pub visibility_report_every: Duration,
    /// How often the reader's privileges on the captured tables are looked at again: without them rows would leak.
    pub privileges_every: Duration,
    /// Whether sessions set `synchronous_commit = off` for themselves, which nobody can see: then everything is assembled
    /// again after a crash of the server, as it is where the setting is off for the server, the database or a role.
    pub assume_async_commits: bool,
    /// How long connecting and logging in may take.
    pub connect_timeout: Duration,
    /// How long a statement of ours waits for a lock that the application holds.
    pub lock_timeout: Duration,
    /// Messages of the stream that are read ahead.
    pub stream_buffer_events: usize,
    /// Bytes of one message of the stream (one row) at most.
    pub stream_message_bytes_max: usize,
    /// How often the confirmed position is sent, at most.
    pub status_interval: Duration,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            url: String::new(),
            reader_url: None,
            reader_trusted: false,
            allow_functions: Vec::new(),
            slot: "docmill".to_owned(),
            publication: "docmill".to_owned(),
            schema: "public".to_owned(),
            heartbeat: Some(Duration::from_secs(30)),
            read_connections_max: 6,
            read_connections_total: 20,
            read_connection_idle_max: Duration::from_secs(60),
            statement_timeout: Duration::from_secs(30),
            read_wait_max: Duration::from_secs(30),
            rows_per_call_max: 100_000,
            bytes_per_call_max: 16 << 20,
            ids_at_once_max: 40_000,
            visibility_poll_min: Duration::from_millis(1),
            visibility_poll_max: Duration::from_millis(50),
            catalog_every: Duration::from_secs(30),
            visibility_report_every: Duration::from_secs(10),
            privileges_every: Duration::from_secs(300),
            assume_async_commits: false,
            connect_timeout: Duration::from_secs(10),
            lock_timeout: Duration::from_secs(3),
            stream_buffer_events: 256,
            stream_message_bytes_max: 256 << 20,
            status_interval: Duration::from_secs(1),
        }
    }
}

/// The URLs hold passwords, so they are not printed.
impl fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresOptions")
            .field("slot", &self.slot)
            .field("publication", &self.publication)
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}
