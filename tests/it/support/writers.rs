//! A random write load on every table of the shop: transactions of one to four writes, rollbacks, savepoints, three isolation
//! levels, over many connections at once, through restarts of the server.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_postgres::{Client, SimpleQueryMessage};
use tokio_util::sync::CancellationToken;

use super::postgres::{Database, try_connect};
use super::writes::Dice;

/// How often a transaction that lost against another is tried again.
const RETRIES_MAX: u32 = 5;
/// Between attempts to reach a server that is down.
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);

/// What the writers write to and how.
#[derive(Debug, Clone)]
pub struct Load {
    /// Connections that write at once.
    pub writers: u32,
    /// The same seed makes every writer try the same statements; which succeed is up to the others.
    pub seed: u64,
    /// Rows the shop was seeded with.
    pub users: u32,
    pub products: u32,
    /// Between two transactions of one writer.
    pub pause: Duration,
}

/// What the writers did.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    pub committed: u64,
    /// Given up on purpose.
    pub rolled_back: u64,
    /// Refused by a constraint.
    pub refused: u64,
    /// Lost against another transaction (deadlock, serialization) and begun again.
    pub retried: u64,
    /// Connections lost.
    pub reconnected: u64,
    /// Rows that committed statements changed, by kind of write.
    pub rows: BTreeMap<&'static str, u64>,
}

/// Writers at work. Dropped, they stop in the middle of whatever they do.
#[derive(Debug)]
pub struct Writers {
    stop: CancellationToken,
    tasks: JoinSet<Counts>,
}

impl Writers {
    /// Begins to write.
    pub fn start(database: &Database, load: &Load) -> Self {
        Self::start_at(&database.url, load)
    }

    /// Begins to write to the database with this URL.
    pub fn start_at(url: &str, load: &Load) -> Self {
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        for writer in 0..load.writers {
            let mut dice = Dice::new(load.seed, writer, load.users, load.products);
            tasks.spawn(write_until(stop.clone(), url.to_owned(), move || ordinary(&mut dice), load.pause));
        }
        Self { stop, tasks }
    }

    /// Nobody yet: [`and`](Self::and) adds writers.
    pub fn none() -> Self {
        Self { stop: CancellationToken::new(), tasks: JoinSet::new() }
    }

    /// One more writer, whose transactions are planned by the test itself.
    pub fn and(mut self, url: &str, plan: impl FnMut() -> Plan + Send + 'static, pause: Duration) -> Self {
        self.tasks.spawn(write_until(self.stop.clone(), url.to_owned(), plan, pause));
        self
    }

    /// Lets every writer finish its transaction; what all of them did. Panics if a writer met an error that no writer should.
    pub async fn stop(mut self) -> Counts {
        self.stop.cancel();
        let mut all = Counts::default();
        while let Some(counts) = self.tasks.join_next().await {
            all.add(counts.expect("a writer panicked"));
        }
        all
    }
}

