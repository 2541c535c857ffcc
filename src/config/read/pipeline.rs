//! `[pipelines.NAME]`: a source, a builder with its configuration and limits, a sink.

use std::collections::{BTreeMap, BTreeSet};

use super::slots::{Spot, Wish, check_slot};
use super::source::identifier;
use super::{Names, limits};
use crate::config::table::{Table, closest};
use crate::config::value::Entry;
use crate::config::{FailingSettings, PipelineSettings};
use crate::edges::OnLostSlot;
use crate::pipeline::{BatchPolicy, FailurePolicies, OnRejected};
use crate::{opensearch, postgres};

const BYTES_MIN: u64 = 1 << 10;
const LATE_WINDOW_MIN: std::time::Duration = std::time::Duration::from_millis(1);
/// They are remembered one by one.
const FAILING_DOCUMENTS_MOST: u64 = 10_000;
const FAILING_WINDOW_MIN: std::time::Duration = std::time::Duration::from_secs(1);
const INDEX_PREFIX_BYTES_MAX: usize = 100;

const ON_REJECTED: [(&str, OnRejected); 3] =
    [("stop", OnRejected::Stop), ("skip", OnRejected::Skip), ("quarantine", OnRejected::Quarantine)];
const ON_LOST_SLOT: [(&str, OnLostSlot); 2] = [("rebuild", OnLostSlot::Rebuild), ("refuse", OnLostSlot::Refuse)];

/// The pipeline, its slot still to be assigned, and what it says about that; each only where it is known.
pub(super) fn read(name: &str, mut table: Table<'_, '_>, names: &Names) -> (Option<PipelineSettings>, Option<Spot>) {
    let source = reference(&mut table, "source", "sources", &names.sources);
    let sink = reference(&mut table, "sink", "sinks", &names.sinks);
    let builder = table
        .require("builder", "the path of a component, such as \"builders/shop.wasm\"")
        .and_then(|entry| entry.path());
    let wish = match table.get("slot") {
        None => Some(Wish::Shared),
        Some(entry) if entry.value.get_ref().as_str() == Some("own") => Some(Wish::Own),
        Some(entry) => check_slot(&entry).map(Wish::Named),
    };
    let config = match table.get("config") {
        None => Some(serde_json::json!({})),
        Some(entry) => entry.clone().table().and_then(|_| entry.json()),
    };
    let limits = table.get("limits").and_then(Entry::table).map(limits::read).unwrap_or_default();
    let reader = table.get("reader").and_then(Entry::table).and_then(|mut reader| {
        let url = reader.require("url", "the PostgreSQL URL of a log-in role").and_then(|entry| entry.secret());
        let trusted = reader.get("trusted").and_then(|entry| entry.boolean()).unwrap_or(false);
        reader.finish();
        Some((url?, trusted))
    });
    let (reader_url, reader_trusted) = reader.map_or((None, false), |(url, trusted)| (Some(url), trusted));
    let allow_functions = table.get("allow_functions").map(allow_functions).unwrap_or_default();
    let allow_settings = table.get("allow_settings").map(allow_settings).unwrap_or_default();
    let schema = match table.get("schema") {
        None => Some("public".to_owned()),
        Some(entry) => identifier(&entry),
    };
    let index_prefix = match table.get("index_prefix") {
        None => Some(String::new()),
        Some(entry) => index_prefix(&entry),
    };
    let on_rejected = table.get("on_rejected").map_or_else(on_rejected_default, on_rejected);
    let batch = table.get("batch").and_then(Entry::table).map_or_else(BatchPolicy::default, batch);
    let queue_capacity = table.get("queue_capacity").and_then(|entry| entry.count(1));
    let queue_bytes = table.get("queue_bytes").and_then(|entry| entry.size(BYTES_MIN));
    let skip_backfill = table.get("skip_backfill").and_then(|entry| entry.boolean());
    let on_lost_slot = table.get("on_lost_slot").and_then(|entry| entry.word(&ON_LOST_SLOT)).unwrap_or_default();
    let late_window = table.get("late_window").and_then(|entry| entry.duration(LATE_WINDOW_MIN));
    let max_lag = table.get("max_lag").and_then(|entry| entry.size(1 << 20));
    let paused = table.get("paused").and_then(|entry| entry.boolean()).unwrap_or(false);
    let failing = table.get("failing").map(failing).unwrap_or_default();

    let (at, key) = (table.at.clone(), table.key.clone());
    table.finish();
    let spot = source.clone().zip(wish).map(|(source, wish)| Spot { pipeline: name.to_owned(), source, wish, at, key });
    let pipeline = || {
        Some(PipelineSettings {
            name: name.to_owned(),
            source: source?,
            slot: String::new(),
            sink: sink?,
            builder: builder?,
            config: config?,
            limits,
            reader_url,
            reader_trusted,
            allow_functions,
            allow_settings,
            schema: schema?,
            index_prefix: index_prefix?,
            on_rejected,
            batch,
            queue_capacity: queue_capacity.map(|count| count as usize),
            queue_bytes: queue_bytes.map(|bytes| bytes as usize),
            skip_backfill: skip_backfill.unwrap_or(false),
            on_lost_slot,
            late_window,
            paused,
            failing,
            max_lag,
        })
    };
    (pipeline(), spot)
}

