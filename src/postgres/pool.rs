//! [`Pool`]: what one pipeline may have of its source's read connections ([`Connections`](super::connections::Connections)). They
//! are closed when idle, and all of them when capture reconnects.
//!
//! ```text
//! lease ─▶ untouched ─▶ busy ─▶ rested ─▶ busy ─▶ … dropped: rollback, reset all, back to the others
//!                        └─ dropped, or failed in a way that may stay: cancelled and closed
//! ```

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connections::{Portion, READ_CONNECTIONS_LEAST, ReadConnection};
use super::server::{self, ServerIdentity};
use super::source::Source;
use crate::edges::{Failure, FailureClass, Permit};

/// How often a pipeline may open connections, past [`OPENINGS_AT_ONCE`]: each costs the server 10 ms and more, and a builder whose reads fail
/// in ways that close theirs could ask for nothing else. It waits for itself.
const OPENINGS_PER_SECOND: f64 = 5.0;
const OPENINGS_AT_ONCE: f64 = 20.0;

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
    search_path: Arc<str>,
    permits: Arc<Semaphore>,
    portion: Portion,
    openings: Openings,
}

/// How many connections may be opened now, and when that was so.
#[derive(Debug)]
struct Openings(Mutex<(f64, Instant)>);

impl Openings {
    fn new() -> Self {
        Self(Mutex::new((OPENINGS_AT_ONCE, Instant::now())))
    }

    /// Counts one, and says how long it has to wait.
    fn next(&self, now: Instant) -> Duration {
        let (left, at) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let more = now.saturating_duration_since(*at).as_secs_f64() * OPENINGS_PER_SECOND;
        (*left, *at) = ((*left + more).min(OPENINGS_AT_ONCE) - 1.0, now);
        Duration::from_secs_f64((-*left / OPENINGS_PER_SECOND).max(0.0))
    }
}

impl Pool {
    pub fn new(source: Arc<Source>) -> Arc<Self> {
        let permits = Arc::new(Semaphore::new(source.options.read_connections_max.max(READ_CONNECTIONS_LEAST)));
        let (portion, search_path) = (source.connections.portion(), source.search_path().into());
        Arc::new(Self { source, search_path, permits, portion, openings: Openings::new() })
    }

    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Leave to keep a connection while waiting for what other connections read; to be taken before that connection. However long it
    /// takes.
    pub async fn keep(&self) -> Permit {
        self.portion.kept.acquire().await
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
        let Ok(place) = tokio::time::timeout(wait_max, self.portion.leases.acquire()).await else {
            let count = self.source.connections.max();
            return Err(Failure::transient(format!(
                "failed to begin a read: all {count} read connections of the source's pipelines were busy for {wait_max:?}"
            ))
            .with_advice("raise read_connections_total of the source, if the server has connections to spare"));
        };
        let lease = |connection| Lease {
            connection: Some(connection),
            state: State::Untouched,
            pool: Arc::clone(self),
            permits: Some((permit, place)),
        };
        let Source { connections, log_in, link, .. } = &*self.source;
        if let Some(mut connection) = connections.take(log_in, &self.search_path, link, epoch) {
            let searching = tokio::time::timeout(CLEAN_TIMEOUT, connection.search(&self.search_path));
            // One that does not answer is closed, and another one opened.
            if let Ok(Ok(())) = searching.await {
                return Ok(lease(connection));
            }
        }
        tokio::time::sleep(self.openings.next(Instant::now())).await;
        connections.make_room();
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
        let (log_in, link) = (Arc::clone(log_in), link.clone());
        Ok(lease(ReadConnection::new(connection, log_in, &self.search_path, link, epoch)))
    }

    /// Gives it back as it was made, or closes it.
    async fn clean(&self, mut connection: ReadConnection) {
        let cleaning = connection.client().batch_execute(CLEAN);
        if let Ok(Ok(())) = tokio::time::timeout(CLEAN_TIMEOUT, cleaning).await {
            connection.was_reset();
            self.source.connections.rest(connection);
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing was asked on it.
    Untouched,
    /// What was asked has ended. Planning alone runs functions that say they are constant, so it is cleaned whatever it was.
    Rested,
    /// Something is running, or failed in a way that may stay: its connection is not used again.
    Busy,
}

/// A connection for one caller. Dropping it gives it back, cleaned, or ends what is running on it.
#[derive(Debug)]
pub(super) struct Lease {
    /// Taken by drop only.
    connection: Option<ReadConnection>,
    state: State,
    pool: Arc<Pool>,
    permits: Option<(OwnedSemaphorePermit, Permit)>,
}

impl Lease {
    /// The connection, for statements: until [`rest`](Self::rest), dropping the lease closes it.
    pub fn work(&mut self) -> Result<&mut ReadConnection, Failure> {
        self.state = State::Busy;
        self.connection.as_mut().ok_or_else(|| Failure::transient("failed to use a read connection: it is closed"))
    }

    /// The failure of what ran on it, where the server sent more in one piece than a call may yield.
    pub fn overrun(&self) -> Option<Failure> {
        self.connection.as_ref().filter(|connection| connection.connection().was_overrun())?;
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

    /// Ends it after a failure, and waits as [`end`](Self::end) does if its connection may be used again.
    pub async fn give_back(self) {
        if self.state == State::Rested {
            self.end().await;
        }
    }

    /// Everything that was begun has ended, and its statements may be run again; a transaction or a cursor may be open.
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
            State::Untouched => self.pool.source.connections.rest(connection),
            State::Busy => connection.into_connection().abandon(runtime),
            State::Rested => {
                let (pool, permits) = (Arc::clone(&self.pool), self.permits.take());
                // Whoever drops it may be on a runtime that serves guests.
                runtime.spawn(async move {
                    pool.clean(connection).await;
                    drop(permits);
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_opens_connections_all_the_time_waits_for_each() {
        let (openings, begin) = (Openings::new(), Instant::now());
        for _ in 0..20 {
            assert_eq!(openings.next(begin), Duration::ZERO);
        }
        let waits = [openings.next(begin), openings.next(begin)];
        assert!(waits[0] >= Duration::from_millis(199) && waits[1] >= Duration::from_millis(399), "{waits:?}");
        // It is forgiven with time, up to what is allowed at once.
        let later = begin + Duration::from_secs(60);
        assert!((0..20).all(|_| openings.next(later) == Duration::ZERO));
        assert!(openings.next(later) > Duration::ZERO);
    }
}
