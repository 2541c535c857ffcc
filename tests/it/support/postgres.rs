//! A real PostgreSQL for tests: one cluster for the whole test process with a fresh database per test, and private clusters
//! for tests that restart, kill or configure theirs.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use docmill::embedded::{EmbeddedPostgres, Options};
use tokio::sync::OnceCell;
use tokio_postgres::{Client, NoTls};

static SHARED: OnceCell<()> = OnceCell::const_new();
/// Apart from the cell, so that the process's end can take it.
static SERVER: Mutex<Option<EmbeddedPostgres>> = Mutex::new(None);
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// A database of the shared cluster that no other test sees. It goes with the cluster.
#[derive(Debug, Clone)]
pub struct Database {
    /// The database's name; unique in the cluster, so good for naming slots (which the cluster shares) too.
    pub name: String,
    /// Connection URL of the superuser.
    pub url: String,
}

impl Database {
    /// A new empty database in the shared cluster, which the first call starts.
    pub async fn fresh() -> Self {
        let admin = shared_url("postgres").await;
        let name = format!("test_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        let client = connect(&admin).await;
        client.batch_execute(&format!("create database {name}")).await.expect("a new database");
        Self { url: shared_url(&name).await, name }
    }

    /// A new connection.
    pub async fn connect(&self) -> Client {
        connect(&self.url).await
    }

    /// Runs statements.
    pub async fn sql(&self, statements: &str) {
        let client = self.connect().await;
        client.batch_execute(statements).await.unwrap_or_else(|error| panic!("{statements}: {error}"));
    }

    /// One text.
    pub async fn ask(&self, query: &str) -> String {
        let row = self.connect().await.query_one(query, &[]).await;
        row.unwrap_or_else(|error| panic!("{query}: {error}")).get(0)
    }
}

/// A cluster of the test's own: no fsync, the given settings on top.
pub async fn private(settings: &[(&str, &str)]) -> EmbeddedPostgres {
    let settings = settings.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    private_with(Options { fsync: false, settings, ..Options::default() }).await
}

/// A cluster of the test's own.
pub async fn private_with(options: Options) -> EmbeddedPostgres {
    blocking(move || EmbeddedPostgres::start(options)).await.unwrap_or_else(|error| panic!("{}", chain(&error)))
}

/// Runs something that blocks, such as a restart of a cluster, beside the test's runtime.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("the blocking work panicked")
}

/// A connection whose driver ends with it.
pub async fn connect(url: &str) -> Client {
    try_connect(url).await.expect("a connection to the test's PostgreSQL")
}

/// A connection whose driver ends with it, for servers that may be down.
pub async fn try_connect(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(async move {
        // What breaks the connection is seen by the next call on the client.
        let _ = connection.await;
    });
    Ok(client)
}

/// An error and all its causes on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

async fn shared_url(database: &str) -> String {
    SHARED
        .get_or_init(|| async {
            let options = [("max_connections", "400"), ("max_wal_senders", "400"), ("max_replication_slots", "400")];
            let server = private(&options).await;
            *locked() = Some(server);
            // Nothing drops a static: without this the cluster would lie about until the next test run sweeps it.
            // SAFETY: the handler is a plain function that lives as long as the program.
            unsafe { libc::atexit(remove_shared) };
        })
        .await;
    locked().as_ref().map(|server| server.url_of(database)).expect("the shared cluster is there until the process ends")
}

extern "C" fn remove_shared() {
    drop(locked().take());
}

fn locked() -> std::sync::MutexGuard<'static, Option<EmbeddedPostgres>> {
    SERVER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until a query of one boolean answers true; panics after a minute.
pub async fn until_true(client: &Client, sql: &str) {
    let begin = std::time::Instant::now();
    while !client.query_one(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error}")).get::<_, bool>(0) {
        assert!(begin.elapsed() < std::time::Duration::from_secs(60), "never true: {sql}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
