//! [`Settings`]: one connection string, read once and in full, from which both clients are fed.
//!
//! `tokio-postgres` refuses `sslmode=verify-full` and `sslrootcert`, and `pgwire-replication` takes no connection string at
//! all. So what concerns TLS is taken out here, and the rest is left to `tokio-postgres` to read.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslNegotiation};
use url::form_urlencoded;

use super::socket::{Bounds, Sockets};
use super::tls::{TlsMode, TlsSettings};
use crate::edges::Failure;

/// Where to connect, as whom, and how.
#[derive(Clone, PartialEq)]
pub(super) struct Settings {
    /// All of it but TLS, for `tokio-postgres`.
    pub config: Config,
    /// A name, an address, or the directory of a socket.
    pub host: String,
    pub port: u16,
    pub user: String,
    pub password: String,
    pub database: String,
    pub tls: TlsSettings,
}

impl Settings {
    /// How sockets for statements are made; `None` where the driver makes one of this machine.
    pub fn sockets(&self, message_bytes_max: usize) -> Result<Option<Sockets>, Failure> {
        if !matches!(self.config.get_hosts(), [Host::Tcp(_)]) {
            return Ok(None);
        }
        Ok(Some(Sockets {
            tls: self.tls.for_queries()?,
            tls_required: self.tls.mode > TlsMode::Prefer,
            tls_unasked: self.config.get_ssl_negotiation() == SslNegotiation::Direct,
            bounds: Bounds { message_bytes_max, overrun: Arc::default() },
        }))
    }

    /// Reads a connection string.
    ///
    /// # Errors
    ///
    /// `Fatal`, naming what is missing or not understood; never with the string itself, which holds the password.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let text = text.trim();
        if text.is_empty() {
            return Err(refused("there is none"));
        }
        let url_scheme = ["postgres://", "postgresql://"].iter().any(|s| text.starts_with(s));
        let (rest, tls_pairs) = if url_scheme { split_url(text) } else { split_pairs(text)? };
        let tls = tls_of(tls_pairs)?;
        let config: Config = rest.parse().map_err(|error: tokio_postgres::Error| {
            // Its cause names the key that was not understood; neither quotes a value.
            let cause = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            refused(&cause)
        })?;
        let host = match config.get_hosts() {
            [Host::Tcp(host)] => host.clone(),
            #[cfg(unix)]
            [Host::Unix(path)] => path.to_string_lossy().into_owned(),
            [] => return Err(refused("it names no host")),
            _ => return Err(refused("it names several hosts, and a slot lives on one")),
        };
        let user = config.get_user().ok_or_else(|| refused("it names no user"))?.to_owned();
        let password = String::from_utf8_lossy(config.get_password().unwrap_or_default()).into_owned();
        let settings = Self {
            host,
            port: config.get_ports().first().copied().unwrap_or(5432),
            database: config.get_dbname().unwrap_or(&user).to_owned(),
            user,
            password,
            tls,
            config,
        };
        if settings.host.starts_with('/') && settings.tls.mode > TlsMode::Prefer {
            return Err(refused("it asks for TLS on a unix socket, which has none"));
        }
        Ok(settings)
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}:{}/{}", self.user, self.host, self.port, self.database)
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Settings({self})")
    }
}

type Pairs = Vec<(String, String)>;

fn is_tls(key: &str) -> bool {
    key.starts_with("ssl") && key != "sslnegotiation"
}

fn split_url(text: &str) -> (String, Pairs) {
    let Some((base, query)) = text.split_once('?') else {
        return (text.to_owned(), Vec::new());
    };
    // A plus is a plus here, as in libpq.
    let query = query.replace('+', "%2B");
    let (tls, rest): (Pairs, Pairs) =
        form_urlencoded::parse(query.as_bytes()).into_owned().partition(|(key, _)| is_tls(key));
    if rest.is_empty() {
        return (base.to_owned(), tls);
    }
    let rest = form_urlencoded::Serializer::new(String::new()).extend_pairs(&rest).finish().replace('+', "%20");
    (format!("{base}?{rest}"), tls)
}

