//! The server: which one it is, and whether capture can work on it at all.

use tokio_postgres::Client;

use super::error::failed;
use super::problem::Problem;
use crate::edges::Failure;

/// Older ones lack what the publication and the fence need.
pub(super) const VERSION_MIN: i32 = 140_000;

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
    standby: bool,
    may_replicate: bool,
    role: String,
    pub database: String,
    /// When the server's counters were last put back: by its recovery from a crash, among others.
    pub crash_sign: Option<String>,
}

/// Reads them.
pub(super) async fn facts(client: &Client) -> Result<ServerFacts, Failure> {
    // Managed services grant replication through a role of theirs rather than through the attribute.
    let sql = "select current_setting('server_version_num')::int, current_setting('wal_level'), pg_is_in_recovery(), \
                 (select r.rolsuper or r.rolreplication from pg_roles r where r.rolname = current_user) \
                   or exists (select from pg_roles r where r.rolname = 'rds_replication' \
                              and pg_has_role(current_user, r.oid, 'member')), \
                 current_user::text, current_database()::text, \
                 (select stats_reset::text from RESET_VIEW)";
    let version = "select current_setting('server_version_num')::int";
    let tried = "ask the server for its settings";
    let version: i32 = client.query_one(version, &[]).await.map_err(|error| failed(tried, error))?.get(0);
    let sql = sql.replace("RESET_VIEW", if version >= 140_000 { "pg_stat_wal" } else { "pg_stat_bgwriter" });
    let row = client.query_one(&sql, &[]).await.map_err(|error| failed(tried, error))?;
    Ok(ServerFacts {
        version: row.get(0),
        wal_level: row.get(1),
        standby: row.get(2),
        may_replicate: row.get(3),
        role: row.get(4),
        database: row.get(5),
        crash_sign: row.get(6),
    })
}

/// Whether a crash may lose commits that were seen before it: asynchronous commit for the server, the database or any role.
/// Asked on the reader's connection, since capture's sets its own.
pub(super) async fn loses_commits(reader: &Client) -> Result<bool, Failure> {
    let sql = "select current_setting('synchronous_commit') = 'off' \
                 or exists (select from pg_db_role_setting s, unnest(s.setconfig) c \
                   where lower(c) in ('synchronous_commit=off', 'synchronous_commit=false', 'synchronous_commit=no', \
                       'synchronous_commit=0') \
                     and s.setdatabase in (0, (select oid from pg_database where datname = current_database())))";
    let tried = "ask the server whether it commits asynchronously";
    Ok(reader.query_one(sql, &[]).await.map_err(|error| failed(tried, error))?.get(0))
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
