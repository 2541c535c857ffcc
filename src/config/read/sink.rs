//! `[sinks.NAME]`: where documents go.

use std::time::Duration;

use crate::config::table::Table;
use crate::config::value::Entry;
use crate::config::{Login, SearchEngine, SearchSettings, Secret, SinkSettings};

const TIMEOUT_MIN: Duration = Duration::from_millis(1);
/// Less would not hold one ordinary document.
const BULK_BYTES_MIN: u64 = 1 << 10;

#[derive(Clone, Copy)]
enum Kind {
    Search(SearchEngine),
    Lines,
    Stdout,
}

const KINDS: [(&str, Kind); 4] = [
    ("opensearch", Kind::Search(SearchEngine::OpenSearch)),
    ("elasticsearch", Kind::Search(SearchEngine::Elasticsearch)),
    ("ndjson", Kind::Lines),
    ("stdout", Kind::Stdout),
];

pub(super) fn read(mut table: Table<'_, '_>) -> Option<SinkSettings> {
    let kinds = "one of opensearch, elasticsearch, ndjson, stdout";
    match table.require("type", kinds)?.word(&KINDS)? {
        Kind::Search(engine) => search(engine, table).map(SinkSettings::Search),
        Kind::Lines => {
            let path = table.require("path", "the path of a file").and_then(|entry| entry.path());
            table.finish();
            path.map(SinkSettings::Lines)
        }
        Kind::Stdout => {
            table.finish();
            Some(SinkSettings::Stdout)
        }
    }
}

fn search(engine: SearchEngine, mut table: Table<'_, '_>) -> Option<SearchSettings> {
    let url = table.require("url", "a URL such as \"http://localhost:9200\"").and_then(|entry| http_url(&entry));
    let login = login(&mut table);
    let ca_file = table.get("ca_file").and_then(|entry| entry.path());
    let connect_timeout = table.get("connect_timeout").and_then(|entry| entry.duration(TIMEOUT_MIN));
    let request_timeout = table.get("request_timeout").and_then(|entry| entry.duration(TIMEOUT_MIN));
    let shard_timeout = table.get("shard_timeout").and_then(|entry| entry.duration(TIMEOUT_MIN));
    let bulk = table.get("bulk").and_then(Entry::table);
    let (mut bulk_bytes, mut bulk_documents, mut bulk_requests) = (None, None, None);
    if let Some(mut bulk) = bulk {
        bulk_bytes = bulk.get("max_bytes").and_then(|entry| entry.size(BULK_BYTES_MIN));
        bulk_documents = bulk.get("max_documents").and_then(|entry| entry.count(1));
        bulk_requests = bulk.get("max_requests").and_then(|entry| entry.count(1));
        bulk.finish();
    }
    table.finish();
    Some(SearchSettings {
        engine,
        url: url?,
        login: login?,
        ca_file,
        connect_timeout,
        request_timeout,
        shard_timeout,
        bulk_bytes: bulk_bytes.map(|bytes| bytes as usize),
        bulk_documents: bulk_documents.map(|count| count as usize),
        bulk_requests: bulk_requests.map(|count| count as usize),
    })
}

/// A URL that may hold a password, so it is not quoted.
fn http_url(entry: &Entry<'_, '_>) -> Option<Secret> {
    let url = entry.secret()?;
    let parsed = url::Url::parse(url.expose());
    let problem = match &parsed {
        Ok(parsed) if !matches!(parsed.scheme(), "http" | "https") => {
            "expected a URL that begins with http:// or https://"
        }
        Ok(parsed) if parsed.host_str().is_none_or(str::is_empty) => "expected a URL with a host",
        Ok(parsed) if parsed.query().is_some() || parsed.fragment().is_some() => {
            "expected a URL without a query; what docmill asks for is added to its path"
        }
        Ok(_) => return Some(url),
        Err(_) => "expected a URL such as \"http://localhost:9200\", found a text that is none",
    };
    entry.problem(problem);
    None
}

/// At most one way to say who docmill is.
fn login(table: &mut Table<'_, '_>) -> Option<Login> {
    let username = table.get("username");
    let password = table.get("password");
    let key = table.get("api_key");
    let token = table.get("token");
    let ways = [username.is_some() || password.is_some(), key.is_some(), token.is_some()];
    if ways.into_iter().filter(|given| *given).count() > 1 {
        table.problem("expected one of username and password, api_key, token; found several");
        return None;
    }
    if let Some(key) = key {
        return key.secret().map(Login::ApiKey);
    }
    if let Some(token) = token {
        return token.secret().map(Login::Token);
    }
    match (username, password) {
        (None, None) => Some(Login::Url),
        (Some(username), Some(password)) => {
            let (username, password) = (username.text(), password.secret());
            Some(Login::Basic { username: username?, password: password? })
        }
        (Some(_), None) => {
            table.problem("expected a key `password` beside `username`, found none");
            None
        }
        (None, Some(_)) => {
            table.problem("expected a key `username` beside `password`, found none");
            None
        }
    }
}
