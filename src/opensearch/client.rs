//! HTTP: one client, one place that turns what can go wrong on the way into failures.

use std::fmt;

use reqwest::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::Value;
use url::Url;

use super::condition;
use super::options::{Auth, OpenSearchOptions, spoken_time, without_login};
use crate::edges::{Failure, Waiting};

/// A search engine that answers.
pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
    auth: Auth,
    /// The address, for errors.
    pub(super) shown: String,
    /// For how long an index remembers the version of a deletion: twice the time for which an older write may still arrive.
    pub(super) gc_deletes: String,
    /// How long a write may wait for its shard.
    pub(super) shard_timeout: String,
    response_bytes_max: usize,
}

/// A status and the JSON that came with it (`null` where there was none).
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Value,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// The request surely never left.
    NotSent(reqwest::Error),
    /// It may have been applied.
    Unknown(String),
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoAnswer::NotSent(_) => f.write_str("no connection"),
            NoAnswer::Unknown(why) => f.write_str(why),
        }
    }
}

impl Answer {
    pub(super) fn succeeded(&self) -> bool {
        self.status.is_success()
    }

    /// The index that an error is about, where it says so.
    fn index(&self) -> &str {
        self.body["error"]["index"].as_str().unwrap_or("<index>")
    }

    pub(super) fn not_found(&self) -> bool {
        self.status == StatusCode::NOT_FOUND
    }
}

impl Client {
    pub(super) fn new(options: &OpenSearchOptions) -> Result<Self, Failure> {
        let shown = without_login(&options.url);
        let refused = |found: String| {
            Failure::fatal(format!("sink {shown}: {found}")).with_advice("give an address such as https://search:9200")
        };
        let mut base = Url::parse(&options.url).map_err(|error| refused(error.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() {
            return Err(refused("neither http:// nor https:// with a host".to_owned()));
        }
        let mut auth = options.auth.clone();
        if !base.username().is_empty() {
            let decode = |text: &str| percent_decoded(text);
            let password = base.password().map(decode).unwrap_or_default();
            auth = Auth::Basic { user: decode(base.username()), password };
        }
        let _ = base.set_username("");
        let _ = base.set_password(None);
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let mut http = reqwest::Client::builder()
            .connect_timeout(options.connect_timeout)
            .timeout(options.request_timeout)
            .pool_max_idle_per_host(options.bulk_in_flight_max.max(1))
            .gzip(options.gzip)
            // A redirected write would arrive as a read, somewhere else, with our credentials.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("docmill/", env!("CARGO_PKG_VERSION")));
        if matches!(base.host_str(), Some("localhost" | "127.0.0.1" | "[::1]")) {
            // A proxy cannot reach this machine's own loopback.
            http = http.no_proxy();
        }
        if let Some(path) = &options.ca_pem {
            let unusable = |why: &dyn fmt::Display| {
                Failure::fatal(format!("sink {shown}: certificates in {} cannot be used: {why}", path.display()))
            };
            let pem = std::fs::read(path).map_err(|error| unusable(&error))?;
            let certificates = reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| unusable(&error))?;
            http = http.tls_certs_merge(certificates);
        }
        let http = http.build().map_err(|error| {
            Failure::fatal(format!("sink {shown}: the HTTP client could not be set up")).with_source(error)
        })?;
        Ok(Self {
            http,
            base,
            auth,
            shown,
            gc_deletes: spoken_time(options.late_window * 2),
            shard_timeout: spoken_time(options.shard_timeout),
            response_bytes_max: options.response_bytes_max,
        })
    }

    /// Sends JSON, or nothing, and reads the answer whatever its status. `what` is what an error says was tried.
    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        what: &str,
    ) -> Result<Answer, Failure> {
        self.request(method, path, body).await.map_err(|error| self.no_answer(what, error))
    }

    /// As [`call`](Self::call), for what must succeed.
    pub(super) async fn must(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        what: &str,
    ) -> Result<Value, Failure> {
        let answer = self.call(method, path, body, what).await?;
        if answer.succeeded() { Ok(answer.body) } else { Err(self.refused(what, &answer)) }
    }

