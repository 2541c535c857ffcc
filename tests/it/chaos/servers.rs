//! What happens to the servers on both sides of docmill.

use std::sync::Arc;
use std::time::{Duration, Instant};

use docmill::embedded::{EmbeddedPostgres, StopMode};

use tokio::sync::Mutex;

use super::lane::{Journal, Lane};
use super::setting::FREEZE_MS;
use crate::support::opensearch::Node;
use crate::support::postgres::{blocking, try_connect};

/// What happens to PostgreSQL.
#[derive(Debug, Clone, Copy)]
pub enum PostgresFault {
    RestartFast,
    RestartImmediate,
    Kill,
    EndWalSender,
    EndConnections,
    /// One backend, docmill's or a writer's, is stopped where it is, perhaps between its commit's record and its visibility.
    FreezeBackend,
}

impl PostgresFault {
    pub const ALL: [Self; 9] = [
        Self::RestartFast,
        Self::RestartImmediate,
        Self::Kill,
        Self::EndWalSender,
        Self::EndWalSender,
        Self::EndConnections,
        Self::EndConnections,
        Self::FreezeBackend,
        Self::FreezeBackend,
    ];
}

/// For a server to start again, whatever its last life left behind.
const START_MAX: Duration = Duration::from_secs(60);

const END_WAL_SENDER: &str =
    "select active_pid from pg_replication_slots where active and pg_terminate_backend(active_pid)";
const CONNECTIONS: &str = "select pid from pg_stat_activity
    where application_name = 'docmill' and backend_type = 'client backend' order by random()";
const BACKENDS: &str = "select pid from pg_stat_activity
    where backend_type in ('client backend', 'walsender') and pid <> pg_backend_pid() order by pid";

/// Faults of PostgreSQL until the lane is at its end; then it runs.
pub async fn fail_postgres(
    mut lane: Lane<PostgresFault>,
    server: Arc<EmbeddedPostgres>,
    journal: Arc<Journal>,
) -> Lane<PostgresFault> {
    while let Some(fault) = lane.next().await {
        let down = if lane.chance(70) { Duration::ZERO } else { lane.time(200..4_000) };
        let (one, frozen) = (lane.number(0..1_000), lane.time(200..3_000));
        match fault {
            PostgresFault::RestartFast => {
                let took = restart(&server, StopMode::Fast, down, &journal).await;
                journal.fault("PostgreSQL fast", &format!("down {down:?}, stopped after {took:?}"));
            }
            PostgresFault::RestartImmediate => {
                journal.fault("PostgreSQL immediate", &format!("down {down:?}"));
                restart(&server, StopMode::Immediate, down, &journal).await;
            }
            PostgresFault::Kill => {
                journal.fault("PostgreSQL kill -9", &format!("down {down:?}"));
                let killed = Arc::clone(&server);
                blocking(move || killed.kill()).await;
                tokio::time::sleep(down).await;
                resume(&server).await;
            }
            PostgresFault::EndWalSender => {
                let ended = ask(&server, END_WAL_SENDER).await.len();
                journal.fault("walsender terminated", &format!("({ended})"));
            }
            PostgresFault::EndConnections => {
                // All of them, or any one.
                let most = if one % 2 == 0 { 1_000 } else { 1 };
                let end = format!("select pid from ({CONNECTIONS} limit {most}) some where pg_terminate_backend(pid)");
                let ended = ask(&server, &end).await.len();
                journal.fault("connections terminated", &format!("({ended})"));
            }
            PostgresFault::FreezeBackend => {
                let backends = ask(&server, BACKENDS).await;
                let Some(pid) = backends.get(one as usize % backends.len().max(1)) else { continue };
                journal.fault("backend frozen", &format!("{pid} of {} for {frozen:?}", backends.len()));
                // SAFETY: kill takes numbers only; the process was a backend of ours a moment ago.
                unsafe { libc::kill(*pid, libc::SIGSTOP) };
                tokio::time::sleep(frozen).await;
                // SAFETY: as above; a process that ended meanwhile is not there to be reached.
                unsafe { libc::kill(*pid, libc::SIGCONT) };
            }
        }
    }
    lane
}

/// How long the stop took.
async fn restart(server: &Arc<EmbeddedPostgres>, mode: StopMode, down: Duration, journal: &Journal) -> Duration {
    let begin = Instant::now();
    let stopped = Arc::clone(server);
    if let Err(error) = blocking(move || stopped.stop(mode)).await {
        journal.note(&format!("PostgreSQL was held up: {error}"));
        let stopped = Arc::clone(server);
        blocking(move || stopped.stop(StopMode::Immediate)).await.expect("an immediate stop");
    }
    let took = begin.elapsed();
    tokio::time::sleep(down).await;
    resume(server).await;
    took
}

/// Starts it again. What is left of a killed server may take its time to go, and keeps a new one from starting.
async fn resume(server: &Arc<EmbeddedPostgres>) {
    let begin = Instant::now();
    loop {
        let resumed = Arc::clone(server);
        match blocking(move || resumed.resume()).await {
            Ok(()) => return,
            Err(error) if begin.elapsed() > START_MAX => panic!("PostgreSQL does not start again: {error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

/// The process ids that a query gives; none where the server does not answer.
async fn ask(server: &EmbeddedPostgres, query: &str) -> Vec<i32> {
    let Ok(client) = try_connect(&server.url()).await else { return Vec::new() };
    let rows = client.query(query, &[]).await;
    let rows = rows.unwrap_or_default();
    rows.iter().map(|row| row.try_get(0).unwrap_or_default()).collect()
}

/// What happens to OpenSearch.
#[derive(Debug, Clone, Copy)]
pub enum SearchFault {
    Kill,
    Stop,
    Freeze,
}

impl SearchFault {
    pub const ALL: [Self; 6] = [Self::Kill, Self::Stop, Self::Freeze, Self::Freeze, Self::Freeze, Self::Freeze];
}

/// Faults of OpenSearch until the lane is at its end; then it runs. A freeze is shorter than the late window.
pub async fn fail_search(
    mut lane: Lane<SearchFault>,
    node: Arc<Mutex<Node>>,
    journal: Arc<Journal>,
) -> Lane<SearchFault> {
    let mut node = node.lock().await;
    while let Some(fault) = lane.next().await {
        let down = if lane.chance(50) { Duration::ZERO } else { lane.time(200..6_000) };
        let frozen = lane.time(FREEZE_MS);
        match fault {
            SearchFault::Kill => {
                let begin = Instant::now();
                node.kill();
                tokio::time::sleep(down).await;
                node.resume().await;
                journal.fault("kill -9 OpenSearch", &format!("answered again after {:?}", begin.elapsed()));
            }
            SearchFault::Stop => {
                let begin = Instant::now();
                node.stop().await;
                tokio::time::sleep(down).await;
                node.resume().await;
                journal.fault("SIGTERM OpenSearch", &format!("answered again after {:?}", begin.elapsed()));
            }
            SearchFault::Freeze => {
                journal.fault("SIGSTOP OpenSearch", &format!("for {frozen:?}"));
                node.freeze();
                tokio::time::sleep(frozen).await;
                node.thaw();
            }
        }
    }
    lane
}
