//! [`Queries`]: the statements of one builder, planned; run in a snapshot, or for ids.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::future::join_all;
use tokio_postgres::Statement;
use tokio_postgres::error::SqlState;

use super::error::{class_of, failed, said};
use super::fetch::{self, Meter, RunError, only_behind};
use super::functions::Rules;
use super::ids::Ids;
use super::options::PostgresOptions;
use super::params::Param;
use super::plan::{self, Plan, PlanError};
use super::pool::{Lease, Pool};
use super::problem::{Problem, refuse};
use super::roles;
use crate::edges::{Failure, FailureClass, Finding, IdCursor, QuerySet, Snapshot};
use crate::model::{Declaration, Query, Rows};

/// The transaction of a snapshot. Sent together with the first statements.
const BEGIN: &str = "begin isolation level repeatable read read only";

/// Statements of which planning one consists, about: each may take its whole time.
const PLANNING_STATEMENTS: usize = 4;

/// See the module.
#[derive(Debug)]
pub(super) struct Queries {
    pub pool: Arc<Pool>,
    queries: BTreeMap<String, Declared>,
}

#[derive(Debug)]
struct Declared {
    text: String,
    /// As it was learned last: a column that was retyped while running makes another.
    plan: Mutex<Arc<Plan>>,
}

impl Declared {
    fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.plan.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn rules(options: &PostgresOptions) -> Rules<'_> {
    Rules { allowed: &options.allow_functions, statement_timeout: options.statement_timeout }
}

/// Checks every declared statement on the live database.
pub(super) async fn prepare(pool: &Arc<Pool>, declaration: &Declaration) -> Result<Queries, Failure> {
    let (planned, problems) = look(pool, declaration).await?;
    refuse(FailureClass::Fatal, "prepare the declared queries", &problems)?;
    for (name, clocks) in clocks(&planned) {
        tracing::warn!(query = name, "its answer changes with {clocks}, and so do documents that nobody changes");
    }
    Ok(Queries { pool: Arc::clone(pool), queries: planned })
}

/// What [`prepare`] would refuse, and what it would warn of.
pub(super) async fn findings(pool: &Arc<Pool>, declaration: &Declaration) -> Result<Vec<Finding>, Failure> {
    let (planned, problems) = look(pool, declaration).await?;
    let mut findings: Vec<Finding> = problems.into_iter().map(Problem::finding).collect();
    if findings.is_empty() {
        findings.push(Finding::ok("queries", format!("{} statements were prepared", declaration.queries.len())));
    }
    findings.extend(clocks(&planned).map(|(name, clocks)| {
        let found = format!("its answer changes with {clocks}: a document that nobody changes goes stale");
        Finding::warning(format!("query {name}"), found)
            .with_remedy("let the index hold the time itself, and compare with it when searching")
    }));
    Ok(findings)
}

/// The queries whose answers change as time passes, with what they call.
fn clocks(planned: &BTreeMap<String, Declared>) -> impl Iterator<Item = (&str, String)> {
    planned.iter().filter_map(|(name, declared)| Some((name.as_str(), declared.plan().clocks.clone()?)))
}

async fn look(
    pool: &Arc<Pool>,
    declaration: &Declaration,
) -> Result<(BTreeMap<String, Declared>, Vec<Problem>), Failure> {
    let mut lease = pool.lease_to_prepare().await?;
    let options = &pool.source().options;
    let mut planned = BTreeMap::new();
    let mut problems = roles::problems(pool.source(), lease.work()?.client(), &[]).await?;
    // Whoever may do more than read must not even plan what a builder declares: functions that say they are constant run then.
    if !problems.is_empty() {
        lease.rest();
        return Ok((planned, problems));
    }
    for (name, text) in &declaration.queries {
        let planning = async {
            Ok::<_, Failure>(plan::plan(lease.work()?.client(), text, rules(options), options.rows_per_call_max).await)
        };
        match fetch::in_time(options, PLANNING_STATEMENTS, planning).await? {
            Ok(plan) => {
                let declared = Declared { text: text.clone(), plan: Mutex::new(Arc::new(plan)) };
                planned.insert(name.clone(), declared);
            }
            Err(PlanError::Refused(problem)) => problems.push(Problem { subject: format!("query {name}"), ..problem }),
            Err(PlanError::Database(_)) if lease.overrun().is_some() => {
                let found = "its plan has more bytes than one call may yield; let it hold no constants of that size";
                problems.push(Problem::new(format!("query {name}"), found));
                break;
            }
            Err(PlanError::Database(error)) => return Err(failed(format!("prepare query {name}"), error)),
        }
    }
    let clean = lease.overrun().is_none();
    for index in &declaration.indexes {
        for read in &index.reads {
            let found = match planned.get(read) {
                None if declaration.queries.contains_key(read) => continue,
                None => "it is a read and is not declared".to_owned(),
                Some(declared) => match declared.plan().params.len() {
                    1 => continue,
                    count => format!("it is a read and takes {count} parameters; a read takes one, the ids"),
                },
            };
            problems.push(Problem::new(format!("query {read} of index {}", index.name), found));
        }
    }
    if clean {
        // The first read finds the connection free.
        lease.end().await;
    }
    Ok((planned, problems))
}