/// `key = value key='a value'`, with backslashes before quotes.
fn split_pairs(text: &str) -> Result<(String, Pairs), Failure> {
    let mut pairs = Pairs::new();
    let mut characters = text.chars().peekable();
    loop {
        while characters.next_if(|c| c.is_whitespace()).is_some() {}
        let mut key = String::new();
        while let Some(c) = characters.next_if(|c| *c != '=' && !c.is_whitespace()) {
            key.push(c);
        }
        if key.is_empty() {
            break;
        }
        while characters.next_if(|c| c.is_whitespace()).is_some() {}
        if characters.next() != Some('=') {
            return Err(refused("it is neither a URL nor a list of key=value"));
        }
        while characters.next_if(|c| c.is_whitespace()).is_some() {}
        let quoted = characters.next_if_eq(&'\'').is_some();
        let mut value = String::new();
        loop {
            match characters.next() {
                Some('\'') if quoted => break,
                Some(c) if !quoted && c.is_whitespace() => break,
                Some('\\') => value.extend(characters.next()),
                Some(c) => value.push(c),
                None if quoted => return Err(refused("a quoted value does not end")),
                None => break,
            }
        }
        pairs.push((key, value));
    }
    let (tls, rest): (Pairs, Pairs) = pairs.into_iter().partition(|(key, _)| is_tls(key));
    let rest = rest
        .iter()
        .map(|(key, value)| format!("{key}='{}'", value.replace('\\', "\\\\").replace('\'', "\\'")))
        .collect::<Vec<_>>()
        .join(" ");
    Ok((rest, tls))
}

fn tls_of(pairs: Pairs) -> Result<TlsSettings, Failure> {
    let mut mode = TlsMode::Prefer;
    let mut root = None;
    for (key, value) in pairs {
        match key.as_str() {
            "sslmode" => {
                mode = TlsMode::parse(&value).ok_or_else(|| {
                    refused("its sslmode is none of disable, prefer, require, verify-ca, verify-full")
                })?;
            }
            "sslrootcert" if value == "system" => mode = mode.max(TlsMode::VerifyFull),
            "sslrootcert" => root = Some(PathBuf::from(value)),
            _ => return Err(refused(&format!("{key} is not supported; sslmode and sslrootcert are"))),
        }
    }
    // As libpq does: whoever names a root certificate wants it to be used.
    if root.is_some() && mode == TlsMode::Require {
        mode = TlsMode::VerifyCa;
    }
    Ok(TlsSettings { mode, root })
}

fn refused(why: &str) -> Failure {
    Failure::fatal(format!("failed to read the connection string of the source: {why}"))
        .with_advice("write it as postgres://user:password@host:5432/database?sslmode=verify-full")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_notations_say_the_same() {
        let url = Settings::parse("postgres://me:p%40ss@db.example:6000/shop?sslmode=verify-full&sslrootcert=/ca.pem")
            .expect("a good URL");
        let pairs = Settings::parse(
            "host=db.example port=6000 user = me password='p@ss' dbname=shop sslmode=verify-full sslrootcert=/ca.pem",
        )
        .expect("good pairs");
        for settings in [&url, &pairs] {
            assert_eq!(settings.to_string(), "me@db.example:6000/shop");
            assert_eq!(settings.password, "p@ss");
            assert_eq!(settings.tls.mode, TlsMode::VerifyFull);
            assert_eq!(settings.tls.root, Some(PathBuf::from("/ca.pem")));
        }
    }

    #[test]
    fn a_root_certificate_makes_require_verify() {
        let settings = Settings::parse("postgres://me@db/shop?sslmode=require&sslrootcert=/ca.pem").expect("good");
        assert_eq!(settings.tls.mode, TlsMode::VerifyCa);
    }

    #[test]
    fn what_is_refused_never_quotes_the_string() {
        for text in [
            "",
            "postgres://me:hunter2@a,b/shop",
            "postgres://me:hunter2@db/shop?sslmode=hunter2",
            "postgres://me:hunter2@db/shop?sslcert=hunter2",
            "host=db user=me password='hunter2",
            "hunter2",
            "host=db password=hunter2",
        ] {
            let failure = Settings::parse(text).expect_err(text);
            assert!(!failure.chain().contains("hunter2"), "{}", failure.chain());
        }
    }

    #[test]
    fn debug_prints_no_password() {
        let settings = Settings::parse("postgres://me:hunter2@db/shop").expect("good");
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
}
