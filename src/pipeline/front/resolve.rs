//! Resolve: the changes of a batch become the ids of the documents that they touch, each once. What would be too many ids
//! for a batch becomes a pass, recorded durably before the batch goes on.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::batch::{Batch, End, InFlight};
use super::dispatch::Wanted;
use super::unresolved::{Blamed, Unresolved};
use crate::edges::{Catalog, DocumentBuilder, Failure, FailureClass, Observer, QuerySet};
use crate::fail_points::{Rule, off, reached};
use crate::model::{
    Affected, Change, ChangeKind, ColumnBuilder, Columns, Declaration, IndexDeclaration, Origin, PassReason, PassSet,
    Position, Query, Relation, Row, Rows, StateDocument, TableDeclaration, TableName, Value,
};
use crate::pipeline::backoff::Backoff;
use crate::pipeline::failing::Side;
use crate::pipeline::ledger::Ledger;
use crate::pipeline::policy::FlowLimits;
use crate::pipeline::record::{self, PassRequest};

/// How late a test that wants it late gets it.
const RECORD_LATE: Duration = Duration::from_secs(5);

/// A batch whose documents are known, and whose passes are on record.
#[derive(Debug)]
pub struct Resolved {
    wanted: Wanted,
    end: Option<End>,
    in_flight: InFlight,
}

impl Resolved {
    /// What to dispatch, and what the ack needs.
    pub fn into_parts(self) -> (Wanted, Option<End>, InFlight) {
        (self.wanted, self.end, self.in_flight)
    }
}

/// Everything that resolving needs; shared by live changes and passes.
#[derive(Debug)]
pub struct Resolver {
    /// The builder.
    pub builder: Arc<dyn DocumentBuilder>,
    /// Its statements.
    pub queries: Arc<dyn QuerySet>,
    /// The pipeline's schema.
    pub schema: String,
    /// Where passes are recorded.
    pub ledger: Arc<Ledger>,
    /// What becomes of rows that cannot be resolved.
    pub unresolved: Unresolved,
    /// Told of tries.
    pub observer: Arc<dyn Observer>,
    /// Its limits.
    pub limits: FlowLimits,
    /// Ends waiting.
    pub stop: CancellationToken,
}

/// Images of rows of one table, for one index.
struct Images<'a> {
    table: &'a TableDeclaration,
    relation: Arc<Relation>,
    rows: Vec<Row>,
}

impl Resolver {
    /// Resolves a batch.
    ///
    /// # Errors
    ///
    /// `Fatal` when the builder fails on a row and the policy is to stop, or when it fails on too many: without its answer nobody
    /// knows which documents are stale, so nothing may be confirmed past a row that is not parked durably.
    pub async fn resolve(&self, batch: Batch) -> Result<Resolved, Failure> {
        let began = Instant::now();
        let declaration = self.builder.declaration();
        let mut ids = Vec::new();
        let mut requests = Vec::new();
        for (place, index) in declaration.indexes.iter().enumerate() {
            let found = self.resolve_index(index, batch.changes(), &mut requests).await?;
            if !found.is_empty() {
                ids.push((place, found));
            }
        }
        let catalog = batch.catalog();
        requests.extend(self.redefined(catalog));
        if !requests.is_empty() || !catalog.is_empty() {
            let catalog: Vec<_> = catalog.iter().map(|(table, sign)| (table.to_string(), sign.clone())).collect();
            self.record(move |state| {
                requests.into_iter().for_each(|request| record::ask(state, request));
                state.catalog.extend(catalog);
            })
            .await?;
        }
        let committed_at_us = batch.changes().iter().map(|change| change.committed_at_us).min().unwrap_or(0);
        let documents = ids.iter().map(|(_, ids)| ids.len()).sum();
        if !batch.changes().is_empty() {
            self.observer.on_resolved(batch.changes().len(), documents, began.elapsed());
        }
        let (end, in_flight) = batch.into_ack();
        Ok(Resolved { wanted: Wanted { ids, origin: Origin::Live { committed_at_us } }, end, in_flight })
    }