/// A source or a sink by name; may be left out when there is one.
fn reference(table: &mut Table<'_, '_>, key: &'static str, of: &str, names: &BTreeSet<String>) -> Option<String> {
    let listed = names.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let Some(entry) = table.get(key) else {
        return match names.len() {
            // That there is none is said once, for the document.
            0 => None,
            1 => names.first().cloned(),
            _ => {
                table.problem(format!(
                    "expected a key `{key}` with one of {listed}, since there are several; found none"
                ));
                None
            }
        };
    };
    let name = entry.text()?;
    if names.contains(&name) {
        return Some(name);
    }
    match closest(&name, names.iter().map(String::as_str)) {
        Some(like) => entry.problem(format!("there is no [{of}.{name}]; did you mean \"{like}\"?")),
        None if names.is_empty() => entry.problem(format!("there is no [{of}.{name}]")),
        None => entry.problem(format!("there is no [{of}.{name}]; known: {listed}")),
    }
    None
}

/// Functions of the database; with some of them no other rule of a query would hold.
fn allow_functions(entry: Entry<'_, '_>) -> Vec<String> {
    let names = entry.texts().unwrap_or_default();
    for name in names.iter().filter(|name| postgres::is_never_allowed(name)) {
        entry.problem(format!("with {name} no other rule of a query would hold, and no query may call it"));
    }
    names
}

/// Settings of indexes; those that reach beyond an index are nobody's to allow.
fn allow_settings(entry: Entry<'_, '_>) -> Vec<String> {
    let names = entry.texts().unwrap_or_default();
    for name in names.iter().filter(|name| opensearch::is_never_allowed(name)) {
        entry.problem(format!("{name} reaches beyond an index, and no builder may ask for it"));
    }
    names
}

/// Search engines refuse other letters in an index's name.
fn index_prefix(entry: &Entry<'_, '_>) -> Option<String> {
    let prefix = entry.text()?;
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    let well_begun = prefix.bytes().next().is_none_or(|first| first.is_ascii_lowercase() || first.is_ascii_digit());
    if prefix.len() > INDEX_PREFIX_BYTES_MAX || !well_begun || !prefix.bytes().all(letter) {
        entry.wrong("lower-case letters, digits, `-`, `_` and `.`, beginning with a letter or digit, at most 100");
        return None;
    }
    Some(prefix)
}

/// The command parks what is refused and goes on, where the library stops: one bad document must not hold up the rest while
/// nobody looks.
fn on_rejected_default() -> FailurePolicies {
    FailurePolicies::all(OnRejected::Quarantine)
}

/// One word for every index, or a table by index with `default` for the others.
fn on_rejected(entry: Entry<'_, '_>) -> FailurePolicies {
    if !entry.value.get_ref().is_table() {
        return entry.word(&ON_REJECTED).map_or_else(on_rejected_default, FailurePolicies::all);
    }
    let mut policies = on_rejected_default();
    let mut indexes = BTreeMap::new();
    for (index, entry) in entry.table().map(|table| table.entries()).unwrap_or_default() {
        match entry.word(&ON_REJECTED) {
            Some(policy) if index == "default" => policies.default = policy,
            Some(policy) => drop(indexes.insert(index, policy)),
            None => {}
        }
    }
    policies.indexes = indexes;
    policies
}

/// When it pauses by itself: `"off"` for never.
fn failing(entry: Entry<'_, '_>) -> FailingSettings {
    if entry.value.get_ref().as_str() == Some("off") {
        return FailingSettings { documents: Some(usize::MAX), ..FailingSettings::default() };
    }
    let Some(mut table) = entry.table() else { return FailingSettings::default() };
    let documents = table.get("documents").and_then(|entry| {
        let documents = entry.count(1)?;
        if documents > FAILING_DOCUMENTS_MOST {
            entry.wrong("a number from 1 to 10000");
            return None;
        }
        Some(documents as usize)
    });
    let percent = table.get("percent").and_then(|entry| {
        let percent = entry.count(0)?;
        if percent > 99 {
            entry.wrong("a number from 0 to 99");
            return None;
        }
        Some(percent as usize)
    });
    let window = table.get("window").and_then(|entry| entry.duration(FAILING_WINDOW_MIN));
    table.finish();
    FailingSettings { documents, percent, window }
}

fn batch(mut table: Table<'_, '_>) -> BatchPolicy {
    let defaults = BatchPolicy::default();
    let max_changes = table.get("max_changes").and_then(|entry| entry.count(1));
    let max_bytes = table.get("max_bytes").and_then(|entry| entry.size(BYTES_MIN));
    let max_delay = table.get("max_delay").and_then(|entry| {
        let delay = entry.duration(std::time::Duration::ZERO)?;
        if delay > BatchPolicy::MAX_DELAY_LONGEST {
            entry.wrong("at most \"1m\"");
            return None;
        }
        Some(delay)
    });
    table.finish();
    BatchPolicy {
        max_changes: max_changes.map_or(defaults.max_changes, |count| count as usize),
        max_bytes: max_bytes.map_or(defaults.max_bytes, |bytes| bytes as usize),
        max_delay: max_delay.unwrap_or(defaults.max_delay),
    }
}
