//! The replication slot: made after the publication, never silently made again.

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::error::failed;
use super::problem::Problem;
use super::{lost_slot, quiet_point};
use crate::edges::{Failure, Observer, SlotReport};
use crate::model::Position;

/// A slot as the server has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SlotFacts {
    plugin: Option<String>,
    database: Option<String>,
    pub active_pid: Option<i32>,
    /// How far it was confirmed; `None` while it is being made, or once it lost its changes.
    pub confirmed: Option<Position>,
    /// Why the server gave it up, if it did.
    pub lost: Option<String>,
    temporary: bool,
    pub wal_status: Option<String>,
    /// Bytes of log that it keeps.
    pub retained: Option<i64>,
    /// Bytes that may still be written before the server gives it up; `None` without such a limit.
    pub safe: Option<i64>,
    /// Whether standbys keep a copy of it; `None` before 17, which has no such thing.
    pub failover: Option<bool>,
}

impl SlotFacts {
    /// What others are told of it.
    pub fn report(self) -> SlotReport {
        SlotReport {
            retained_bytes: self.retained.and_then(|bytes| u64::try_from(bytes).ok()),
            safe_bytes: self.safe,
            status: self.wal_status.unwrap_or_default(),
            lost: self.lost,
        }
    }
}

/// Reads it; `None` when there is none of that name.
pub(super) async fn facts(client: &Client, name: &str) -> Result<Option<SlotFacts>, Failure> {
    // As JSON what not every version has.
    let sql = "select s.plugin::text, s.database::text, s.active_pid, s.confirmed_flush_lsn::text, s.wal_status, \
                 s.temporary, coalesce(to_jsonb(s) ->> 'invalidation_reason', \
                   case when s.wal_status = 'lost' then 'its log was removed' end), \
                 pg_wal_lsn_diff(case when pg_is_in_recovery() then pg_last_wal_replay_lsn() \
                                 else pg_current_wal_lsn() end, s.restart_lsn)::int8, \
                 s.safe_wal_size, (to_jsonb(s) ->> 'failover')::boolean \
               from pg_replication_slots s where s.slot_name = $1";
    let row = client
        .query_opt(sql, &[&name])
        .await
        .map_err(|error| failed(format!("read slot {name} in the catalog"), error))?;
    Ok(row.map(|row| SlotFacts {
        plugin: row.get(0),
        database: row.get(1),
        active_pid: row.get(2),
        confirmed: row.get::<_, Option<&str>>(3).and_then(|text| text.parse().ok()),
        wal_status: row.get(4),
        temporary: row.get(5),
        lost: row.get(6),
        retained: row.get(7),
        safe: row.get(8),
        failover: row.get(9),
    }))
}

/// Why an existing slot is not one that this pipeline may use, or drop.
pub(super) fn problems(name: &str, facts: &SlotFacts, database: &str) -> Vec<Problem> {
    let subject = format!("slot {name}");
    let other = "choose another slot name for this pipeline";
    match facts.plugin.as_deref() {
        Some("pgoutput") if !facts.temporary => {}
        Some(plugin) => {
            let found = format!("it is not ours: a slot of plugin {plugin}");
            return vec![Problem::new(subject, found).with_remedy(other)];
        }
        None => return vec![Problem::new(subject, "it is not ours: a physical slot").with_remedy(other)],
    }
    if facts.database.as_deref() != Some(database) {
        let found = format!("it belongs to database {}", facts.database.as_deref().unwrap_or("?"));
        return vec![Problem::new(subject, found).with_remedy(other)];
    }
    Vec::new()
}

/// Whether a name can be a slot's.
pub(super) fn check_name(name: &str) -> Result<(), Failure> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    match (1..=63).contains(&name.len()) && name.bytes().all(fits) {
        true => Ok(()),
        false => Err(Failure::fatal(format!(
            "failed to use {name:?} as the name of a slot: it must be 1 to 63 lower-case letters, digits and underscores"
        ))),
    }
}

/// The first version whose standbys keep copies of logical slots.
const FAILOVER_VERSION: i32 = 170_000;

/// Makes the slot, on 17 and newer so that it outlives a fail-over. Waits for every transaction that has written something to
/// end, and says so; `watcher` is another connection, to look at them.
pub(super) async fn create(
    client: &Client,
    watcher: &Client,
    name: &str,
    version: i32,
    observer: &dyn Observer,
) -> Result<(), Failure> {
    let sql = match version >= FAILOVER_VERSION {
        true => "select lsn::text from pg_create_logical_replication_slot($1, 'pgoutput', false, false, true)",
        false => "select lsn::text from pg_create_logical_replication_slot($1, 'pgoutput')",
    };
    let making = async {
        // The limit on locks counts the waits for those transactions too, and a slot that gives up begins from nothing.
        client.batch_execute("set lock_timeout = 0").await?;
        let made = client.query_one(sql, &[&name]).await;
        client.batch_execute("reset lock_timeout").await?;
        made
    };
    let row = quiet_point::reporting(watcher, "a new slot", observer, making).await.map_err(|error| {
        match error.code() {
            // Two processes began at once.
            Some(&SqlState::DUPLICATE_OBJECT) => lost_slot::in_use(name, None),
            _ => failed(format!("create slot {name}"), error),
        }
    })?;
    let position: String = row.get(0);
    tracing::info!(slot = name, position, "the slot was created");
    Ok(())
}
