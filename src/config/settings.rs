//! The settings of a run: what a configuration file says, checked, with defaults in place.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::Secret;
use crate::edges::OnLostSlot;
use crate::pipeline::{BatchPolicy, FailurePolicies};
use crate::wasm::{CompiledCache, Limits, RuntimeOptions};

/// Everything that `docmill run` needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The file they were read from.
    pub file: PathBuf,
    /// The sources by name.
    pub sources: BTreeMap<String, SourceSettings>,
    /// The sinks by name.
    pub sinks: BTreeMap<String, SinkSettings>,
    /// The pipelines, by name in order; each names a source and a sink that are there.
    pub pipelines: Vec<PipelineSettings>,
    /// The server.
    pub server: ServerSettings,
    /// What all builders have together.
    pub guests: GuestSettings,
}

/// `[sources.NAME]`
#[derive(Clone, Debug, PartialEq)]
pub struct SourceSettings {
    /// The capture role's connection.
    pub url: Secret,
    /// The replication slot.
    pub slot: String,
    /// The publication.
    pub publication: String,
    /// After that long without a transaction of ours a marker is written; `None` for never.
    pub heartbeat: Option<Duration>,
    /// How long connecting may take; `None` for the source's default.
    pub connect_timeout: Option<Duration>,
    /// How long one statement of a read may take.
    pub statement_timeout: Option<Duration>,
    /// Connections for reads at most, for each pipeline.
    pub read_connections: Option<usize>,
    /// Connections for reads at most, of all pipelines that share its slot.
    pub read_connections_total: Option<usize>,
    /// Whether sessions set `synchronous_commit = off` for themselves, which docmill cannot see.
    pub assume_async_commits: bool,
}

/// `[sinks.NAME]`
#[derive(Clone, Debug, PartialEq)]
pub enum SinkSettings {
    /// A search engine.
    Search(SearchSettings),
    /// Documents as lines in a file.
    Lines(PathBuf),
    /// Documents as lines on standard output.
    Stdout,
}

impl SinkSettings {
    /// Where documents go that are written under `name`: two sinks may lead to one search engine.
    pub fn place(&self, name: &str) -> String {
        match self {
            SinkSettings::Search(search) => search.url.expose().trim_end_matches('/').to_owned(),
            SinkSettings::Lines(_) | SinkSettings::Stdout => format!("sink {name}"),
        }
    }
}

/// A search engine.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchSettings {
    /// Which.
    pub engine: SearchEngine,
    /// Where: `http(s)://host:port`, perhaps with user and password.
    pub url: Secret,
    /// How docmill says who it is.
    pub login: Login,
    /// PEM certificates to trust besides the system's.
    pub ca_file: Option<PathBuf>,
    /// How long connecting may take; `None` for the sink's default, as below.
    pub connect_timeout: Option<Duration>,
    /// How long one request may take.
    pub request_timeout: Option<Duration>,
    /// How long the search engine may wait for a shard before it refuses a write.
    pub shard_timeout: Option<Duration>,
    /// Bytes of one bulk request, about, at most.
    pub bulk_bytes: Option<usize>,
    /// Documents of one bulk request at most.
    pub bulk_documents: Option<usize>,
    /// Bulk requests in flight at most.
    pub bulk_requests: Option<usize>,
}

/// Which search engine. Both are written to in the same way, and what answers is asked which it is: the word is for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchEngine {
    /// OpenSearch 2 or 3.
    OpenSearch,
    /// Elasticsearch 8 or 9.
    Elasticsearch,
}

/// How docmill says who it is to a search engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// Not, or as the URL says.
    Url,
    /// By name and password.
    Basic {
        /// The name.
        username: String,
        /// The password.
        password: Secret,
    },
    /// By an API key.
    ApiKey(Secret),
    /// By a bearer token.
    Token(Secret),
}

