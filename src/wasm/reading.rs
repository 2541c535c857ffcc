//! The one moment of the database that an `assemble` may ask further, and how much it took from it.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;

use super::bindings::docmill::builder::types::Rowset;
use super::limits::Limits;
use super::{check, convert};
use crate::edges::{Failure, Snapshot};
use crate::model::{Declaration, Query, Rows};

/// A snapshot, with what was taken from it so far.
pub(super) struct Reading {
    moment: Moment,
    declaration: Arc<Declaration>,
    queries: usize,
    rows: usize,
    bytes: usize,
}

impl Reading {
    /// `home` is where the snapshot's own work runs; `reads` were taken from it already.
    pub(super) fn new(
        snapshot: Box<dyn Snapshot>,
        home: Handle,
        declaration: Arc<Declaration>,
        reads: &[Rows],
    ) -> Self {
        let (rows, bytes) = size(reads);
        Self { moment: Moment { snapshot: Some(snapshot), home }, declaration, queries: 0, rows, bytes }
    }

    /// Rows and bytes that were taken so far.
    pub(super) fn check(&self, what: &str, limits: &Limits) -> Result<(), Failure> {
        limits.check_given(what, self.rows, self.bytes)
    }

    /// Answers declared queries, in the form that the guest takes.
    pub(super) async fn run(
        &mut self,
        what: &str,
        limits: &Limits,
        queries: Vec<Query>,
    ) -> Result<Vec<Rowset>, Failure> {
        self.queries += queries.len();
        limits.check_queries(what, self.queries)?;
        check::declared(what, &self.declaration, &queries)?;
        if queries.is_empty() {
            return Ok(Vec::new());
        }
        let asked = queries.len();
        let answers = self.moment.run(what, queries).await?;
        if answers.len() != asked {
            return Err(Failure::fatal(format!(
                "{what}: the source gave {} answers for {asked} queries",
                answers.len()
            )));
        }
        let (rows, bytes) = size(&answers);
        self.rows += rows;
        self.bytes += bytes;
        self.check(what, limits)?;
        let form = self.declaration.rows;
        Ok(answers.into_iter().map(|rows| convert::rowset(rows, form)).collect())
    }
}

fn size(answers: &[Rows]) -> (usize, usize) {
    let rows = answers.iter().map(|rows| rows.count() as usize).sum();
    (rows, answers.iter().map(Rows::bytes).sum())
}

/// A snapshot that works and ends on the runtime it came from: guests' threads run guests and nothing else, so that a
/// spinning one delays no query, and waiting for a query is not the guest's CPU time.
struct Moment {
    snapshot: Option<Box<dyn Snapshot>>,
    home: Handle,
}

impl Moment {
    async fn run(&mut self, what: &str, queries: Vec<Query>) -> Result<Vec<Rows>, Failure> {
        let Some(mut snapshot) = self.snapshot.take() else {
            return Err(Failure::transient(format!("{what}: its snapshot ended with an earlier query")));
        };
        let running = self.home.spawn(async move {
            let answers = snapshot.run(&queries).await;
            (snapshot, answers)
        });
        match AbortOnDropHandle::new(running).await {
            Ok((snapshot, answers)) => {
                self.snapshot = Some(snapshot);
                answers
            }
            Err(error) => Err(Failure::transient(format!("{what}: reading was cut off")).with_source(error)),
        }
    }
}

impl Drop for Moment {
    fn drop(&mut self) {
        let _home = self.home.enter();
        drop(self.snapshot.take());
    }
}
