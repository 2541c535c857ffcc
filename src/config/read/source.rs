//! `[sources.NAME]`: a PostgreSQL database and what docmill has there.

use std::time::Duration;

use super::slots::check_slot;
use crate::config::SourceSettings;
use crate::config::table::Table;
use crate::config::value::Entry;

const SLOT: &str = "docmill";
const PUBLICATION: &str = "docmill";
const HEARTBEAT: Duration = Duration::from_secs(30);
const HEARTBEAT_MIN: Duration = Duration::from_millis(100);
const TIMEOUT_MIN: Duration = Duration::from_millis(1);

pub(super) fn read(mut table: Table<'_, '_>) -> Option<SourceSettings> {
    let url = table.require("url", "a PostgreSQL URL, such as \"${DATABASE_URL}\"");
    let slot = match table.get("slot") {
        Some(entry) => check_slot(&entry),
        None => Some(SLOT.to_owned()),
    };
    let publication = match table.get("publication") {
        Some(entry) => identifier(&entry),
        None => Some(PUBLICATION.to_owned()),
    };
    let heartbeat = match table.get("heartbeat") {
        Some(entry) if entry.value.get_ref().as_str() == Some("off") => Some(None),
        Some(entry) => entry.duration(HEARTBEAT_MIN).map(Some),
        None => Some(Some(HEARTBEAT)),
    };
    let connect_timeout = table.get("connect_timeout").and_then(|entry| entry.duration(TIMEOUT_MIN));
    let statement_timeout = table.get("statement_timeout").and_then(|entry| entry.duration(TIMEOUT_MIN));
    let read_connections = table.get("read_connections").and_then(|entry| entry.count(3));
    let read_connections_total = table.get("read_connections_total").and_then(|entry| entry.count(3));
    let assume_async_commits = table.get("assume_async_commits").and_then(|entry| entry.boolean());
    table.finish();
    Some(SourceSettings {
        url: url?.secret()?,
        slot: slot?,
        publication: publication?,
        heartbeat: heartbeat?,
        connect_timeout,
        statement_timeout,
        read_connections: read_connections.map(|count| count as usize),
        read_connections_total: read_connections_total.map(|count| count as usize),
        assume_async_commits: assume_async_commits.unwrap_or(false),
    })
}

/// A name as PostgreSQL's catalog has it.
pub(super) fn identifier(entry: &Entry<'_, '_>) -> Option<String> {
    let name = entry.text()?;
    if name.is_empty() || name.len() > 63 || name.contains('\0') {
        entry.wrong("a name of 1 to 63 bytes");
        return None;
    }
    Some(name)
}
