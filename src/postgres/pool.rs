//! [`Pool`]: the read connections of one source. A few, closed when idle, and all closed when capture reconnects.
//!
//! ```text
//! lease ─▶ untouched ─▶ busy ─▶ rested ─▶ busy ─▶ … dropped: rollback, reset all, back to the others
//!                        └─ dropped, or failed: cancelled and closed
//! ```

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_postgres::{Client, Error, Statement};
use tokio_util::task::AbortOnDropHandle;

use super::connect::Connection;
use super::server::{self, ServerIdentity};
use super::source::Source;
use crate::edges::{Failure, FailureClass};

/// Statements that a connection keeps prepared; past it all are let go.
const STATEMENTS_MAX: usize = 512;
/// Passes hold a connection each while they wait for documents whose rows need one.
const READ_CONNECTIONS_LEAST: usize = 3;
/// How long the cleaning of a connection may take until it is closed instead.
const CLEAN_TIMEOUT: Duration = Duration::from_secs(5);
/// Ends whatever a read left: its transaction, cursors, settings, the role (which `reset all` leaves as it is), locks, tables. A
/// builder's statement should be able to leave none of these; a function that is declared otherwise than it is can.
const CLEAN: &str = "rollback; close all; set session authorization default; reset all; unlisten *; \
                     select pg_advisory_unlock_all(); discard temp; discard sequences";

/// See the module.
#[derive(Debug)]
pub(super) struct Pool {
    source: Arc<Source>,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Idle>>,
    sweeper: Mutex<Option<AbortOnDropHandle<()>>>,
}

#[derive(Debug)]
struct Idle {
    connection: ReadConnection,
    since: Instant,
}

/// A connection with what is prepared on it.
#[derive(Debug)]
pub(super) struct ReadConnection {
    connection: Connection,
    /// Of capture, when it was made.
    epoch: u64,
    statements: HashMap<Arc<str>, Statement>,
    /// One of those that all pipelines of the source may have.
    _place: Option<OwnedSemaphorePermit>,
}

impl ReadConnection {
    pub fn client(&self) -> &Client {
        &self.connection.client
    }

    /// The statement, prepared at most once.
    pub async fn prepared(&mut self, sql: &str) -> Result<Statement, Error> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.connection.client.prepare(sql).await?;
        if self.statements.len() >= STATEMENTS_MAX {
            self.statements.clear();
        }
        self.statements.insert(sql.into(), statement.clone());
        Ok(statement)
    }
}

impl Pool {
    pub fn new(source: Arc<Source>) -> Arc<Self> {
        let permits = Arc::new(Semaphore::new(source.options.read_connections_max.max(READ_CONNECTIONS_LEAST)));
        let pool = Arc::new(Self { source, permits, idle: Mutex::new(Vec::new()), sweeper: Mutex::new(None) });
        let sweeping = sweep(Arc::downgrade(&pool), pool.source.options.read_connection_idle_max);
        let sweeper = AbortOnDropHandle::new(pool.source.runtime.spawn(sweeping));
        *pool.sweeper.lock().unwrap_or_else(PoisonError::into_inner) = Some(sweeper);
        if let Some(room) = &pool.source.room {
            room.shelter(&pool);
        }
        pool
    }

    pub fn source(&self) -> &Source {
        &self.source
    }

    /// A connection for the caller alone. Waits for capture to be there and for one to be free.
    ///
    /// # Errors
    ///
    /// `Transient` when that took too long, when the server cannot be reached or is not capture's.
    pub async fn lease(self: &Arc<Self>) -> Result<Lease, Failure> {
        self.lease_when(self.source.link.ready(self.source.options.read_wait_max)).await
    }

    /// As [`lease`](Self::lease), for preparing statements: no row is read, so it does not wait for capture. A flow that begins
    /// again prepares before it opens its stream.
    pub async fn lease_to_prepare(self: &Arc<Self>) -> Result<Lease, Failure> {
        let ready = async {
            match self.source.link.lost() {
                // The next stream closes the connection: nothing is read on it.
                Some(epoch) => Ok((epoch, None)),
                None => self.source.link.ready(self.source.options.read_wait_max).await,
            }
        };
        self.lease_when(ready).await
    }

