//! One connection for statements, with its driver: opened within a time, closed when dropped.

use std::time::Duration;

use tokio::runtime::Handle;
use tokio_postgres::{Client, NoTls};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::error::failed;
use super::quote;
use super::settings::Settings;
use super::tls::TlsMode;
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
    ended: CancellationToken,
    _driver: AbortOnDropHandle<()>,
}

impl Connection {
    /// Connects and logs in with these session settings in the start-up packet, where `reset all` returns to.
    ///
    /// Must be called on the runtime that shall drive the connection.
    pub async fn open<'a>(
        settings: &Settings,
        session: impl IntoIterator<Item = (&'a str, String)>,
        timeout: Duration,
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
        let connecting = async {
            match settings.tls.for_queries()? {
                None => {
                    config.ssl_mode(tokio_postgres::config::SslMode::Disable);
                    let (client, driver) = config.connect(NoTls).await.map_err(|e| refused(settings, e))?;
                    Ok((client, drive(driver)))
                }
                Some(tls) => {
                    config.ssl_mode(match settings.tls.mode {
                        TlsMode::Prefer => tokio_postgres::config::SslMode::Prefer,
                        _ => tokio_postgres::config::SslMode::Require,
                    });
                    let (client, driver) = config.connect(tls).await.map_err(|e| refused(settings, e))?;
                    Ok((client, drive(driver)))
                }
            }
        };
        let (client, (driver, ended)) = tokio::time::timeout(timeout, connecting)
            .await
            .unwrap_or_else(|_| Err(Failure::transient(format!("failed to connect to {settings} in {timeout:?}"))))?;
        Ok(Self { client, settings: settings.clone(), ended, _driver: driver })
    }

    /// Ends with the connection, whichever side closed it.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + 'static {
        self.ended.clone().cancelled_owned()
    }

    /// Ends the connection and what it is doing: closes the socket and asks the server to cancel.
    pub fn abandon(self, on: &Handle) {
        let token = self.client.cancel_token();
        let tls = self.settings.tls.clone();
        on.spawn(async move {
            let asking = async {
                match tls.for_queries() {
                    Ok(Some(tls)) => token.cancel_query(tls).await,
                    Ok(None) => token.cancel_query(NoTls).await,
                    Err(_) => Ok(()),
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
