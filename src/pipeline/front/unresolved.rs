//! Unresolved: a row or a query for which the builder's documents cannot be found. There is no document to blame, so what happens to
//! rejected documents happens to it: with a quarantine the change itself is parked, durably, before its batch goes on.
//!
//! Which documents it touches nobody knows until another builder comes, and with another builder everything is assembled again.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};

use super::resolve::Resolver;
use crate::edges::{Failure, FailureClass, Sink};
use crate::model::{DocumentId, Position, QuarantineRecord, Query, Rejection, Rows, TableDeclaration, Version};
use crate::pipeline::backoff::Backoff;
use crate::pipeline::failing::{Failing, Side};
use crate::pipeline::policy::{FailurePolicies, OnRejected};

/// What becomes of them.
#[derive(Debug)]
pub struct Unresolved {
    /// Where they are parked.
    pub sink: Arc<dyn Sink>,
    /// What happens to rejected documents.
    pub policies: FailurePolicies,
    /// Sees when they are too many.
    pub failing: Arc<Failing>,
}

/// One row of a table or one query, without its values.
#[derive(Debug)]
pub(super) struct Blamed {
    /// For people, and the same for the same row or query.
    id: String,
    what: String,
}

impl Blamed {
    /// That one row of a table.
    pub fn row(table: &TableDeclaration, row: &Rows) -> Self {
        let (name, keys) = (&table.table, table.keys.join(", "));
        Self {
            id: format!("{name}#{}", hash(&format!("{:?}", row.columns()))),
            what: format!("a row of table {name} (keys {keys})"),
        }
    }

    /// That one query.
    pub fn query(query: &Query) -> Self {
        let name = &query.name;
        Self { id: format!("{name}#{}", hash(&format!("{:?}", query.params))), what: format!("a query {name}") }
    }
}

/// Enough of a hash to tell rows apart.
fn hash(text: &str) -> String {
    Sha256::digest(text).iter().take(8).fold(String::new(), |mut hash, byte| {
        // Writing to a String does not fail.
        let _ = write!(hash, "{byte:02x}");
        hash
    })
}

impl Resolver {
    /// Does with it what the index's policy says.
    ///
    /// # Errors
    ///
    /// `Fatal` when the policy is to stop, or when they are too many; `Transient` when the flow stops.
    pub(super) async fn park(
        &self,
        index: &str,
        blamed: Blamed,
        failure: Failure,
        at: Position,
    ) -> Result<(), Failure> {
        let Blamed { id, what } = blamed;
        let Unresolved { sink, policies, failing } = &self.unresolved;
        let policy = policies.of(index);
        let lost =
            format!("{what} could not be resolved for index {index}, so nobody knows which documents it touches");
        if policy == OnRejected::Stop {
            return Err(Failure::fatal(lost)
                .with_advice("mend the builder and start again: nothing at or after that change was confirmed")
                .with_source(failure));
        }
        let kind = match failure.class {
            FailureClass::Oversize => "resolve_limit",
            FailureClass::Time => "resolve_time",
            _ => "resolve_failed",
        };
        let reason = format!("{lost}: {}", failure.message());
        failing.failed(Side::Resolve, index, &id, kind, failure.message())?;
        let rejection = Rejection { kind: kind.to_owned(), reason, detail: Some(failure.full()) };
        self.observer.on_rejected(index, &id, &rejection);
        if policy == OnRejected::Skip {
            return Ok(());
        }
        let (history, generation) = self
            .ledger
            .read(|state| {
                let generation =
                    state.generations.get(index).map_or_else(|| index.to_owned(), |known| known.name.clone());
                (state.history, generation)
            })
            .await;
        let record = QuarantineRecord {
            document: DocumentId { index: index.into(), id },
            generation: generation.into(),
            version: Version::new(history, at),
            builder_version: self.builder.version().clone(),
            rejection,
            at_ms: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64),
        };
        let mut backoff = Backoff::new(&self.limits);
        loop {
            match sink.quarantine(std::slice::from_ref(&record)).await {
                Err(failure) if !matches!(failure.class, FailureClass::Restart | FailureClass::Fatal) => {
                    self.observer.on_retry("quarantine", failure.message());
                    self.observer.on_error(&failure);
                    if !backoff.wait(&self.stop).await {
                        return Err(failure);
                    }
                }
                other => return other,
            }
        }
    }
}
