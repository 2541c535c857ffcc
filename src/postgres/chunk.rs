//! The rows of a table in the order of its primary key, a chunk at a time, and about how many there are.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_postgres::Client;

use super::catalog::partition_tree;
use super::cells::{Decode, push_cell};
use super::error::failed;
use super::params::Param;
use super::plan::expression_of;
use super::pool::{Lease, Pool};
use super::{fetch, quote, types};
use crate::edges::{Chunk, Failure};
use crate::model::{ColumnBuilder, Rows, TableName};

/// Where nothing was ever analyzed, rows are counted up to here.
const COUNTED_MAX: i64 = 200_000;

/// Reads chunks; remembers what tables look like.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    tables: Mutex<HashMap<TableName, Arc<Shape>>>,
}

/// A table as chunks need it.
#[derive(Debug)]
struct Shape {
    /// The primary key's columns in its order, each with the type to cast a text to.
    primary_key: Vec<(String, String)>,
    /// How each column is read.
    expressions: HashMap<String, (String, types::Form)>,
}

impl Chunks {
    /// The next `limit` rows behind `after`.
    pub async fn read(
        &self,
        pool: &Arc<Pool>,
        table: &TableName,
        keys: &[String],
        after: Option<&[String]>,
        limit: usize,
    ) -> Result<Chunk, Failure> {
        let mut lease = pool.lease().await?;
        let reading = self.read_now(&mut lease, table, keys, after, limit);
        fetch::in_time(&pool.source().options, 1, reading).await
    }

