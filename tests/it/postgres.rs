//! `docmill::postgres` against a real PostgreSQL: what a stream brings and when, what opening refuses, how rows are read.

mod checking;
mod connecting;
mod opening;
mod reading;
mod streaming;
mod visibility;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use docmill::edges::{CaptureEvent, CapturedTable, ChangeCapture, ChangeStream, Failure, OpenRequest};
use docmill::model::{Cells, ChangeKind, Columns, Declaration, Row, Rows, TableName, Value};
use docmill::postgres::{Postgres, PostgresOptions};

use crate::support::postgres::Database;

/// How long anything may take that should happen.
const SOON: Duration = Duration::from_secs(20);

fn options(database: &Database) -> PostgresOptions {
    PostgresOptions {
        url: database.url.clone(),
        slot: format!("slot_{}", database.name),
        heartbeat: None,
        status_interval: Duration::from_millis(50),
        ..PostgresOptions::default()
    }
}

fn captured(table: &str, keys: &[&str], columns: Columns) -> CapturedTable {
    CapturedTable {
        table: TableName::new("public", table),
        keys: keys.iter().map(ToString::to_string).collect(),
        columns,
    }
}

async fn open(
    options: PostgresOptions,
    tables: &[CapturedTable],
) -> Result<(Arc<Postgres>, Box<dyn ChangeStream>), Failure> {
    let postgres = Postgres::new(options)?;
    let stream = postgres.open(&OpenRequest::of(tables)).await?;
    Ok((postgres, stream))
}

async fn next(stream: &mut dyn ChangeStream) -> CaptureEvent {
    tokio::time::timeout(SOON, stream.next()).await.expect("an event in time").expect("an event")
}

/// The events up to and with the `ends`-th end of a transaction that has changes, without idle ones.
async fn trace(stream: &mut dyn ChangeStream, ends: usize) -> Vec<String> {
    let mut trace = Vec::new();
    let (mut inside, mut ended) = (false, 0);
    while ended < ends {
        match next(stream).await {
            CaptureEvent::Change(change) => {
                inside = true;
                let names: Vec<&str> = change.relation.columns.iter().map(|column| column.name.as_str()).collect();
                let show = |row: &Row| {
                    let cells = names.iter().zip(&row.0).map(|(name, value)| format!("{name}={}", shown(value)));
                    cells.collect::<Vec<_>>().join(" ")
                };
                let table = &change.relation.table.name;
                trace.push(match &change.kind {
                    ChangeKind::Insert { new } => format!("insert {table} {}", show(new)),
                    ChangeKind::Update { old: None, new } => format!("update {table} {}", show(new)),
                    ChangeKind::Update { old: Some(old), new } => {
                        let what = if old.full { "full" } else { "key" };
                        format!("update {table} {what} {} -> {}", show(&old.row), show(new))
                    }
                    ChangeKind::Delete { old } => {
                        let what = if old.full { "full" } else { "key" };
                        format!("delete {table} {what} {}", show(&old.row))
                    }
                    ChangeKind::Truncate => format!("truncate {table}"),
                });
            }
            CaptureEvent::End { .. } if inside => {
                inside = false;
                ended += 1;
                trace.push("end".to_owned());
            }
            CaptureEvent::Marker { token, .. } => {
                inside = true;
                trace.push(format!("marker {token}"));
            }
            CaptureEvent::End { .. } | CaptureEvent::Idle { .. } | CaptureEvent::Catalog { .. } => {}
        }
    }
    trace
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Unchanged => "unchanged".to_owned(),
        Value::Boolean(value) => value.to_string(),
        Value::Integer(value) => value.to_string(),
        Value::Float(value) => value.to_string(),
        Value::Text(text) | Value::Json(text) => text.to_string(),
        Value::Binary(bytes) => format!("{bytes:?}"),
    }
}

/// The cells of a column, as text with the kind in front.
fn cells(rows: &Rows, name: &str) -> Vec<String> {
    let column = rows.columns().iter().find(|column| column.name == name).expect(name);
    (0..rows.count() as usize)
        .map(|row| {
            if column.is_null(row) {
                return "null".to_owned();
            }
            let text = |texts: &docmill::model::Texts| {
                String::from_utf8(texts.get(row).expect("a text").to_vec()).expect("UTF-8")
            };
            match &column.cells {
                Cells::Booleans(cells) => format!("boolean {}", cells[row]),
                Cells::Integers(cells) => format!("integer {}", cells[row]),
                Cells::Floats(cells) => format!("float {}", cells[row]),
                Cells::Numerics(texts) => format!("numeric {}", text(texts)),
                Cells::Texts(texts) => format!("text {}", text(texts)),
                Cells::Json(texts) => format!("json {}", text(texts)),
                Cells::Binary(texts) => format!("binary {:?}", texts.get(row).expect("bytes")),
            }
        })
        .collect()
}

fn declaration(queries: &[(&str, &str)]) -> Declaration {
    Declaration {
        contract: "0.1".to_owned(),
        rows: docmill::model::RowForm::Columns,
        indexes: Vec::new(),
        queries: queries
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
            .collect::<BTreeMap<_, _>>(),
    }
}

fn query(name: &str, params: &[Option<&str>]) -> docmill::model::Query {
    docmill::model::Query {
        name: name.to_owned(),
        params: params.iter().map(|param| param.map(ToOwned::to_owned)).collect(),
    }
}
