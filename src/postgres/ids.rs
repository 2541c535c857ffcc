//! Ids of queries: all of them in one round trip where they are few; where they are many, read in pieces through a cursor
//! that outlives its transaction, so that it holds nothing back on the server.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::TryStreamExt;
use futures_util::future::join_all;
use tokio_postgres::Client;

use super::fetch::{self, RunError};
use super::params::Param;
use super::plan::Plan;
use super::pool::Lease;
use super::query_set::{Call, Queries};
use crate::edges::{Failure, FailureClass, IdCursor, Permit};
use crate::model::Query;

/// A wide query may take that many times as long as another statement: its whole answer is stored before it is read.
const CURSOR_TIMES: u32 = 20;

/// Without it each statement were a transaction of its own, and one could undo for the next what keeps it from writing.
const BEGIN: &str = "begin read only";

/// See the module.
pub(super) struct Ids {
    queries: Arc<Queries>,
    /// What was read and not given out yet.
    read: VecDeque<String>,
    /// Queries that yield more than was read at once. What was read of them comes again, which nobody minds.
    wide: VecDeque<Query>,
    cursor: Option<(Lease, Permit)>,
}

impl Ids {
    /// Runs all queries up to the limit.
    pub async fn open(queries: &Arc<Queries>, asked: &[Query]) -> Result<Self, Failure> {
        let calls = queries.calls(asked)?;
        let texts = calls.iter().map(text_of).collect::<Result<Vec<_>, _>>()?;
        let options = &queries.pool.source().options;
        let limit = options.ids_at_once_max + 1;
        let mut lease = queries.pool.lease().await?;
        let began = Instant::now();
        let mut whole = false;
        let reading = async {
            let connection = lease.work()?;
            let mut statements = Vec::with_capacity(calls.len());
            for (place, text) in texts.iter().enumerate() {
                let statement = connection.prepared(&format!("{text} limit {limit}")).await;
                let statement = statement.map_err(|error| RunError::Database(place, error))?;
                // It was prepared before a column was retyped, and a session is kept for long.
                if statement.params() != calls[place].plan.params {
                    return Err(RunError::Stale(place));
                }
                statements.push(statement);
            }
            let client = connection.client();
            let beginning =
                async { client.batch_execute(BEGIN).await.map_err(|error| RunError::Ours("begin a read", error)) };
            let reading =
                join_all(calls.iter().zip(&statements).enumerate().map(|(place, (call, statement))| async move {
                    read(client, statement, &call.params).await.map_err(|error| RunError::Database(place, error))
                }));
            // Polled in this order, so sent in this order; the answers come in one round trip.
            let (began, answers) = tokio::join!(biased; beginning, reading);
            began?;
            whole = answers.iter().all(|answer| answer.as_ref().err().is_none_or(RunError::leaves_nothing));
            // The first that failed is to blame: those behind it fail for being behind it.
            answers.into_iter().collect::<Result<Vec<_>, _>>()
        };
        let answers = match fetch::in_time(options, calls.len(), reading).await {
            Ok(answers) => answers,
            Err(error) => {
                let (error, took) = (lease.overrun().map_or(error, RunError::Failure), began.elapsed());
                if whole {
                    lease.rest();
                }
                lease.give_back().await;
                return Err(queries.explain(&calls, error, took).await);
            }
        };
        lease.rest();
        let wide = asked.iter().zip(&answers).filter(|(_, answer)| answer.len() >= limit);
        Ok(Self {
            wide: wide.map(|(query, _)| query.clone()).collect(),
            queries: Arc::clone(queries),
            read: answers.into_iter().flatten().collect(),
            cursor: None,
        })
    }