    /// The record of a pass is durable before the ack that it allows.
    async fn record(&self, change: impl FnOnce(&mut StateDocument) + Send + 'static) -> Result<(), Failure> {
        if off(Rule::RecordFirst) {
            let ledger = Arc::clone(&self.ledger);
            tokio::spawn(async move {
                tokio::time::sleep(RECORD_LATE).await;
                ledger.update(change).await
            });
            return Ok(());
        }
        self.ledger.update(change).await?;
        reached("pass.recorded");
        Ok(())
    }

    /// What follows from tables that are defined in another way now: their content may be another, without a change of a row.
    fn redefined(&self, catalog: &Catalog) -> Vec<PassRequest> {
        let of = |index: &&IndexDeclaration| {
            index.tables.iter().any(|table| catalog.contains_key(&table.name_in(&self.schema)))
        };
        let indexes = self.builder.declaration().indexes.iter().filter(of);
        let requests = indexes.map(|index| PassRequest {
            index: index.name.as_str().into(),
            set: PassSet::Index,
            reason: PassReason::CatalogChanged,
            // Its barrier is behind everything that was read before.
            asked: Position::ZERO,
            needs_barrier: true,
            sweep: true,
        });
        requests.collect()
    }

    async fn resolve_index(
        &self,
        index: &IndexDeclaration,
        changes: &[Change],
        requests: &mut Vec<PassRequest>,
    ) -> Result<Vec<String>, Failure> {
        let (images, asked) = self.images(index, changes)?;
        requests.extend(asked);
        let newest = changes.iter().map(|change| change.position).max().unwrap_or_default();
        let mut ids = HashSet::new();
        let mut queries: Vec<Query> = Vec::new();
        for images in images {
            let rows = rows(&images)?;
            let affected = self.ask_builder(index, images.table, rows, newest).await?;
            ids.extend(affected.ids);
            queries.extend(affected.queries);
        }
        queries.sort_by(|a, b| (&a.name, &a.params).cmp(&(&b.name, &b.params)));
        queries.dedup();
        if !queries.is_empty() {
            match self.hop(index, &queries, newest).await? {
                Some(found) => ids.extend(found),
                None => {
                    requests.extend(queries.into_iter().map(|query| PassRequest {
                        index: index.name.as_str().into(),
                        set: PassSet::Query { name: query.name, params: query.params },
                        reason: PassReason::Fanout,
                        asked: newest,
                        needs_barrier: false,
                        sweep: false,
                    }));
                }
            }
        }
        Ok(ids.into_iter().collect())
    }

