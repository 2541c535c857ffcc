//! The visibility fence: a transaction is handed out only when a fresh snapshot of the server that is read shows it.
//!
//! Logical decoding can deliver a commit before other snapshots see it: its record is flushed and sent, and only then does
//! the backend leave the list of running transactions (with synchronous replication, when the standby has answered). Whoever
//! reads rows in between reads the state before the change it was just told about, and nothing corrects that.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_postgres::{Client, Statement};

use super::connect::Connection;
use super::error::failed;
use super::fence_snapshot::FenceSnapshot;
use super::options::PostgresOptions;
use crate::edges::{self, Failure, Observer};
use crate::fail_points::{self, Rule};
use crate::model::Position;

const LOOK: &str = "select pg_current_snapshot()::text, \
                      case when pg_is_in_recovery() then pg_last_wal_replay_lsn()::text end";

/// Asks the server that is read. The future of [`pass`](Self::pass) may be dropped and made again at any time.
pub(super) struct Fence {
    connection: Connection,
    look: Statement,
    observer: Arc<dyn Observer>,
    seen: Option<Seen>,
    poll_min: Duration,
    poll_max: Duration,
    /// After that long, and then each time again, the log says whom a transaction waits for.
    report_every: Duration,
    /// When the transaction at the fence came there, if it needed a look.
    since: Option<Instant>,
    waiting: Option<Waiting>,
}

/// What the last look saw.
#[derive(Debug)]
struct Seen {
    snapshot: FenceSnapshot,
    /// How far a standby has replayed; `None` on a primary.
    replayed: Option<Position>,
}

#[derive(Debug)]
struct Waiting {
    reported: Option<Instant>,
    pause: Duration,
    look_at: Instant,
}

impl Fence {
    /// `connection` must be one of its own, to the server that is read, in autocommit.
    pub async fn new(
        connection: Connection,
        options: &PostgresOptions,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, Failure> {
        let look = connection
            .client
            .prepare(LOOK)
            .await
            .map_err(|error| failed("prepare the statement that asks which transactions are visible", error))?;
        Ok(Self {
            connection,
            look,
            observer,
            seen: None,
            poll_min: options.visibility_poll_min,
            poll_max: options.visibility_poll_max,
            report_every: options.visibility_report_every,
            since: None,
            waiting: None,
        })
    }

    /// Returns once every snapshot taken from now on shows the transaction with these low bits of its id, whose commit
    /// record begins at `commit`. A transaction that the last look saw needs no new one.
    pub async fn pass(&mut self, xid: u32, commit: Position) -> Result<(), Failure> {
        if fail_points::off(Rule::Fence) {
            return Ok(());
        }
        while !self.shown(xid, commit) {
            if let Some(waiting) = &self.waiting {
                tokio::time::sleep_until(waiting.look_at.into()).await;
            }
            let since = *self.since.get_or_insert_with(Instant::now);
            self.look().await?;
            if self.shown(xid, commit) {
                break;
            }
            let now = Instant::now();
            let pause = self.poll_min;
            let waiting = self.waiting.get_or_insert(Waiting { reported: None, pause, look_at: now });
            waiting.look_at = now + waiting.pause;
            waiting.pause = (waiting.pause * 2).min(self.poll_max);
            if waiting.reported.unwrap_or(since).elapsed() >= self.report_every {
                waiting.reported = Some(now);
                self.observer.on_waiting(Some(edges::Waiting::Visibility));
                report(&self.connection.client, since.elapsed().as_secs(), xid, commit).await;
            }
        }
        let waited = self.since.take().map_or(Duration::ZERO, |since| since.elapsed());
        self.observer.on_fence(waited);
        if self.waiting.take().is_some_and(|waiting| waiting.reported.is_some()) {
            self.observer.on_waiting(None);
        }
        Ok(())
    }

    /// Whether a look made now shows it, without waiting until one does.
    pub async fn shows(&mut self, xid: u32, commit: Position) -> Result<bool, Failure> {
        if !self.shown(xid, commit) {
            self.look().await?;
        }
        Ok(self.shown(xid, commit))
    }

    /// The source's next transaction id is at least that, given that it has had one with these low bits.
    pub fn next_xid(&self, xid: u32) -> u64 {
        // Not the snapshot's xmax: ids that were given out and never flushed are given out again after a crash.
        self.seen.as_ref().map_or(0, |seen| seen.snapshot.widen(xid) + 1)
    }

    fn shown(&self, xid: u32, commit: Position) -> bool {
        self.seen.as_ref().is_some_and(|seen| seen.shows(xid, commit))
    }

    /// Waits until the server that is read has replayed `position`, where it is a standby.
    pub async fn replayed(&mut self, position: Position) -> Result<(), Failure> {
        loop {
            self.look().await?;
            match self.seen.as_ref().and_then(|seen| seen.replayed) {
                Some(replayed) if replayed < position => tokio::time::sleep(self.poll_max).await,
                _ => return Ok(()),
            }
        }
    }

    async fn look(&mut self) -> Result<(), Failure> {
        let tried = "ask which transactions are visible";
        let row = self.connection.client.query_one(&self.look, &[]).await.map_err(|error| failed(tried, error))?;
        let not_understood = |error: Box<dyn std::error::Error + Send + Sync>| {
            Failure::transient(format!("failed to {tried}: the answer was not understood")).with_source(error)
        };
        let snapshot = row.get::<_, &str>(0).parse().map_err(|e| not_understood(Box::new(e)))?;
        let replayed = match row.get::<_, Option<&str>>(1) {
            Some(text) => {
                Some(text.parse().map_err(|e: crate::model::ParsePositionError| not_understood(Box::new(e)))?)
            }
            None => None,
        };
        let before = self.seen.as_ref().map(|seen| seen.replayed.is_some());
        let now: Option<Position> = replayed;
        if before.is_some_and(|standby| standby != now.is_some()) {
            // Its transactions are its own from now on: the numbers of the old primary mean nothing to it.
            return Err(Failure::transient("failed to follow the reader's server: it was promoted"));
        }
        self.seen = Some(Seen { snapshot, replayed: now });
        Ok(())
    }
}

impl fmt::Debug for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fence").field("connection", &self.connection).field("seen", &self.seen).finish_non_exhaustive()
    }
}

impl Seen {
    fn shows(&self, xid: u32, commit: Position) -> bool {
        match self.replayed {
            // The commit record begins at `commit`, so it is only replayed once the position is past it.
            Some(replayed) => replayed > commit,
            None => self.snapshot.shows(xid),
        }
    }
}

async fn report(client: &Client, waited: u64, xid: u32, commit: Position) {
    let sql = "select coalesce(string_agg(pid::text, ', '), 'none') from pg_stat_activity where wait_event = 'SyncRep'";
    let waiting: String = match client.query_one(sql, &[]).await {
        Ok(row) => row.get(0),
        Err(_) => "could not be asked".to_owned(),
    };
    tracing::warn!(
        waited_s = waited,
        xid,
        position = %commit,
        waiting_for_standby = waiting,
        waiting_on = "visibility",
        "a committed transaction is not visible yet; with synchronous replication it waits for a standby"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standby_shows_a_commit_only_past_the_beginning_of_its_record() {
        let seen = |replayed: u64| Seen {
            snapshot: "10:20:".parse().expect("a snapshot"),
            replayed: Some(Position::new(replayed)),
        };
        // Whatever its snapshot says: a standby stopped right before the record has replayed up to that very position.
        assert!(!seen(99).shows(12, Position::new(100)));
        assert!(!seen(100).shows(12, Position::new(100)));
        assert!(seen(101).shows(12, Position::new(100)));
    }
}
