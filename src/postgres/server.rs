//! The server: which one it is, and whether capture can work on it at all.

use tokio_postgres::Client;

use super::error::failed;
use super::problem::Problem;
use crate::edges::Failure;

/// Older ones lack what the publication and the fence need.
pub(super) const VERSION_MIN: i32 = 140_000;

/// A marker must not wait for a standby: the stream gets it without.
pub(super) const OWN_COMMITS: &str = "set synchronous_commit = local";

/// Which server, and which line of its past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServerIdentity {
    pub system_identifier: String,
    pub timeline: u32,
}

/// Asks which server this is. Any role may.
pub(super) async fn identity(client: &Client) -> Result<ServerIdentity, Failure> {
    // The control file knows the timeline of the last checkpoint only, which lags for a moment after a promotion.
    let sql = "select s.system_identifier::text, \
                 case when pg_is_in_recovery() then lpad(to_hex(c.timeline_id), 8, '0') \
                      else substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) end \
               from pg_control_system() s, pg_control_checkpoint() c";
    let tried = "ask the server for its system identifier and timeline";
    let row = client.query_one(sql, &[]).await.map_err(|error| failed(tried, error))?;
    let timeline: String = row.get(1);
    Ok(ServerIdentity {
        system_identifier: row.get(0),
        timeline: u32::from_str_radix(&timeline, 16).map_err(|error| {
            Failure::fatal(format!("failed to {tried}: the timeline is no number")).with_source(error)
        })?,
    })
}

/// What capture needs to know about the server and its own role.
#[derive(Clone, Debug)]
pub(super) struct ServerFacts {
    /// `server_version_num`
    pub version: i32,
    wal_level: String,
    pub standby: bool,
    may_replicate: bool,
    role: String,
    pub database: String,
}

/// Reads them.
pub(super) async fn facts(client: &Client) -> Result<ServerFacts, Failure> {
    // Managed services grant replication through a role of theirs rather than through the attribute.
    let sql = "select current_setting('server_version_num')::int, current_setting('wal_level'), pg_is_in_recovery(), \
                 (select r.rolsuper or r.rolreplication from pg_roles r where r.rolname = current_user) \
                   or exists (select from pg_roles r where r.rolname = 'rds_replication' \
                              and pg_has_role(current_user, r.oid, 'member')), \
                 current_user::text, current_database()::text";
    let row = client.query_one(sql, &[]).await.map_err(|error| failed("ask the server for its settings", error))?;
    Ok(ServerFacts {
        version: row.get(0),
        wal_level: row.get(1),
        standby: row.get(2),
        may_replicate: row.get(3),
        role: row.get(4),
        database: row.get(5),
    })
}

impl ServerFacts {
    /// Everything about the server that keeps capture from working.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.version < VERSION_MIN {
            let found = format!("version {} is older than 14", self.version / 10_000);
            problems.push(Problem::new("server", found));
        }
        if self.standby {
            let found = "it is a standby, and capture needs the primary";
            problems.push(Problem::new("server", found).with_remedy("let the source's url name the primary"));
        }
        if self.wal_level != "logical" {
            problems.push(
                Problem::new("server", format!("wal_level is {}, not logical", self.wal_level))
                    .with_remedy("alter system set wal_level = 'logical'; -- then restart the server"),
            );
        }
        if !self.may_replicate {
            let role = super::quote::identifier(&self.role);
            problems.push(
                Problem::new(format!("role {}", self.role), "it may not replicate")
                    .with_remedy(format!("alter role {role} replication;")),
            );
        }
        problems
    }
}

/// What a crash of the server leaves to see, and whether it may have taken commits with it that others saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CrashFacts {
    /// Another one after every crash recovery, the same after a clean restart.
    pub sign: Option<String>,
    /// Whether some commits are asynchronous.
    pub loses_commits: bool,
}

/// Reads them on a control connection.
pub(super) async fn crash_facts(client: &Client) -> Result<CrashFacts, Failure> {
    // Crash recovery throws all statistics away, so both times become the time of recovery (seen on 14 to 18); whoever
    // resets one of them by hand does not move the older of the two.
    // A value that was set for our own role or connection hides the server's, which then may be anything.
    let sql = "select (select extract(epoch from least(w.stats_reset, b.stats_reset))::text \
                       from pg_stat_wal w, pg_stat_bgwriter b), \
                 coalesce((select s.reset_val = 'off' or s.source in ('user', 'database user', 'client') \
                           from pg_settings s where s.name = 'synchronous_commit'), true) \
                 or exists (select from pg_db_role_setting r cross join unnest(r.setconfig) c \
                            where lower(split_part(c, '=', 1)) = 'synchronous_commit' \
                              and lower(split_part(c, '=', 2)) in ('off', 'false', 'no', '0') \
                              and r.setdatabase in (0, (select oid from pg_database where datname = current_database())))";
    let tried = "ask the server for signs of a crash";
    let asking = async {
        // What a connection sets for itself hides where its value came from.
        client.batch_execute("reset synchronous_commit").await?;
        let row = client.query_one(sql, &[]).await?;
        client.batch_execute(OWN_COMMITS).await?;
        Ok(row)
    };
    let row = asking.await.map_err(|error| failed(tried, error))?;
    Ok(CrashFacts { sign: row.get(0), loses_commits: row.get(1) })
}