    async fn lease_when(
        self: &Arc<Self>,
        ready: impl Future<Output = Result<(u64, Option<ServerIdentity>), Failure>>,
    ) -> Result<Lease, Failure> {
        let wait_max = self.source.options.read_wait_max;
        let permit = tokio::time::timeout(wait_max, Arc::clone(&self.permits).acquire_owned()).await;
        let Ok(Ok(permit)) = permit else {
            let count = self.source.options.read_connections_max;
            return Err(Failure::transient(format!(
                "failed to begin a read: all {count} read connections were busy for {wait_max:?}"
            )));
        };
        let (epoch, captured) = ready.await?;
        let lease = |connection| Lease {
            connection: Some(connection),
            state: State::Untouched,
            pool: Arc::clone(self),
            permit: Some(permit),
        };
        if let Some(connection) = self.take_idle(epoch) {
            return Ok(lease(connection));
        }
        let _place = match &self.source.room {
            Some(room) => Some(room.place(wait_max).await?),
            None => None,
        };
        let connection = self.source.connect_reader().await?;
        if let Some(captured) = captured {
            let found = server::identity(&connection.client).await?;
            if found != captured {
                return Err(Failure::transient(format!(
                    "failed to begin a read: the reader's server ({}, timeline {}) is not the captured one ({}, timeline {})",
                    found.system_identifier, found.timeline, captured.system_identifier, captured.timeline
                )));
            }
        }
        Ok(lease(ReadConnection { connection, epoch, statements: HashMap::new(), _place }))
    }

    fn take_idle(&self, epoch: u64) -> Option<ReadConnection> {
        let mut idle = self.locked();
        // A connection of another epoch may lead to a server that capture left.
        idle.retain(|idle| idle.connection.epoch == epoch && !idle.connection.client().is_closed());
        idle.pop().map(|idle| idle.connection)
    }

    /// Gives it back as it was made, or closes it.
    async fn clean(&self, connection: ReadConnection) {
        let cleaning = connection.client().batch_execute(CLEAN);
        if let Ok(Ok(())) = tokio::time::timeout(CLEAN_TIMEOUT, cleaning).await {
            self.give_back(connection);
        }
    }

    fn give_back(&self, connection: ReadConnection) {
        // Somebody else waits for its place.
        if self.source.room.as_ref().is_some_and(|room| room.is_wanted()) {
            return;
        }
        let since = Instant::now();
        self.locked().push(Idle { connection, since });
        // Whoever began to wait in between has not seen it.
        if self.source.room.as_ref().is_some_and(|room| room.is_wanted()) {
            self.close_oldest();
        }
    }

    /// Since when the connection rests that was used longest ago.
    pub fn oldest_idle(&self) -> Option<Instant> {
        self.locked().iter().map(|idle| idle.since).min()
    }

    /// Closes it.
    pub fn close_oldest(&self) {
        let mut idle = self.locked();
        let oldest = idle.iter().enumerate().min_by_key(|(_, idle)| idle.since).map(|(place, _)| place);
        if let Some(place) = oldest {
            idle.swap_remove(place);
        }
    }

    fn locked(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn sweep(pool: Weak<Pool>, idle_max: Duration) {
    loop {
        tokio::time::sleep((idle_max / 2).max(Duration::from_millis(100))).await;
        let Some(pool) = pool.upgrade() else { return };
        pool.locked().retain(|idle| idle.since.elapsed() < idle_max);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing was asked on it.
    Untouched,
    /// What was asked ended well. Planning alone runs functions that say they are constant, so it is cleaned whatever it was.
    Rested,
    /// Something is running, or failed: its connection is not used again.
    Busy,
}

/// A connection for one caller. Dropping it gives it back, cleaned, or ends what is running on it.
#[derive(Debug)]
pub(super) struct Lease {
    /// Taken by drop only.
    connection: Option<ReadConnection>,
    state: State,
    pool: Arc<Pool>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Lease {
    /// The connection, for statements: until [`rest`](Self::rest), dropping the lease closes it.
    pub fn work(&mut self) -> Result<&mut ReadConnection, Failure> {
        self.state = State::Busy;
        self.connection.as_mut().ok_or_else(|| Failure::transient("failed to use a read connection: it is closed"))
    }

    /// The failure of what ran on it, where the server sent more in one piece than a call may yield.
    pub fn overrun(&self) -> Option<Failure> {
        self.connection.as_ref().filter(|connection| connection.connection.was_overrun())?;
        let max = self.pool.source.options.bytes_per_call_max;
        let message = format!("failed to read rows: one row has more than {max} bytes");
        Some(Failure::new(FailureClass::Oversize, message))
    }

    /// Ends it after everything went well, and waits until its connection is there for the next one.
    pub async fn end(mut self) {
        if let Some(connection) = self.connection.take() {
            self.pool.clean(connection).await;
        }
    }

    /// Everything that was begun has ended well; a transaction or a cursor may be open.
    pub fn rest(&mut self) {
        self.state = State::Rested;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else {
            return;
        };
        let runtime = &self.pool.source.runtime;
        match self.state {
            State::Untouched => self.pool.give_back(connection),
            State::Busy => connection.connection.abandon(runtime),
            State::Rested => {
                let (pool, permit) = (Arc::clone(&self.pool), self.permit.take());
                // Whoever drops it may be on a runtime that serves guests.
                runtime.spawn(async move {
                    pool.clean(connection).await;
                    drop(permit);
                });
            }
        }
    }
}
