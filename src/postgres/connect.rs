//! One connection for statements, with its driver: opened within a time, closed when dropped.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_postgres::config::{SslMode, SslNegotiation};
use tokio_postgres::{Client, NoTls};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::error::failed;
use super::quote;
use super::settings::Settings;
use super::socket::Sockets;
use crate::edges::Failure;

/// The name under which we appear in `pg_stat_activity` and `pg_stat_replication`.
pub(super) const APPLICATION_NAME: &str = "docmill";
/// The driver's; nobody set another one.
const KEEPALIVES_IDLE_DEFAULT: Duration = Duration::from_secs(2 * 60 * 60);
/// A server that vanished without a word is noticed within a minute.
const KEEPALIVES_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVES_INTERVAL: Duration = Duration::from_secs(10);
/// How long data may wait for the other end to acknowledge it.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a request to cancel a statement may take; then the socket alone is closed.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);

/// What makes every value print in the one form that `builder.wit` names.
pub(super) const FORMS: [(&str, &str); 5] = [
    ("DateStyle", "ISO"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("extra_float_digits", "1"),
    ("bytea_output", "hex"),
];

/// A connection. Dropping it closes the socket.
pub(super) struct Connection {
    pub client: Client,
    settings: Settings,
    sockets: Option<Sockets>,
    ended: CancellationToken,
    _driver: AbortOnDropHandle<()>,
}

impl Connection {
    /// Connects and logs in with these session settings in the start-up packet, where `reset all` returns to.
    ///
    /// One message of the server has at most `message_bytes_max` bytes. Must be called on the runtime that shall drive the
    /// connection.
    pub async fn open<'a>(
        settings: &Settings,
        session: impl IntoIterator<Item = (&'a str, String)>,
        timeout: Duration,
        message_bytes_max: usize,
    ) -> Result<Self, Failure> {
        let mut config = settings.config.clone();
        let ours = session.into_iter().map(|(name, value)| quote::setting(name, &value)).collect::<Vec<_>>().join(" ");
        // The operator's options come first: where both set something, the last one counts.
        config.options(match settings.config.get_options() {
            Some(theirs) => format!("{theirs} {ours}"),
            None => ours,
        });
        config.application_name(APPLICATION_NAME).connect_timeout(timeout);
        if config.get_keepalives_idle() == KEEPALIVES_IDLE_DEFAULT {
            config.keepalives_idle(KEEPALIVES_IDLE).keepalives_interval(KEEPALIVES_INTERVAL).keepalives_retries(3);
        }
        if config.get_tcp_user_timeout().is_none() {
            // Keepalives say nothing of a peer that went away with data on its way to it.
            config.tcp_user_timeout(TCP_USER_TIMEOUT);
        }
        let sockets = settings.sockets(message_bytes_max)?;
        let connecting = async {
            match sockets.clone() {
                // A socket of this machine has no name to verify, and the server there speaks no TLS.
                None => {
                    config.ssl_mode(SslMode::Disable);
                    let (client, driver) = config.connect(NoTls).await.map_err(|e| refused(settings, e))?;
                    Ok((client, drive(driver)))
                }
                Some(sockets) => {
                    config.ssl_mode(SslMode::Require).ssl_negotiation(SslNegotiation::Direct);
                    let (client, driver) = config.connect(sockets).await.map_err(|e| refused(settings, e))?;
                    Ok((client, drive(driver)))
                }
            }
        };
        let (client, (driver, ended)) = tokio::time::timeout(timeout, connecting)
            .await
            .unwrap_or_else(|_| Err(Failure::transient(format!("failed to connect to {settings} in {timeout:?}"))))?;
        Ok(Self { client, settings: settings.clone(), sockets, ended, _driver: driver })
    }

    /// Ends with the connection, whichever side closed it.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + 'static {
        self.ended.clone().cancelled_owned()
    }

    /// Whether it ended because a message of the server was larger than what it may have.
    pub fn was_overrun(&self) -> bool {
        self.sockets.as_ref().is_some_and(|sockets| sockets.bounds.overrun.load(Ordering::Acquire))
    }

    /// Ends the connection and what it is doing: closes the socket and asks the server to cancel.
    pub fn abandon(self, on: &Handle) {
        let (token, sockets) = (self.client.cancel_token(), self.sockets.clone());
        on.spawn(async move {
            let asking = async {
                match sockets {
                    Some(sockets) => token.cancel_query(sockets).await,
                    None => token.cancel_query(NoTls).await,
                }
            };
            // When that fails too, the server notices the closed socket by itself when it has something to send.
            let _ = tokio::time::timeout(CANCEL_TIMEOUT, asking).await;
        });
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Connection({})", self.settings)
    }
}

fn refused(settings: &Settings, error: tokio_postgres::Error) -> Failure {
    failed(format!("connect to {settings}"), error)
}

fn drive<S, T>(driver: tokio_postgres::Connection<S, T>) -> (AbortOnDropHandle<()>, CancellationToken)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let ended = CancellationToken::new();
    let end = ended.clone().drop_guard();
    let driver = AbortOnDropHandle::new(Handle::current().spawn(async move {
        let _end = end;
        // What broke the connection is told by the statement that was running on it.
        if let Err(error) = driver.await {
            tracing::debug!(%error, "a connection to the source ended");
        }
    }));
    (driver, ended)
}