    async fn declare(&self, query: &Query) -> Result<(Lease, Permit), Failure> {
        let calls = self.queries.calls(std::slice::from_ref(query))?;
        let [call] = calls.as_slice() else {
            return Err(Failure::deterministic("failed to read ids: no query was asked"));
        };
        let text = text_of(call)?;
        let timeout = self.queries.pool.source().options.statement_timeout * CURSOR_TIMES;
        let kept = self.queries.pool.keep().await;
        let mut lease = self.queries.pool.lease().await?;
        let began = Instant::now();
        let declaring = async {
            let client = lease.work()?.client();
            client
                .batch_execute(&format!("set statement_timeout = {}", timeout.as_millis()))
                .await
                .map_err(|error| RunError::Database(0, error))?;
            let sql = format!("declare docmill_ids no scroll cursor with hold for {text}");
            let statement = client.prepare(&sql).await.map_err(|error| RunError::Database(0, error))?;
            client.execute_raw(&statement, &call.params).await.map_err(|error| RunError::Database(0, error))
        };
        // A cursor that is kept is filled at the commit, which the server's own limit does not cover.
        let declaring = tokio::time::timeout(timeout + fetch::GRACE, declaring).await.unwrap_or_else(|_| {
            let message = format!("failed to run query {}: it took longer than {timeout:?}", query.name);
            Err(Failure::new(FailureClass::Oversize, message).into())
        });
        match declaring {
            Ok(_) => {
                lease.rest();
                Ok((lease, kept))
            }
            Err(error) => {
                drop(lease);
                Err(self.queries.explain(&calls, error, began.elapsed()).await)
            }
        }
    }

    async fn fetch(&mut self, limit: usize) -> Result<Vec<String>, Failure> {
        let Some((lease, _)) = &mut self.cursor else {
            return Ok(Vec::new());
        };
        let sql = format!("fetch forward {limit} from docmill_ids");
        let fetching = async {
            let client = lease.work()?.client();
            let rows = client.query(&sql, &[]).await.map_err(|error| RunError::Ours("read more ids", error))?;
            Ok::<_, RunError>(rows.iter().filter_map(|row| row.get::<_, Option<String>>(0)).collect::<Vec<_>>())
        };
        let fetched = fetch::in_time(&self.queries.pool.source().options, 1, fetching).await;
        match fetched {
            Ok(ids) => {
                lease.rest();
                Ok(ids)
            }
            Err(error) => {
                let error = lease.overrun().map_or(error, RunError::Failure);
                self.cursor = None;
                Err(self.queries.explain(&[], error, Duration::ZERO).await)
            }
        }
    }
}

#[async_trait]
impl IdCursor for Ids {
    async fn next(&mut self, limit: usize) -> Result<Vec<String>, Failure> {
        let limit = limit.max(1);
        loop {
            if !self.read.is_empty() {
                let count = limit.min(self.read.len());
                return Ok(self.read.drain(..count).collect());
            }
            if self.cursor.is_some() {
                let ids = self.fetch(limit).await?;
                if !ids.is_empty() {
                    return Ok(ids);
                }
                self.cursor = None;
                self.wide.pop_front();
            }
            let Some(query) = self.wide.front().cloned() else {
                return Ok(Vec::new());
            };
            self.cursor = Some(self.declare(&query).await?);
        }
    }
}

fn text_of<'a>(call: &'a Call<'_>) -> Result<&'a str, Failure> {
    let Plan { ids, columns, .. } = &*call.plan;
    ids.as_deref().ok_or_else(|| {
        Failure::deterministic(format!(
            "failed to read ids: query {} yields {} columns where ids are one",
            call.name,
            columns.len()
        ))
    })
}

async fn read(
    client: &Client,
    statement: &tokio_postgres::Statement,
    params: &[Param],
) -> Result<Vec<String>, tokio_postgres::Error> {
    let mut rows = pin!(client.query_raw(statement, params).await?);
    let mut ids = Vec::new();
    while let Some(row) = rows.try_next().await? {
        fetch::take_turns().await;
        ids.push(row.try_get(0)?);
    }
    Ok(ids)
}
