//! [`Connections`]: the read connections of one source, for all its pipelines. Those that log in alike (same role, same limits)
//! use the same ones, each with a search path of its own: to open one costs the server far more than to read (benches/README.md, S7).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio_postgres::{Client, Error, Statement};
use tokio_util::task::AbortOnDropHandle;

use super::connect::Connection;
use super::link::Link;
use super::source::LogIn;
use crate::edges::{FairShare, Shares, Tenant};

/// Statements that a connection keeps prepared; past it those of the search path that was used longest ago are let go. The server
/// keeps the plan of each in its memory.
const STATEMENTS_MAX: usize = 128;
/// Passes hold a connection each while they wait for documents whose rows need one.
pub(super) const READ_CONNECTIONS_LEAST: usize = 3;

/// See the module.
#[derive(Debug)]
pub(super) struct Connections {
    max: usize,
    leases: FairShare,
    kept: FairShare,
    tenants: AtomicU64,
    idle: Mutex<Vec<Idle>>,
    control: Mutex<Option<Control>>,
    _sweeper: AbortOnDropHandle<()>,
}

/// What one pipeline may have of them.
#[derive(Debug)]
pub(super) struct Portion {
    /// Connections that are used.
    pub leases: Tenant,
    /// Leave to keep a connection while waiting for what other connections read; to be taken before that connection.
    pub kept: Tenant,
}

#[derive(Debug)]
struct Idle {
    connection: ReadConnection,
    since: Instant,
}

/// A connection of the capture role that rests.
#[derive(Debug)]
struct Control {
    connection: Connection,
    epoch: u64,
    since: Instant,
}

impl Connections {
    /// `max` of them, closed when idle for that long.
    pub fn new(max: usize, idle_max: Duration, runtime: &Handle) -> Arc<Self> {
        let max = max.max(READ_CONNECTIONS_LEAST);
        // A pipeline has a bound of its own, so nobody is held to a part; those that hold one may need another to go on, so what is set
        // aside for others is less than what is never kept.
        let leases = FairShare::new(Shares { capacity: max, part: max, reserved: max / 8 });
        let kept = FairShare::new(Shares { capacity: max / 2, part: max, reserved: 0 });
        Arc::new_cyclic(|this| Self {
            max,
            leases,
            kept,
            tenants: AtomicU64::new(0),
            idle: Mutex::default(),
            control: Mutex::default(),
            _sweeper: AbortOnDropHandle::new(runtime.spawn(sweep(Weak::clone(this), idle_max))),
        })
    }

    /// Connections that are used at the same time at most.
    pub fn max(&self) -> usize {
        self.max
    }

    /// For one more pipeline.
    pub fn portion(&self) -> Portion {
        let name = self.tenants.fetch_add(1, Ordering::Relaxed).to_string();
        Portion { leases: self.leases.tenant(&name), kept: self.kept.tenant(&name) }
    }

    /// One at rest that logged in so, rather with this search path, of this opening of the stream. Those of earlier openings are closed:
    /// they may lead to a server that capture left.
    pub fn take(&self, log_in: &LogIn, search_path: &str, link: &Link, epoch: u64) -> Option<ReadConnection> {
        let mut idle = self.locked();
        idle.retain(|Idle { connection, .. }| {
            !connection.client().is_closed() && (!connection.link.is(link) || connection.epoch == epoch)
        });
        let fits = |idle: &Idle| idle.connection.link.is(link) && *idle.connection.log_in == *log_in;
        let knows = |idle: &Idle| fits(idle) && idle.connection.statements.contains_key(search_path);
        let found = idle.iter().rposition(knows).or_else(|| idle.iter().rposition(fits))?;
        Some(idle.remove(found).connection)
    }

    /// Whoever holds a lease is about to open one: closes the one that rested longest if all may be there.
    pub fn make_room(&self) {
        let mut idle = self.locked();
        if idle.len() + self.leases.held() > self.max && !idle.is_empty() {
            idle.remove(0);
        }
    }

    pub fn rest(&self, connection: ReadConnection) {
        self.locked().push(Idle { connection, since: Instant::now() });
    }