/// One query of a call with what it runs as.
pub(super) struct Call<'a> {
    pub name: &'a str,
    pub plan: Arc<Plan>,
    pub params: Vec<Param>,
}

impl Queries {
    /// What these queries run as.
    ///
    /// # Errors
    ///
    /// `Deterministic` for a query that is not declared, or parameters that are not of their types.
    pub fn calls<'a>(&self, queries: &'a [Query]) -> Result<Vec<Call<'a>>, Failure> {
        queries.iter().map(|query| self.call(query)).collect()
    }

    fn call<'a>(&self, query: &'a Query) -> Result<Call<'a>, Failure> {
        let name = query.name.as_str();
        let Some(declared) = self.queries.get(name) else {
            return Err(Failure::deterministic(format!("failed to run query {name}: it is not declared")));
        };
        let plan = declared.plan();
        if plan.params.len() != query.params.len() {
            return Err(Failure::deterministic(format!(
                "failed to run query {name}: it takes {} parameters and was given {}",
                plan.params.len(),
                query.params.len()
            )));
        }
        let params = query.params.iter().zip(&plan.params).enumerate();
        let params = params.map(|(place, (text, of))| {
            Param::new(text.as_deref(), of).map_err(|why| {
                Failure::deterministic(format!("failed to run query {name}: its parameter ${}: {why}", place + 1))
            })
        });
        Ok(Call { name, params: params.collect::<Result<_, _>>()?, plan })
    }

    /// The statements of these calls, prepared on this connection.
    async fn prepared(&self, lease: &mut Lease, calls: &[Call<'_>]) -> Result<Vec<Statement>, RunError> {
        let connection = lease.work()?;
        let mut statements = Vec::with_capacity(calls.len());
        for (place, call) in calls.iter().enumerate() {
            let statement =
                connection.prepared(&call.plan.wrapped).await.map_err(|error| RunError::Database(place, error))?;
            if !call.plan.fits(&statement) {
                return Err(RunError::Stale(place));
            }
            statements.push(statement);
        }
        Ok(statements)
    }

    /// Runs calls in the lease's transaction, with `begin` in front where it has none yet.
    async fn run(
        &self,
        lease: &mut Lease,
        calls: &[Call<'_>],
        meter: &Meter,
        begin: bool,
    ) -> Result<Vec<Rows>, RunError> {
        let statements = self.prepared(lease, calls).await?;
        let client = lease.work()?.client();
        let beginning = async {
            match begin {
                true => client.batch_execute(BEGIN).await.map_err(|error| RunError::Ours("begin a read", error)),
                false => Ok(()),
            }
        };
        // Polled in this order, so sent in this order; the answers come in one round trip.
        let running =
            join_all(calls.iter().zip(&statements).enumerate().map(|(place, (call, statement))| {
                fetch::rows(client, place, statement, &call.params, &call.plan, meter)
            }));
        let (began, answers) = tokio::join!(biased; beginning, running);
        began?;
        let whole = answers.iter().all(|answer| answer.as_ref().err().is_none_or(RunError::leaves_nothing));
        // Behind a statement that failed all others fail, for being behind it: what counts is the one that is to blame.
        let mut rows = Vec::with_capacity(answers.len());
        let mut failed = None;
        for answer in answers {
            match answer {
                Ok(answer) => rows.push(answer),
                Err(error) if failed.as_ref().is_none_or(only_behind_another) => failed = Some(error),
                Err(_) => {}
            }
        }
        match failed {
            None => {
                lease.rest();
                Ok(rows)
            }
            Some(error) => {
                if whole {
                    lease.rest();
                }
                Err(error)
            }
        }
    }

    /// What a failed call means, after the lease that it ran on was given back or closed.
    pub async fn explain(&self, calls: &[Call<'_>], error: RunError, took: Duration) -> Failure {
        let (place, error) = match error {
            RunError::Failure(failure) | RunError::OverLimit(failure, _) => return failure,
            RunError::Ours(tried, error) => return failed(tried, error),
            RunError::Stale(place) => return self.plan_again(&calls[place], None).await,
            RunError::Database(place, error) => (place, error),
        };
        let call = &calls[place];
        let tried = format!("run query {}", call.name);
        let Some(database) = error.as_db_error() else {
            return failed(tried, error);
        };
        let (message, code) = (said(database), database.code());
        if *code == SqlState::QUERY_CANCELED {
            // It says the same when a person cancels a statement.
            let timeout = self.pool.source().options.statement_timeout;
            let class = match took + timeout / 10 >= timeout {
                true => FailureClass::Oversize,
                false => FailureClass::Transient,
            };
            return Failure::new(class, format!("failed to {tried}: {message}"));
        }
        if only_behind(code) {
            return Failure::transient(format!("failed to {tried}: {message}"));
        }
        match class_of(code) {
            FailureClass::Fatal => self.plan_again(call, Some(message)).await,
            // A value that is refused may be refused by a parameter whose column has another type by now.
            FailureClass::Deterministic if code.code().starts_with("22") => {
                let again = self.plan_again(call, Some(message.clone())).await;
                match again.class {
                    FailureClass::Transient => again,
                    _ => Failure::deterministic(format!("failed to {tried}: {message}")),
                }
            }
            class => Failure::new(class, format!("failed to {tried}: {message}")),
        }
    }

    /// The statement does not fit the tables any more, or never did. `Transient` when it has another plan now.
    async fn plan_again(&self, call: &Call<'_>, said: Option<String>) -> Failure {
        let name = call.name;
        let changed = || Failure::transient(format!("failed to run query {name}: the tables under it changed"));
        let Some(declared) = self.queries.get(name) else {
            return changed();
        };
        if declared.plan() != call.plan {
            return changed();
        }
        let planning = async {
            let mut lease = self.pool.lease().await?;
            let options = &self.pool.source().options;
            let planning =
                plan::plan(lease.work()?.client(), &declared.text, rules(options), options.rows_per_call_max);
            let planned =
                fetch::in_time(options, PLANNING_STATEMENTS, async { Ok::<_, Failure>(planning.await) }).await?;
            lease.rest();
            Ok::<_, Failure>(planned)
        };
        let stale_plan = said.as_ref().is_none_or(|said| said.contains("(SQLSTATE 0A000)"));
        match planning.await {
            Err(failure) => failure,
            Ok(Err(PlanError::Database(error))) => failed(format!("prepare query {name}"), error),
            Ok(Err(PlanError::Refused(Problem { found, .. }))) => {
                Failure::fatal(format!("failed to run query {name}, which worked before: {found}"))
                    .with_advice("deploy a builder for the new shape of the tables, or put back what was there")
            }
            Ok(Ok(plan)) => {
                let same = plan == *call.plan;
                *declared.plan.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(plan);
                match said {
                    Some(said) if same && !stale_plan => Failure::fatal(format!("failed to run query {name}: {said}")),
                    _ => changed(),
                }
            }
        }
    }
}

/// The set as it is handed out.
#[derive(Debug)]
pub(super) struct Prepared(pub Arc<Queries>);

#[async_trait]
impl QuerySet for Prepared {
    async fn ids(&self, queries: &[Query]) -> Result<Box<dyn IdCursor>, Failure> {
        Ok(Box::new(Ids::open(&self.0, queries).await?))
    }

    async fn snapshot(&self, queries: &[Query]) -> Result<(Vec<Rows>, Box<dyn Snapshot>), Failure> {
        let mut moment = Moment {
            meter: Meter::new(&self.0.pool.source().options),
            lease: Some(self.0.pool.lease().await?),
            begun: false,
            queries: Arc::clone(&self.0),
        };
        let rows = moment.run(queries).await?;
        Ok((rows, Box::new(moment)))
    }
}

/// One moment of the database: a lease with an open transaction.
struct Moment {
    queries: Arc<Queries>,
    /// Gone after a failure.
    lease: Option<Lease>,
    begun: bool,
    /// Of all calls of this moment together.
    meter: Meter,
}

#[async_trait]
impl Snapshot for Moment {
    async fn run(&mut self, queries: &[Query]) -> Result<Vec<Rows>, Failure> {
        let calls = self.queries.calls(queries)?;
        let Some(lease) = &mut self.lease else {
            return Err(Failure::transient("failed to read: this moment ended with an earlier failure"));
        };
        let began = Instant::now();
        let running = self.queries.run(lease, &calls, &self.meter, !self.begun);
        let result = fetch::in_time(&self.queries.pool.source().options, calls.len(), running).await;
        match result {
            Ok(rows) => {
                self.begun = true;
                Ok(rows)
            }
            Err(error) => {
                let (error, took) = (lease.overrun().map_or(error, RunError::Failure), began.elapsed());
                if let Some(lease) = self.lease.take() {
                    lease.give_back().await;
                }
                Err(self.queries.explain(&calls, error, took).await)
            }
        }
    }
}

fn only_behind_another(error: &RunError) -> bool {
    match error {
        RunError::Database(_, error) | RunError::Ours(_, error) => error.code().is_some_and(only_behind),
        _ => false,
    }
}