/// `[pipelines.NAME]`
#[derive(Clone, Debug, PartialEq)]
pub struct PipelineSettings {
    /// Its name.
    pub name: String,
    /// Its source.
    pub source: String,
    /// The replication slot it reads: its own, or the source's, which every pipeline shares that says nothing else.
    pub slot: String,
    /// Its sink.
    pub sink: String,
    /// The component.
    pub builder: PathBuf,
    /// What the builder is handed.
    pub config: serde_json::Value,
    /// What the builder may use.
    pub limits: Limits,
    /// The log-in role for its queries; `None` for the source's.
    pub reader_url: Option<Secret>,
    /// Whether that role is taken as it is, whatever it may do besides reading.
    pub reader_trusted: bool,
    /// Functions that its queries may call besides those that change nothing.
    pub allow_functions: Vec<String>,
    /// Settings of indexes that its builder may ask for besides those that every builder may.
    pub allow_settings: Vec<String>,
    /// Where tables without a schema are.
    pub schema: String,
    /// What its indexes' names begin with.
    pub index_prefix: String,
    /// What happens to rejected documents.
    pub on_rejected: FailurePolicies,
    /// When batches close.
    pub batch: BatchPolicy,
    /// Changes that wait in the queue at most.
    pub queue_capacity: Option<usize>,
    /// Bytes of changes that wait in the queue at most.
    pub queue_bytes: Option<usize>,
    /// Whether an empty index is taken as filled.
    pub skip_backfill: bool,
    /// What happens when changes since the checkpoint are lost.
    pub on_lost_slot: OnLostSlot,
    /// How long a request that nobody answered may still be applied by the sink.
    pub late_window: Option<Duration>,
    /// Whether it waits for an operator from the start.
    pub paused: bool,
    /// When it pauses by itself.
    pub failing: FailingSettings,
    /// Bytes of log that may be kept for it: when it is further behind it is parked, and when it can go on all its documents are
    /// assembled again. `None` for no limit where it has the slot for itself, and for 10 GiB where it shares it.
    pub max_lag: Option<u64>,
}

/// `failing = { … }` of a pipeline: when so many of its documents fail that it pauses; `None` for the flow's defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FailingSettings {
    /// Distinct documents at least.
    pub documents: Option<usize>,
    /// Of a hundred of them, more than that.
    pub percent: Option<usize>,
    /// How far that looks back.
    pub window: Option<Duration>,
}

impl Settings {
    /// Whether a pipeline would run in other settings as it does in these: `paused` is no part of that.
    pub fn runs_alike(&self, other: &Settings, pipeline: &str) -> bool {
        let parts = |settings: &Settings| {
            let found = settings.pipelines.iter().find(|known| known.name == pipeline)?;
            let (source, sink) = (settings.sources.get(&found.source), settings.sinks.get(&found.sink));
            Some((PipelineSettings { paused: false, ..found.clone() }, source.cloned(), sink.cloned()))
        };
        parts(self).is_some_and(|these| Some(these) == parts(other))
    }
}

/// Bytes of the server's token at least: a shorter one could be guessed.
pub const TOKEN_BYTES_MIN: usize = 16;

/// `[server]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSettings {
    /// Where it listens: `host:port`.
    pub listen: String,
    /// Names besides `listen` and loopback under which it may be asked.
    pub names: Vec<String>,
    /// What a call must show to change something; `None` for one that is made and kept in a file.
    pub token: Option<Secret>,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self { listen: "127.0.0.1:7878".to_owned(), names: Vec::new(), token: None }
    }
}

/// `[guests]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestSettings {
    /// Calls of builders under way at the same time, of all pipelines together.
    pub calls_at_once: usize,
    /// Where compiled builders are kept between starts; `None` for nowhere. By default in the user's directory for caches.
    pub compiled_cache: Option<PathBuf>,
    /// Bytes that they may take there.
    pub compiled_cache_bytes: u64,
}

impl Default for GuestSettings {
    fn default() -> Self {
        Self {
            calls_at_once: RuntimeOptions::default().calls_at_once,
            compiled_cache: None,
            compiled_cache_bytes: CompiledCache::BYTES_MAX,
        }
    }
}
