//! Where the search engine is, how to log in, and the limits of what is sent to it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// How to log in. `Debug` prints no secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Auth {
    /// Not at all.
    #[default]
    None,
    /// User and password.
    Basic {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// `Authorization: ApiKey …`
    ApiKey(String),
    /// `Authorization: Bearer …`
    Bearer(String),
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Auth::None => "None",
            Auth::Basic { .. } => "Basic(…)",
            Auth::ApiKey(_) => "ApiKey(…)",
            Auth::Bearer(_) => "Bearer(…)",
        })
    }
}

/// An OpenSearch or Elasticsearch, and how it is used.
#[derive(Clone, PartialEq, Eq)]
pub struct OpenSearchOptions {
    /// `http://` or `https://`, host and port. User and password in it are taken for [`Auth::Basic`].
    pub url: String,
    /// How to log in.
    pub auth: Auth,
    /// A PEM file of certificates to trust besides the system's.
    pub ca_pem: Option<PathBuf>,
    /// Stands before the name of every index, alias and state index.
    pub index_prefix: String,
    /// Settings that a builder may ask for besides those that every builder may, without `index.` in front; `similarity.*` is
    /// everything below it. A setting that is bound otherwise is not, where it is named.
    pub allow_settings: Vec<String>,
    /// Whether the search engine may compress its answers.
    pub gzip: bool,
    /// Bytes of one bulk request, about, at most: fewer after one that was not answered in time.
    pub bulk_bytes_max: usize,
    /// Documents of one bulk request, at most.
    pub bulk_writes_max: usize,
    /// Bulk requests under way at the same time, at first.
    pub bulk_in_flight: usize,
    /// Bulk requests under way at the same time, at most.
    pub bulk_in_flight_max: usize,
    /// Bytes of one document.
    pub document_bytes_max: usize,
    /// Objects and lists inside each other in one document. Engines take 20 levels of mapped fields and check no more where a field
    /// holds any JSON (`flat_object`): there a few hundred overflow the stack of the thread that reads them, and no answer comes.
    pub document_depth_max: usize,
    /// Bytes of one response.
    pub response_bytes_max: usize,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long one request may take.
    pub request_timeout: Duration,
    /// How long the search engine may wait for a shard before it refuses a write.
    pub shard_timeout: Duration,
    /// For how long after an unknown outcome a write may still arrive, as the flow takes it (`FlowLimits::late_window`):
    /// indexes remember the versions of deletions for twice as long.
    pub late_window: Duration,
}

impl OpenSearchOptions {
    /// How long after it was sent a write may still be applied: connecting, the request, and the shard that it waits for.
    pub fn late_for(&self) -> Duration {
        self.connect_timeout + self.request_timeout + self.shard_timeout
    }
}

impl Default for OpenSearchOptions {
    fn default() -> Self {
        Self {
            url: "http://localhost:9200".to_owned(),
            auth: Auth::None,
            ca_pem: None,
            index_prefix: String::new(),
            allow_settings: Vec::new(),
            gzip: true,
            bulk_bytes_max: 4 << 20,
            bulk_writes_max: 5_000,
            bulk_in_flight: 2,
            bulk_in_flight_max: 8,
            document_bytes_max: 32 << 20,
            document_depth_max: 100,
            response_bytes_max: 64 << 20,
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(60),
            shard_timeout: Duration::from_secs(30),
            late_window: Duration::from_secs(120),
        }
    }
}

impl fmt::Debug for OpenSearchOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenSearchOptions")
            .field("url", &without_login(&self.url))
            .field("auth", &self.auth)
            .field("index_prefix", &self.index_prefix)
            .finish_non_exhaustive()
    }
}

/// A time as search engines read it.
pub(super) fn spoken_time(time: Duration) -> String {
    match time.subsec_nanos() {
        0 => format!("{}s", time.as_secs()),
        _ => format!("{}ms", time.as_millis()),
    }
}

/// An address without user and password.
pub(super) fn without_login(url: &str) -> String {
    match url::Url::parse(url) {
        Ok(mut url) => {
            // Refused only for addresses that can hold no login.
            let _ = url.set_username("");
            let _ = url.set_password(None);
            url.to_string().trim_end_matches('/').to_owned()
        }
        Err(_) => "(an address that cannot be read)".to_owned(),
    }
}