    /// Sends JSON, or nothing, and reads the answer whatever its status.
    pub(super) async fn request(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer, NoAnswer> {
        let body = body.map(|body| ("application/json", body.to_string().into_bytes()));
        self.send(self.to(method, path)?, body).await
    }

    /// Sends a bulk body.
    pub(super) async fn bulk(&self, path: &str, body: Vec<u8>) -> Result<Answer, NoAnswer> {
        let request = self.to(Method::POST, path)?;
        // A short answer (a status for each document), which the search engine need not spend CPU on to make shorter.
        self.send(request.header(ACCEPT_ENCODING, "identity"), Some(("application/x-ndjson", body))).await
    }

    fn to(&self, method: Method, path: &str) -> Result<RequestBuilder, NoAnswer> {
        let url = self.base.join(path).map_err(|error| NoAnswer::Unknown(format!("path {path}: {error}")))?;
        Ok(self.http.request(method, url))
    }

    async fn send(&self, mut request: RequestBuilder, body: Option<(&str, Vec<u8>)>) -> Result<Answer, NoAnswer> {
        request = match &self.auth {
            Auth::None => request,
            Auth::Basic { user, password } => request.basic_auth(user, Some(password)),
            Auth::ApiKey(key) => request.header(AUTHORIZATION, format!("ApiKey {key}")),
            Auth::Bearer(token) => request.bearer_auth(token),
        };
        if let Some((form, bytes)) = body {
            request = request.header(CONTENT_TYPE, form).body(bytes);
        }
        let mut response = request.send().await.map_err(|error| match error.is_connect() {
            true => NoAnswer::NotSent(error.without_url()),
            false => NoAnswer::Unknown(why(&error)),
        })?;
        let status = response.status();
        let mut bytes = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| NoAnswer::Unknown(why(&error)))? {
            if bytes.len() + piece.len() > self.response_bytes_max {
                return Err(NoAnswer::Unknown(format!("a response of more than {} bytes", self.response_bytes_max)));
            }
            bytes.extend_from_slice(&piece);
        }
        let body = match serde_json::from_slice(&bytes) {
            Ok(body) => body,
            // A success that cannot be read says nothing of what was applied.
            Err(_) if status.is_success() && !bytes.is_empty() => {
                return Err(NoAnswer::Unknown("a response that is no JSON".to_owned()));
            }
            Err(_) => Value::Null,
        };
        Ok(Answer { status, body })
    }

    /// What a call that got no answer means.
    pub(super) fn no_answer(&self, what: &str, error: NoAnswer) -> Failure {
        let message = format!("{what} on {}: {error}", self.shown);
        match error {
            NoAnswer::NotSent(error) => Failure::transient(message).with_source(error),
            NoAnswer::Unknown(_) => Failure::transient(message),
        }
    }

    /// What a call means that was answered with something else than success.
    pub(super) fn refused(&self, what: &str, answer: &Answer) -> Failure {
        let status = answer.status;
        let error = error_type(&answer.body);
        let message = format!("{what} on {}: {status}, {error}", self.shown);
        match status.as_u16() {
            401 => Failure::fatal(message).with_advice("the credentials are wrong or missing: see the sink's auth"),
            _ if condition::is_load(status.as_u16().into(), error) => {
                let failure = Failure::transient(message).waiting_on(Waiting::Sink);
                match condition::advice(error, answer.index()) {
                    Some(advice) => failure.with_advice(advice),
                    None => failure,
                }
            }
            403 => Failure::fatal(message).with_advice("the user lacks a privilege for this"),
            300..=399 => Failure::fatal(message).with_advice("it redirects: give the address that it redirects to"),
            400..=499 if status != StatusCode::REQUEST_TIMEOUT => Failure::fatal(message),
            _ => Failure::transient(message),
        }
    }
}

/// The type of an error in an answer; never its reason, which may quote documents.
pub(super) fn error_type(body: &Value) -> &str {
    let error = &body["error"];
    error["type"].as_str().or_else(|| error.as_str()).unwrap_or("no error named")
}

fn why(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut text = "the connection was cut".to_owned();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("the connection was cut ({error})");
        cause = error.source();
    }
    text
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let hex = |byte: &u8| (*byte as char).to_digit(16).map(|digit| digit as u8);
        match (byte, tail) {
            (b'%', [high, low, tail @ ..]) if hex(high).is_some() && hex(low).is_some() => {
                bytes.push(hex(high).unwrap_or(0) << 4 | hex(low).unwrap_or(0));
                rest = tail;
            }
            _ => {
                bytes.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.shown)
    }
}