    async fn read_now(
        &self,
        lease: &mut Lease,
        table: &TableName,
        keys: &[String],
        after: Option<&[String]>,
        limit: usize,
    ) -> Result<Chunk, Failure> {
        let connection = lease.work()?;
        let known = self.locked().get(table).cloned();
        let shape = match &known {
            Some(shape) => Arc::clone(shape),
            None => Arc::new(shape_of(connection.client(), table).await?),
        };
        let sql = statement(table, &shape, keys, after, limit)?;
        let params: Vec<Param> = after.unwrap_or_default().iter().map(|text| Param::text(text)).collect();
        let answer = async {
            let statement = connection.prepared(&sql).await?;
            let rows = connection.client().query_raw(&statement, &params).await?;
            let rows: Vec<_> = futures_util::TryStreamExt::try_collect(rows).await?;
            Ok::<_, tokio_postgres::Error>((statement, rows))
        };
        let (statement, rows) = answer.await.map_err(|error| {
            // The table may have changed since it was looked at.
            let remembered = self.locked().remove(table).is_some();
            let failure = failed(format!("read a chunk of table {table}"), error);
            match remembered {
                true => Failure::transient(failure.message()),
                false => failure,
            }
        })?;
        lease.rest();
        self.locked().insert(table.clone(), Arc::clone(&shape));
        chunk_of(table, keys, &shape, &statement, &rows, limit)
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, HashMap<TableName, Arc<Shape>>> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn statement(
    table: &TableName,
    shape: &Shape,
    keys: &[String],
    after: Option<&[String]>,
    limit: usize,
) -> Result<String, Failure> {
    let mut expressions = Vec::new();
    for key in keys {
        expressions.push(shape.expressions.get(key).map(|(expression, _)| expression.clone()).ok_or_else(|| {
            Failure::fatal(format!("failed to read a chunk of table {table}: it has no column {key}"))
                .with_advice("deploy a builder for the new shape of the table")
        })?);
    }
    let primary_key = shape.primary_key.iter();
    let primary_key: Vec<String> = primary_key.map(|(name, _)| format!("t.{}", quote::identifier(name))).collect();
    expressions.extend(primary_key.iter().map(|name| format!("{name}::text")));
    let behind = match after {
        None => String::new(),
        Some(after) if after.len() == primary_key.len() => {
            let values = shape.primary_key.iter().enumerate();
            let values = values.map(|(place, (_, cast))| format!("${}::text::{cast}", place + 1));
            format!(" where ({}) > ({})", primary_key.join(", "), values.collect::<Vec<_>>().join(", "))
        }
        Some(after) => {
            return Err(Failure::fatal(format!(
                "failed to read a chunk of table {table}: it goes on after a key of {} columns where the primary key has {}",
                after.len(),
                primary_key.len()
            ))
            .with_advice("its primary key changed; start the pass over"));
        }
    };
    Ok(format!(
        "select {} from {} as t{behind} order by {} limit {limit}",
        expressions.join(", "),
        quote::table(table),
        primary_key.join(", ")
    ))
}

fn chunk_of(
    table: &TableName,
    keys: &[String],
    shape: &Shape,
    statement: &tokio_postgres::Statement,
    rows: &[tokio_postgres::Row],
    limit: usize,
) -> Result<Chunk, Failure> {
    let unread = || Failure::transient(format!("failed to read a chunk of table {table}: its columns changed"));
    let mut columns = Vec::new();
    let mut scratch = Vec::new();
    for (place, key) in keys.iter().enumerate() {
        let found = statement.columns().get(place).ok_or_else(unread)?;
        let decode = match shape.expressions.get(key) {
            Some((_, types::Form::Numeric)) => Decode::Numeric,
            _ => Decode::of(found.type_()).ok_or_else(unread)?,
        };
        let mut column = ColumnBuilder::new(key.as_str(), decode.kind());
        for row in rows {
            push_cell(row, place, decode, &mut column, &mut scratch).ok_or_else(unread)?;
        }
        columns.push(column.finish());
    }
    let last = match rows.last() {
        None => None,
        Some(row) => {
            let places = keys.len()..keys.len() + shape.primary_key.len();
            Some(places.map(|place| row.try_get(place).map_err(|_| unread())).collect::<Result<_, _>>()?)
        }
    };
    let count = u32::try_from(rows.len()).map_err(|_| unread())?;
    Ok(Chunk {
        rows: Rows::new(count, columns).map_err(|error| unread().with_source(error))?,
        last,
        done: rows.len() < limit,
    })
}

async fn shape_of(client: &Client, table: &TableName) -> Result<Shape, Failure> {
    let tried = format!("read the catalog of table {table}");
    let sql = "select a.attname::text, a.atttypid, format_type(a.atttypid, -1), \
                 (select k.place from pg_index i cross join lateral unnest(i.indkey::int2[]) with ordinality k(number, place) \
                  where i.indrelid = a.attrelid and i.indisprimary and k.number = a.attnum and k.place <= i.indnkeyatts) \
               from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace \
               where n.nspname = $1 and c.relname = $2 and a.attnum > 0 and not a.attisdropped";
    let rows = client.query(sql, &[&table.schema, &table.name]).await.map_err(|error| failed(&tried, error))?;
    if rows.is_empty() {
        return Err(Failure::fatal(format!("failed to {tried}: there is no such table")));
    }
    let unknown: Vec<u32> = rows.iter().map(|row| row.get(1)).filter(|oid| types::built_in(*oid).is_none()).collect();
    let own = match unknown.is_empty() {
        true => HashMap::new(),
        false => types::look_up(client, &unknown).await?,
    };
    let mut primary_key: Vec<(i64, (String, String))> = Vec::new();
    let mut expressions = HashMap::new();
    for row in &rows {
        let (name, oid): (String, u32) = (row.get(0), row.get(1));
        let form = types::built_in(oid).or_else(|| own.get(&oid).copied()).unwrap_or(types::Form::Text);
        if let Some(place) = row.get::<_, Option<i64>>(3) {
            primary_key.push((place, (name.clone(), row.get(2))));
        }
        expressions.insert(name.clone(), (expression_of(&name, oid, form), form));
    }
    if primary_key.is_empty() {
        return Err(Failure::fatal(format!("failed to read table {table} in chunks: it has no primary key"))
            .with_advice("give it one; a root of an index must have it"));
    }
    primary_key.sort();
    Ok(Shape { primary_key: primary_key.into_iter().map(|(_, column)| column).collect(), expressions })
}

/// About how many rows a table has, its partitions together.
pub(super) async fn estimate(pool: &Arc<Pool>, table: &TableName) -> Result<Option<u64>, Failure> {
    let tried = format!("estimate the rows of table {table}");
    let mut lease = pool.lease().await?;
    let client = lease.work()?.client();
    let sql = concat!(
        "select sum(c.reltuples)::float8, min(c.reltuples)::float8 from ( \
                 select r.oid from pg_class r join pg_namespace n on n.oid = r.relnamespace \
                 where n.nspname = $1 and r.relname = $2) w \
               cross join lateral (",
        partition_tree!("w.oid"),
        " select oid from tree) l join pg_class c on c.oid = l.oid and c.relkind <> 'p'"
    );
    let row = client.query_one(sql, &[&table.schema, &table.name]).await.map_err(|error| failed(&tried, error))?;
    let estimate = match (row.get::<_, Option<f64>>(0), row.get::<_, Option<f64>>(1)) {
        // Below 0 means never analyzed, and 0 may be a memory of an empty table.
        (Some(sum), Some(least)) if least > 0.0 => Some(sum as u64),
        (Some(_), _) => {
            let sql = format!("select count(*) from (select from {} limit {}) t", quote::table(table), COUNTED_MAX + 1);
            let row = client.query_one(&sql, &[]).await.map_err(|error| failed(&tried, error))?;
            let counted: i64 = row.get(0);
            u64::try_from(counted).ok().filter(|_| counted <= COUNTED_MAX)
        }
        _ => None,
    };
    lease.rest();
    Ok(estimate)
}
