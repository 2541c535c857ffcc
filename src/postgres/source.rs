//! [`Source`]: what one `Postgres` and its readers share: options, where to connect, and whether capture is there.

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::runtime::Handle;

use super::connect::{Connection, FORMS};
use super::connections::Connections;
use super::error::failed;
use super::link::Link;
use super::options::PostgresOptions;
use super::settings::Settings;
use super::{quote, server};
use crate::edges::{Catalog, Failure};

/// How long the server lets a read's transaction wait for its next statement: far longer than any call of a builder.
const IDLE_IN_TRANSACTION_MAX: Duration = Duration::from_secs(10 * 60);

/// What a message of the server may have besides the bytes that a call may yield: its parts, and the longest error.
const MESSAGE_SLACK_BYTES: usize = 1 << 20;

/// See the module.
#[derive(Debug)]
pub(super) struct Source {
    pub options: PostgresOptions,
    pub capture: Settings,
    pub reader: Settings,
    /// How its read connections log in.
    pub log_in: Arc<LogIn>,
    pub link: Link,
    /// The publication's entries for which a stream of this process has passed its quiet point.
    pub quiet: Arc<Mutex<Option<Catalog>>>,
    /// Whether rows are read by its reader role. Of a stream that is shared, each tenant reads as its own.
    pub reads: bool,
    /// Whether its tables were admitted to a shared stream before: what they lose later is waited for, or made up for.
    pub admitted: AtomicBool,
    /// Of all its pipelines.
    pub connections: Arc<Connections>,
    /// Whether the log has said what a reader that is the capture role means.
    pub said_one_role: AtomicBool,
    /// Where connections are driven, whoever asks for them: guests have a runtime of their own.
    pub runtime: Handle,
}

impl Source {
    pub fn new(options: PostgresOptions, reads: bool) -> Result<Self, Failure> {
        let capture = Settings::parse(&options.url)?;
        let reader = match &options.reader_url {
            Some(url) => Settings::parse(url)?,
            None => capture.clone(),
        };
        let runtime = Handle::try_current().map_err(|error| {
            Failure::fatal("failed to set up the source: there is no tokio runtime to drive its connections")
                .with_source(error)
        })?;
        let admitted = AtomicBool::new(false);
        let most = if reads { options.read_connections_max } else { options.read_connections_total };
        let connections = Connections::new(most, options.read_connection_idle_max, &runtime);
        Ok(Self {
            log_in: Arc::new(LogIn::new(&reader, &options)),
            options,
            capture,
            reader,
            link: Link::new(),
            quiet: Arc::default(),
            reads,
            admitted,
            connections,
            said_one_role: AtomicBool::new(false),
            runtime,
        })
    }

    /// The same capture, with rows read as another role says; reads begin while the stream of `self` is open.
    pub fn for_tenant(&self, options: PostgresOptions) -> Result<Self, Failure> {
        let PostgresOptions { url, slot, publication, .. } = self.options.clone();
        let reader = match &options.reader_url {
            Some(url) => Settings::parse(url)?,
            None => self.capture.clone(),
        };
        Ok(Self {
            log_in: Arc::new(LogIn::new(&reader, &options)),
            options: PostgresOptions { url, slot, publication, ..options },
            capture: self.capture.clone(),
            reader,
            link: self.link.clone(),
            quiet: Arc::clone(&self.quiet),
            reads: true,
            admitted: AtomicBool::new(false),
            said_one_role: AtomicBool::new(false),
            connections: Arc::clone(&self.connections),
            runtime: self.runtime.clone(),
        })
    }

    /// The same source, captured by another slot.
    pub fn for_copy(&self, options: PostgresOptions) -> Self {
        Self {
            log_in: Arc::new(LogIn::new(&self.reader, &options)),
            options,
            capture: self.capture.clone(),
            reader: self.reader.clone(),
            link: Link::new(),
            quiet: Arc::clone(&self.quiet),
            reads: false,
            admitted: AtomicBool::new(false),
            said_one_role: AtomicBool::new(false),
            connections: Arc::clone(&self.connections),
            runtime: self.runtime.clone(),
        }
    }

    /// A connection of the capture role, for the catalog and for markers.
    pub async fn connect_control(&self) -> Result<Connection, Failure> {
        let session = [
            ("search_path", "pg_catalog".to_owned()),
            ("statement_timeout", "0".to_owned()),
            ("lock_timeout", millis(self.options.lock_timeout)),
            // A slot that is being made waits for the application's transactions.
            ("idle_session_timeout", "0".to_owned()),
            // The catalog of many tables looks worth it to the planner, and is not.
            ("jit", "off".to_owned()),
        ];
        let session = session.into_iter().chain(forms());
        let connection = Connection::open(
            &self.capture,
            session,
            self.options.connect_timeout,
            self.options.stream_message_bytes_max,
        )
        .await?;
        // Not at log-in, where it would hide the server's value for good.
        let set = connection.client.batch_execute(server::OWN_COMMITS).await;
        set.map_err(|error| failed("set up a connection to the source", error))?;
        Ok(connection)
    }

    /// A connection of the reader role, for rows. Driven on the source's runtime.
    pub async fn connect_reader(&self) -> Result<Connection, Failure> {
        let (log_in, search_path) = (Arc::clone(&self.log_in), self.search_path());
        let timeout = self.options.connect_timeout;
        let opening = async move {
            let session = log_in.session.iter().cloned().chain([("search_path", search_path)]);
            Connection::open(&log_in.settings, session, timeout, log_in.message_bytes_max).await
        };
        self.runtime
            .spawn(opening)
            .await
            .unwrap_or_else(|error| Err(Failure::transient("failed to connect to the source").with_source(error)))
    }

    /// Where names without a schema are looked up, as SQL.
    pub fn search_path(&self) -> String {
        quote::identifier(&self.options.schema)
    }
}

/// How a read connection logs in: what two have the same of serves the same pipelines.
#[derive(PartialEq)]
pub(super) struct LogIn {
    settings: Settings,
    session: Vec<(&'static str, String)>,
    message_bytes_max: usize,
}

impl LogIn {
    fn new(reader: &Settings, options: &PostgresOptions) -> Self {
        let session = [
            ("statement_timeout", millis(options.statement_timeout)),
            ("lock_timeout", millis(options.lock_timeout)),
            ("idle_session_timeout", "0".to_owned()),
            ("default_transaction_read_only", "on".to_owned()),
            // A snapshot that is held while we stand still holds back vacuum.
            ("idle_in_transaction_session_timeout", millis(IDLE_IN_TRANSACTION_MAX)),
            // What reads the text of statements goes by it.
            ("standard_conforming_strings", "on".to_owned()),
            // Compiling costs more than it saves on statements that take a millisecond.
            ("jit", "off".to_owned()),
        ];
        Self {
            settings: reader.clone(),
            session: session.into_iter().chain(forms()).collect(),
            message_bytes_max: options.bytes_per_call_max.saturating_add(MESSAGE_SLACK_BYTES),
        }
    }
}

impl fmt::Debug for LogIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogIn({})", self.settings)
    }
}

fn forms() -> impl Iterator<Item = (&'static str, String)> {
    FORMS.iter().map(|(name, value)| (*name, (*value).to_owned()))
}

fn millis(duration: Duration) -> String {
    duration.as_millis().to_string()
}