    /// The images that matter to an index, each once, by table and shape of the table; and the passes that its changes
    /// ask for without asking the builder.
    fn images<'a>(
        &self,
        index: &'a IndexDeclaration,
        changes: &[Change],
    ) -> Result<(Vec<Images<'a>>, Vec<PassRequest>), Failure> {
        let by_name: HashMap<TableName, &TableDeclaration> =
            index.tables.iter().map(|table| (table.name_in(&self.schema), table)).collect();
        let mut images: Vec<Images<'a>> = Vec::new();
        let mut places: HashMap<*const Relation, usize> = HashMap::new();
        let mut seen: HashSet<(usize, Row)> = HashSet::new();
        let mut requests: Vec<PassRequest> = Vec::new();
        for change in changes {
            let Some(table) = by_name.get(&change.relation.table) else {
                continue;
            };
            let reason = match change.kind {
                ChangeKind::Truncate => Some(PassReason::Truncate),
                _ if table.everything => Some(PassReason::Everything),
                _ => None,
            };
            if let Some(reason) = reason {
                // Only rows of a root make ids, so only without them are documents left that no row makes.
                let sweep = table.root && reason == PassReason::Truncate;
                match requests.first_mut() {
                    Some(request) => {
                        request.asked = request.asked.max(change.position);
                        request.sweep |= sweep;
                    }
                    None => requests.push(PassRequest {
                        index: index.name.as_str().into(),
                        set: PassSet::Index,
                        reason,
                        asked: change.position,
                        needs_barrier: false,
                        sweep,
                    }),
                }
                continue;
            }
            if unmoved(table, change) {
                continue;
            }
            let place = *places.entry(Arc::as_ptr(&change.relation)).or_insert_with(|| {
                images.push(Images { table, relation: Arc::clone(&change.relation), rows: Vec::new() });
                images.len() - 1
            });
            let keys: Vec<Option<usize>> = table.keys.iter().map(|key| change.relation.column(key)).collect();
            for image in change.images() {
                let values = keys.iter().map(|key| key_value(change, image, *key));
                let key = Row(values.collect::<Result<_, Failure>>()?);
                if seen.insert((place, key.clone())) {
                    images[place].rows.push(key);
                }
            }
        }
        Ok((images, requests))
    }

    /// Asks the builder, again while the world is in the way, and in halves down to the row that is to blame. `at` is the position of
    /// the newest of the rows' changes.
    pub async fn ask_builder(
        &self,
        index: &IndexDeclaration,
        table: &TableDeclaration,
        rows: Rows,
        at: Position,
    ) -> Result<Affected, Failure> {
        let mut answer = Affected::default();
        let mut todo = vec![rows];
        let mut backoff = Backoff::new(&self.limits);
        let mut tried_alone = false;
        while let Some(rows) = todo.pop() {
            let resolved = self.builder.resolve(&index.name, &table.table, rows.clone()).await;
            self.builder.limits_met().into_iter().for_each(|(limit, times)| self.observer.on_limit(limit, times));
            if let Err(failure) = &resolved
                && failure.guest().is_some()
            {
                self.observer.on_guest_failed(failure);
            }
            match resolved {
                Ok(affected) => {
                    self.unresolved.failing.so_many_went_well(Side::Resolve, &index.name, rows.count() as usize);
                    answer.ids.extend(affected.ids);
                    answer.queries.extend(affected.queries);
                    backoff.reset();
                    tried_alone = false;
                }
                Err(failure) if failure.class == FailureClass::Transient => {
                    self.observer.on_retry("resolve", failure.message());
                    self.observer.on_error(&failure);
                    if !backoff.wait(&self.stop).await {
                        return Err(failure);
                    }
                    todo.push(rows);
                }
                Err(failure) if matches!(failure.class, FailureClass::Restart | FailureClass::Fatal) => {
                    return Err(failure);
                }
                Err(failure) if rows.count() > 1 => {
                    self.observer.on_retry("resolve", failure.message());
                    let (one, other) = rows.halves();
                    todo.extend([other, one]);
                }
                // Time can be the neighbours' doing: once more, alone, before the row is blamed.
                Err(failure) if failure.class == FailureClass::Time && !tried_alone => {
                    tried_alone = true;
                    self.observer.on_retry("resolve", failure.message());
                    todo.push(rows);
                }
                Err(failure) => {
                    tried_alone = false;
                    self.park(&index.name, Blamed::row(table, &rows), failure, at).await?;
                }
            }
        }
        Ok(answer)
    }

    /// What is left of queries of which one failed by itself: each half to be run for itself, or nothing when it was that one.
    pub async fn narrow(
        &self,
        index: &IndexDeclaration,
        mut queries: Vec<Query>,
        failure: Failure,
        at: Position,
    ) -> Result<Vec<Vec<Query>>, Failure> {
        self.observer.on_retry("resolve.hop", failure.message());
        if queries.len() > 1 {
            let rest = queries.split_off(queries.len() / 2);
            return Ok(vec![rest, queries]);
        }
        if let Some(query) = queries.pop() {
            self.park(&index.name, Blamed::query(&query), failure, at).await?;
        }
        Ok(Vec::new())
    }

    /// The ids that queries yield, or `None` when they are more than a batch may hold.
    async fn hop(
        &self,
        index: &IndexDeclaration,
        queries: &[Query],
        at: Position,
    ) -> Result<Option<Vec<String>>, Failure> {
        let mut backoff = Backoff::new(&self.limits);
        let mut ids = Vec::new();
        let mut todo = vec![queries.to_vec()];
        while let Some(queries) = todo.pop() {
            match self.hop_once(&queries, self.limits.fanout_ids_max.saturating_sub(ids.len())).await {
                Ok(Some(found)) => ids.extend(found),
                Ok(None) => return Ok(None),
                Err(failure) if failure.class == FailureClass::Transient => {
                    self.observer.on_retry("resolve.hop", failure.message());
                    self.observer.on_error(&failure);
                    if !backoff.wait(&self.stop).await {
                        return Err(failure);
                    }
                    todo.push(queries);
                }
                // A statement that runs into its time limit here has more ids than belong into a batch.
                Err(failure) if failure.class == FailureClass::Oversize => return Ok(None),
                Err(failure) if matches!(failure.class, FailureClass::Restart | FailureClass::Fatal) => {
                    return Err(failure);
                }
                // A parameter that the builder made is none that the statement takes.
                Err(failure) => todo.extend(self.narrow(index, queries, failure, at).await?),
            }
        }
        Ok(Some(ids))
    }

    async fn hop_once(&self, queries: &[Query], ids_max: usize) -> Result<Option<Vec<String>>, Failure> {
        let mut cursor = self.queries.ids(queries).await?;
        let mut ids = Vec::new();
        while ids.len() <= ids_max {
            let piece = cursor.next(ids_max + 1 - ids.len()).await?;
            if piece.is_empty() {
                return Ok(Some(ids));
            }
            ids.extend(piece);
        }
        Ok(None)
    }
}

