//! Settings as the options of the edges: what is not set is the edge's own default.

use super::{Login, PipelineSettings, SearchSettings, Settings};
use crate::opensearch::{Auth, OpenSearchOptions};
use crate::pipeline::FlowLimits;
use crate::postgres::PostgresOptions;

impl Settings {
    /// How a pipeline of these settings reads its source.
    pub fn postgres_options(&self, pipeline: &PipelineSettings) -> PostgresOptions {
        let mut options = PostgresOptions {
            reader_url: pipeline.reader_url.as_ref().map(|url| url.expose().to_owned()),
            reader_trusted: pipeline.reader_trusted,
            allow_functions: pipeline.allow_functions.clone(),
            slot: pipeline.slot.clone(),
            schema: pipeline.schema.clone(),
            rows_per_call_max: pipeline.limits.rows,
            bytes_per_call_max: pipeline.limits.bytes_to_guest,
            ..PostgresOptions::default()
        };
        // A pipeline without its source does not come out of reading a file; without a URL it says so when it connects.
        let Some(source) = self.sources.get(&pipeline.source) else { return options };
        options.url = source.url.expose().to_owned();
        options.publication.clone_from(&source.publication);
        options.heartbeat = source.heartbeat;
        options.assume_async_commits = source.assume_async_commits;
        options.connect_timeout = source.connect_timeout.unwrap_or(options.connect_timeout);
        options.statement_timeout = source.statement_timeout.unwrap_or(options.statement_timeout);
        options.read_connections_max = source.read_connections.unwrap_or(options.read_connections_max);
        options.read_connections_total = source.read_connections_total.unwrap_or(options.read_connections_total);
        options
    }

    /// The limits of its flow.
    pub fn flow_limits(&self, pipeline: &PipelineSettings) -> FlowLimits {
        let mut limits = FlowLimits::default();
        limits.queue_events_max = pipeline.queue_capacity.unwrap_or(limits.queue_events_max);
        limits.queue_bytes_max = pipeline.queue_bytes.unwrap_or(limits.queue_bytes_max);
        limits.late_window = pipeline.late_window.unwrap_or(limits.late_window);
        limits.failing_documents_min = pipeline.failing.documents.unwrap_or(limits.failing_documents_min);
        limits.failing_percent = pipeline.failing.percent.unwrap_or(limits.failing_percent);
        limits.failing_window = pipeline.failing.window.unwrap_or(limits.failing_window);
        // At least half of the connections are for live changes.
        let connections = self.postgres_options(pipeline).read_connections_max;
        limits.pass_workers = limits.pass_workers.min(connections / 2).max(1);
        limits
    }
}

impl SearchSettings {
    /// How the search engine is written to by a pipeline.
    pub fn options_for(&self, pipeline: &PipelineSettings) -> OpenSearchOptions {
        OpenSearchOptions { allow_settings: pipeline.allow_settings.clone(), ..self.options(&pipeline.index_prefix) }
    }

    /// How the search engine is written to under a prefix of index names.
    pub fn options(&self, index_prefix: &str) -> OpenSearchOptions {
        let mut options = OpenSearchOptions {
            url: self.url.expose().to_owned(),
            auth: match &self.login {
                Login::Url => Auth::None,
                Login::Basic { username, password } => {
                    Auth::Basic { user: username.clone(), password: password.expose().to_owned() }
                }
                Login::ApiKey(key) => Auth::ApiKey(key.expose().to_owned()),
                Login::Token(token) => Auth::Bearer(token.expose().to_owned()),
            },
            ca_pem: self.ca_file.clone(),
            index_prefix: index_prefix.to_owned(),
            ..OpenSearchOptions::default()
        };
        options.connect_timeout = self.connect_timeout.unwrap_or(options.connect_timeout);
        options.request_timeout = self.request_timeout.unwrap_or(options.request_timeout);
        options.shard_timeout = self.shard_timeout.unwrap_or(options.shard_timeout);
        options.bulk_bytes_max = self.bulk_bytes.unwrap_or(options.bulk_bytes_max);
        options.bulk_writes_max = self.bulk_documents.unwrap_or(options.bulk_writes_max);
        options.bulk_in_flight_max = self.bulk_requests.unwrap_or(options.bulk_in_flight_max);
        options.bulk_in_flight = options.bulk_in_flight.min(options.bulk_in_flight_max);
        options
    }
}
