//! The relation map: what the stream last said about each table, and how its tuples become rows of the kept columns.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::catalog::TableFacts;
use super::identity;
use super::pgoutput::{self, Cell, OldTuple, ReplicaIdentity, TupleData};
use super::text_value;
use super::types::{Form, built_in};
use crate::edges::{CapturedTable, Failure};
use crate::fail_points::{Rule, off};
use crate::model::{ChangeKind, Columns, OldRow, Relation, RelationColumn, Row, TableName, Value};

/// The tables that are wanted and those that the stream has described, by oid.
#[derive(Debug)]
pub(super) struct Relations {
    wanted: HashMap<TableName, Wanted>,
    described: HashMap<u32, Option<Described>>,
    /// Types that somebody made in the database, as they were looked up.
    types: HashMap<u32, Form>,
}

#[derive(Debug)]
struct Wanted {
    keys: Vec<String>,
    columns: Columns,
    /// Old rows are known in full on every leaf: the catalog says so, the stream only claims it.
    full: bool,
    /// The identity that the stream names is the root's, while the leaves' counts.
    partitioned: bool,
    /// Columns that are never null: where they are in an old row, it was not told.
    not_null: HashSet<String>,
}

#[derive(Debug)]
struct Described {
    relation: Arc<Relation>,
    /// The place in a tuple and the form of each kept column, in the order of `relation`.
    kept: Vec<(usize, Form)>,
    /// How many of them are keys: they come first.
    keys: usize,
    /// Columns of a tuple.
    columns: usize,
    /// Keys that are never null.
    not_null: Vec<usize>,
    /// What the stream says of its old rows, and of which columns.
    identity: (ReplicaIdentity, Vec<bool>),
    /// Old rows are known in full.
    full: bool,
}

impl Relations {
    /// For these tables, each with what the catalog says.
    pub fn new<'a>(tables: impl IntoIterator<Item = (&'a CapturedTable, &'a TableFacts)>) -> Self {
        let mut wanted: HashMap<TableName, Wanted> = HashMap::new();
        for (captured, facts) in tables {
            let entry = wanted.entry(captured.table.clone()).or_insert_with(|| Wanted {
                keys: Vec::new(),
                columns: Columns::Listed(Vec::new()),
                // A leaf has an identity of its own, whatever the root says: what it marks as a whole old row may not be one.
                full: identity::is_full(facts) && facts.kind != 'p',
                partitioned: facts.kind == 'p',
                not_null: facts
                    .columns
                    .iter()
                    .filter(|column| column.not_null)
                    .map(|column| column.name.clone())
                    .collect(),
            });
            for key in &captured.keys {
                if !entry.keys.contains(key) {
                    entry.keys.push(key.clone());
                }
            }
            entry.columns = match (std::mem::take(&mut entry.columns), &captured.columns) {
                (Columns::Listed(mut columns), Columns::Listed(more)) => {
                    columns.extend(more.iter().cloned());
                    Columns::Listed(columns)
                }
                _ => Columns::Any,
            };
        }
        Self { wanted, described: HashMap::new(), types: HashMap::new() }
    }

    /// The types among its columns that must be looked up before [`describe`](Self::describe).
    pub fn unknown_types(&self, relation: &pgoutput::Relation) -> Vec<u32> {
        if !self.wanted.contains_key(&name_of(relation)) {
            return Vec::new();
        }
        let oids: HashSet<u32> = relation
            .columns
            .iter()
            .map(|column| column.type_oid)
            .filter(|oid| built_in(*oid).is_none() && !self.types.contains_key(oid))
            .collect();
        oids.into_iter().collect()
    }

    /// Takes what was looked up.
    pub fn learn(&mut self, types: HashMap<u32, Form>) {
        self.types.extend(types);
    }

    /// The stream describes a table, for the first time or anew. A declared column that it does not have (any more) is not
    /// among the kept ones. `None` for a table that is not wanted.
    pub fn describe(&mut self, relation: &pgoutput::Relation) -> Option<Description> {
        let name = name_of(relation);
        let Some(wanted) = self.wanted.get(&name) else {
            self.described.insert(relation.oid, None);
            return None;
        };
        let place = |name: &str| relation.columns.iter().position(|column| *column.name == *name);
        let mut places: Vec<usize> = wanted.keys.iter().filter_map(|key| place(key)).collect();
        let keys = places.len();
        // The catalog was asked at the start; this is what became of it since. Of a partitioned table it names the root's, while the
        // leaves' count: only the catalog tells those.
        let known = |at: &usize| relation.columns[*at].key || relation.replica_identity == ReplicaIdentity::Full;
        let told = off(Rule::Keys) || wanted.partitioned || places.iter().all(known);
        // An update can be skipped only where old rows are known in full; elsewhere nothing but keys is of use.
        let full = wanted.full && relation.replica_identity == ReplicaIdentity::Full;
        match &wanted.columns {
            _ if !full => {}
            Columns::Listed(columns) => {
                for at in columns.iter().filter_map(|column| place(column)) {
                    if !places.contains(&at) {
                        places.push(at);
                    }
                }
            }
            Columns::Any => {
                let rest: Vec<usize> = (0..relation.columns.len()).filter(|at| !places.contains(at)).collect();
                places.extend(rest);
            }
        }
        let form = |oid: u32| built_in(oid).or_else(|| self.types.get(&oid).copied()).unwrap_or(Form::Text);
        let kept: Vec<(usize, Form)> = places.iter().map(|at| (*at, form(relation.columns[*at].type_oid))).collect();
        let columns = kept
            .iter()
            .map(|(at, form)| RelationColumn {
                name: relation.columns[*at].name.as_str().to_owned(),
                kind: form.kind(),
            })
            .collect();
        let described = Described {
            relation: Arc::new(Relation { table: name, columns }),
            keys,
            kept,
            columns: relation.columns.len(),
            not_null: (0..keys)
                .filter(|key| wanted.not_null.contains(relation.columns[places[*key]].name.as_str()))
                .collect(),
            identity: (relation.replica_identity, relation.columns.iter().map(|column| column.key).collect()),
            full,
        };
        let before = self.described.get(&relation.oid).and_then(Option::as_ref);
        let another = before.is_some_and(|before| {
            before.identity != described.identity
                || before.kept != described.kept
                || before.relation.columns != described.relation.columns
        });
        // Descriptions are repeated whenever anything about the table changes, its statistics too.
        let description = match (wanted.partitioned, told) {
            (true, _) => Description::OfLeaves(described.relation.table.clone()),
            (false, false) if another || before.is_none() => Description::Untold(described.relation.table.clone()),
            (false, _) if another => Description::Another,
            (false, _) => Description::Same,
        };
        self.described.insert(relation.oid, Some(described));
        Some(description)
    }

    /// A changed row, with its table; `None` for a table that is not wanted.
    pub fn change(&self, oid: u32, change: Tuples<'_>) -> Result<Option<Changed>, Failure> {
        let Some(described) = self.get(oid)? else {
            return Ok(None);
        };
        let kind = match change {
            Tuples::Insert(new) => ChangeKind::Insert { new: described.row(new)? },
            Tuples::Update(old, new) => {
                let old = old.map(|old| described.old(old)).transpose()?;
                let mut new = described.row(new)?;
                if let Some(old) = &old {
                    // A key stored out of line is sent with the old row when it did not change.
                    for (new, old) in new.0.iter_mut().zip(&old.row.0).take(described.keys) {
                        if matches!(new, Value::Unchanged) {
                            *new = old.clone();
                        }
                    }
                }
                ChangeKind::Update { old, new }
            }
            Tuples::Delete(old) => ChangeKind::Delete { old: described.old(old)? },
            Tuples::Truncate => ChangeKind::Truncate,
        };
        let untold = if off(Rule::Keys) { None } else { described.untold(&kind) };
        Ok(Some(Changed { relation: Arc::clone(&described.relation), kind, untold }))
    }

    fn get(&self, oid: u32) -> Result<Option<&Described>, Failure> {
        self.described.get(&oid).map(Option::as_ref).ok_or_else(|| {
            Failure::transient(format!(
                "failed to read the stream: a change of table {oid} came before its description"
            ))
        })
    }
}