/// The value of a key column in one image. A value that was not sent because the change left it alone is the old image's.
fn key_value(change: &Change, image: &Row, column: Option<usize>) -> Result<Value, Failure> {
    let value = |row: &Row| column.and_then(|column| row.0.get(column)).cloned().unwrap_or(Value::Null);
    match (value(image), &change.kind) {
        (Value::Unchanged, ChangeKind::Update { old: Some(old), .. }) if value(&old.row) != Value::Unchanged => {
            Ok(value(&old.row))
        }
        (Value::Unchanged, _) => Err(Failure::fatal(format!(
            "a change of table {} at {} does not say the value of a key column, which is stored out of line and did not \
             change",
            change.relation.table, change.position
        ))
        .with_advice(format!("alter table {} replica identity full", change.relation.table))),
        (value, _) => Ok(value),
    }
}

/// Whether a change provably left everything that matters as it was.
fn unmoved(table: &TableDeclaration, change: &Change) -> bool {
    let Columns::Listed(columns) = &table.columns else {
        return change.leaves(0..change.relation.columns.len());
    };
    let wanted = table.keys.iter().chain(columns).map(|column| change.relation.column(column));
    let places: Option<Vec<usize>> = wanted.collect();
    places.is_some_and(|places| change.leaves(places))
}

fn rows(images: &Images<'_>) -> Result<Rows, Failure> {
    let keys = &images.table.keys;
    let columns = keys.iter().enumerate().map(|(place, key)| {
        let kind = images
            .relation
            .column(key)
            .map(|column| images.relation.columns[column].kind)
            .ok_or_else(|| missing_key(images, key))?;
        let mut column = ColumnBuilder::new(key.as_str(), kind);
        images.rows.iter().for_each(|row| column.push(&row.0[place]));
        Ok(column.finish())
    });
    let columns = columns.collect::<Result<Vec<_>, Failure>>()?;
    let count = u32::try_from(images.rows.len()).map_err(|_| Failure::fatal("a batch holds more than 2^32 rows"))?;
    Rows::new(count, columns).map_err(|error| Failure::fatal("rows of a batch do not fit together").with_source(error))
}

fn missing_key(images: &Images<'_>, key: &str) -> Failure {
    Failure::fatal(format!(
        "table {} has no column {key} any more, which the builder declares as a key",
        images.relation.table
    ))
    .with_advice("deploy a builder for the new shape of the table")
}

/// The table declarations that are roots of an index, in order.
pub fn roots<'a>(declaration: &'a Declaration, index: &str) -> Vec<&'a TableDeclaration> {
    declaration.index(index).map(|index| index.tables.iter().filter(|table| table.root).collect()).unwrap_or_default()
}