impl Counts {
    pub fn add(&mut self, other: Self) {
        self.committed += other.committed;
        self.rolled_back += other.rolled_back;
        self.refused += other.refused;
        self.retried += other.retried;
        self.reconnected += other.reconnected;
        for (kind, rows) in other.rows {
            *self.rows.entry(kind).or_default() += rows;
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { committed, rolled_back, refused, retried, reconnected, rows } = self;
        let rows: u64 = rows.values().sum();
        write!(
            formatter,
            "{committed} transactions with {rows} rows committed, {rolled_back} rolled back, {refused} refused, \
             {retried} retried, {reconnected} reconnects"
        )
    }
}

/// One transaction, decided before it begins so that it can be tried again.
#[derive(Debug)]
pub struct Plan {
    pub begin: &'static str,
    pub steps: Vec<Step>,
    pub commit: bool,
}

/// One statement: a write by the name of its kind, or one that changes no row (`savepoint s` and `rollback to s` are known).
#[derive(Debug)]
pub enum Step {
    Write(&'static str, String),
    Plain(&'static str),
}

enum Outcome {
    Done(BTreeMap<&'static str, u64>),
    Refused,
    Lost,
    Disconnected,
}

async fn write_until(stop: CancellationToken, url: String, mut plan: impl FnMut() -> Plan, pause: Duration) -> Counts {
    let mut counts = Counts::default();
    let mut client = None;
    while !stop.is_cancelled() {
        let plan = plan();
        for _ in 0..RETRIES_MAX {
            let Some(connected) = connected(&mut client, &stop, &url).await else {
                return counts;
            };
            match run(connected, &plan).await {
                Outcome::Done(rows) if plan.commit => {
                    counts.committed += 1;
                    counts.add(Counts { rows, ..Counts::default() });
                }
                Outcome::Done(_) => counts.rolled_back += 1,
                Outcome::Refused => counts.refused += 1,
                Outcome::Lost => {
                    counts.retried += 1;
                    continue;
                }
                Outcome::Disconnected => {
                    counts.reconnected += 1;
                    client = None;
                }
            }
            break;
        }
        if !pause.is_zero() {
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
    counts
}

/// The connection, made anew if it is gone; `None` once the writers are to stop.
async fn connected<'a>(client: &'a mut Option<Client>, stop: &CancellationToken, url: &str) -> Option<&'a Client> {
    while client.as_ref().is_none_or(Client::is_closed) {
        if stop.is_cancelled() {
            return None;
        }
        match try_connect(url).await {
            // Deadlocks are wanted; waiting a second for each is not.
            Ok(new) => match new.batch_execute("set deadlock_timeout = '20ms'").await {
                Ok(()) => *client = Some(new),
                Err(_) => tokio::time::sleep(RECONNECT_PAUSE).await,
            },
            Err(_) => tokio::time::sleep(RECONNECT_PAUSE).await,
        }
    }
    client.as_ref()
}

/// One to four of the dice's writes.
pub fn ordinary(dice: &mut Dice) -> Plan {
    let begin = match dice.up_to(10) {
        1 => "begin isolation level serializable",
        2 => "begin isolation level repeatable read",
        _ => "begin",
    };
    let mut steps = Vec::new();
    for _ in 0..dice.up_to(4) {
        let (kind, statement) = dice.write();
        if dice.chance(10) {
            // A subtransaction that never happened: its rows must not arrive.
            let (undone, statement) = dice.write();
            steps.extend([Step::Plain("savepoint s"), Step::Write(undone, statement), Step::Plain("rollback to s")]);
        }
        if dice.chance(10) {
            // A subtransaction that did happen.
            steps.extend([Step::Plain("savepoint t"), Step::Write(kind, statement), Step::Plain("release t")]);
        } else {
            steps.push(Step::Write(kind, statement));
        }
    }
    Plan { begin, steps, commit: !dice.chance(10) }
}

async fn run(client: &Client, plan: &Plan) -> Outcome {
    match attempt(client, plan).await {
        Ok(rows) => Outcome::Done(rows),
        Err(error) => {
            if client.is_closed() || client.batch_execute("rollback").await.is_err() {
                return Outcome::Disconnected;
            }
            let state = error.code().map(|state| state.code().to_owned()).unwrap_or_default();
            match state.get(..2) {
                Some("23") => Outcome::Refused,
                // 55: a lock that did not come within the plan's own limit.
                Some("40" | "55") => Outcome::Lost,
                // A server that shuts down says so before it closes the connection.
                Some("57" | "08") => Outcome::Disconnected,
                _ => panic!("a write of the load is wrong: {error:?}"),
            }
        }
    }
}

async fn attempt(client: &Client, plan: &Plan) -> Result<BTreeMap<&'static str, u64>, tokio_postgres::Error> {
    let mut rows: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut kept = rows.clone();
    client.batch_execute(plan.begin).await?;
    for step in &plan.steps {
        match step {
            Step::Plain(statement) => {
                client.batch_execute(statement).await?;
                match *statement {
                    "savepoint s" => kept = rows.clone(),
                    "rollback to s" => rows = kept.clone(),
                    _ => {}
                }
            }
            Step::Write(kind, statement) => {
                for message in client.simple_query(statement).await? {
                    if let SimpleQueryMessage::CommandComplete(changed) = message {
                        *rows.entry(kind).or_default() += changed;
                    }
                }
            }
        }
    }
    client.batch_execute(if plan.commit { "commit" } else { "rollback" }).await?;
    Ok(rows)
}