/// What a description says beside how tuples are read.
#[derive(Debug)]
pub(super) enum Description {
    /// As before, or for the first time.
    Same,
    /// In another way than before.
    Another,
    /// Of a partitioned table: old rows tell what the identity of their own leaf holds, which only the catalog knows.
    OfLeaves(TableName),
    /// Old rows of the table do not tell all declared keys.
    Untold(TableName),
}

/// A changed row of a wanted table.
#[derive(Debug)]
pub(super) struct Changed {
    pub relation: Arc<Relation>,
    pub kind: ChangeKind,
    /// What shows that the old row does not tell what must be known, which the description does not say of a leaf whose
    /// identity was lost for a while.
    pub untold: Option<Untold>,
}

/// See [`Changed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Untold {
    /// It is null in that place of the relation, where none could be when the stream was opened.
    Null(usize),
    /// There is none, though the identity is said to be full.
    NoOldRow,
}

/// The tuples of one change.
#[derive(Clone, Copy, Debug)]
pub(super) enum Tuples<'a> {
    Insert(&'a TupleData),
    Update(Option<&'a OldTuple>, &'a TupleData),
    Delete(&'a OldTuple),
    Truncate,
}

impl Described {
    fn untold(&self, kind: &ChangeKind) -> Option<Untold> {
        let old = match kind {
            ChangeKind::Update { old: None, .. } if self.identity.0 == ReplicaIdentity::Full => {
                return Some(Untold::NoOldRow);
            }
            ChangeKind::Update { old: Some(old), .. } | ChangeKind::Delete { old } => old,
            _ => return None,
        };
        self.not_null.iter().find(|key| old.row.0.get(**key) == Some(&Value::Null)).map(|key| Untold::Null(*key))
    }

    fn old(&self, old: &OldTuple) -> Result<OldRow, Failure> {
        Ok(OldRow {
            row: self.row(old.tuple())?,
            // The stream claims it for a leaf whose own identity is not full, too.
            full: matches!(old, OldTuple::Full(_)) && self.full,
        })
    }

    fn row(&self, tuple: &TupleData) -> Result<Row, Failure> {
        if usize::from(tuple.columns()) != self.columns {
            return Err(Failure::transient(format!(
                "failed to read a row of table {}: it has {} columns where the stream described {}",
                self.relation.table,
                tuple.columns(),
                self.columns
            )));
        }
        let cells: Vec<Cell<'_>> = tuple.cells().collect();
        let values = self.kept.iter().enumerate().map(|(column, (at, form))| match cells[*at] {
            Cell::Null => Ok(Value::Null),
            Cell::Unchanged => Ok(Value::Unchanged),
            Cell::Text(text) => text_value::parse(*form, text).ok_or_else(|| {
                Failure::fatal(format!(
                    "failed to read column {} of table {}: the text sent is not what its type prints",
                    self.relation.columns[column].name, self.relation.table
                ))
            }),
        });
        Ok(Row(values.collect::<Result<_, _>>()?))
    }
}

fn name_of(relation: &pgoutput::Relation) -> TableName {
    TableName::new(relation.namespace.as_str(), relation.name.as_str())
}