    /// One of the capture role that was used in this opening of the stream, for whoever begins after another one.
    pub fn take_control(&self, epoch: u64) -> Option<Connection> {
        let control = self.control.lock().unwrap_or_else(PoisonError::into_inner).take();
        let usable = |control: &Control| control.epoch == epoch && !control.connection.client.is_closed();
        control.filter(usable).map(|control| control.connection)
    }

    /// Everything went well on it, and nothing of it is left.
    pub fn rest_control(&self, connection: Connection, epoch: u64) {
        let control = Control { connection, epoch, since: Instant::now() };
        *self.control.lock().unwrap_or_else(PoisonError::into_inner) = Some(control);
    }

    fn locked(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn sweep(connections: Weak<Connections>, idle_max: Duration) {
    loop {
        tokio::time::sleep((idle_max / 2).max(Duration::from_millis(100))).await;
        let Some(connections) = connections.upgrade() else { return };
        connections.locked().retain(|idle| idle.since.elapsed() < idle_max);
        let mut control = connections.control.lock().unwrap_or_else(PoisonError::into_inner);
        control.take_if(|control| control.since.elapsed() >= idle_max);
    }
}

/// A connection with what is prepared on it.
#[derive(Debug)]
pub(super) struct ReadConnection {
    connection: Connection,
    log_in: Arc<LogIn>,
    link: Link,
    /// Of capture, when it was made.
    epoch: u64,
    search_path: Arc<str>,
    /// The search path of its log-in, to which it goes back.
    own_search_path: Arc<str>,
    /// By search path: what is prepared under one is planned again under another, and then is about other tables.
    statements: HashMap<Arc<str>, Statements>,
    /// Goes up with every use.
    uses: u64,
}

#[derive(Debug, Default)]
struct Statements {
    last_use: u64,
    prepared: HashMap<Arc<str>, Statement>,
}

impl ReadConnection {
    /// A new one, which logged in with that search path (as SQL).
    pub fn new(connection: Connection, log_in: Arc<LogIn>, search_path: &Arc<str>, link: Link, epoch: u64) -> Self {
        let (search_path, own_search_path) = (Arc::clone(search_path), Arc::clone(search_path));
        Self { connection, log_in, link, epoch, search_path, own_search_path, statements: HashMap::new(), uses: 0 }
    }

    pub fn client(&self) -> &Client {
        &self.connection.client
    }

    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    pub fn into_connection(self) -> Connection {
        self.connection
    }

    /// From now on names without a schema are looked up there.
    pub async fn search(&mut self, search_path: &Arc<str>) -> Result<(), Error> {
        if self.search_path != *search_path {
            self.connection.client.batch_execute(&format!("set search_path = {search_path}")).await?;
            self.search_path = Arc::clone(search_path);
        }
        self.uses += 1;
        self.statements.entry(Arc::clone(search_path)).or_default().last_use = self.uses;
        Ok(())
    }

    /// `reset all` was run.
    pub fn was_reset(&mut self) {
        self.search_path = Arc::clone(&self.own_search_path);
    }

    /// The statement, prepared at most once for each search path.
    pub async fn prepared(&mut self, sql: &str) -> Result<Statement, Error> {
        let known = self.statements.get(&self.search_path).and_then(|statements| statements.prepared.get(sql));
        if let Some(statement) = known {
            return Ok(statement.clone());
        }
        let statement = self.connection.client.prepare(sql).await?;
        if self.statements.values().map(|statements| statements.prepared.len()).sum::<usize>() >= STATEMENTS_MAX {
            let oldest = self.statements.iter().min_by_key(|(_, statements)| statements.last_use);
            let oldest = oldest.map(|(search_path, _)| Arc::clone(search_path));
            oldest.and_then(|search_path| self.statements.remove(&search_path));
        }
        let statements = self.statements.entry(Arc::clone(&self.search_path)).or_default();
        statements.last_use = self.uses;
        statements.prepared.insert(sql.into(), statement.clone());
        Ok(statement)
    }
}
