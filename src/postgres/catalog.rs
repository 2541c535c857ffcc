//! What the catalog says about tables: columns, leaves, replica identities. Read, not judged: see `identity.rs`.

use std::collections::HashMap;

use tokio_postgres::Client;

use super::error::failed;
use crate::edges::{CapturedTable, Failure};
use crate::model::TableName;

/// One table as the catalog has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TableFacts {
    pub oid: u32,
    /// `pg_class.relkind`
    pub kind: char,
    /// `pg_class.relpersistence`
    pub persistence: char,
    /// Its topmost ancestor, for a partition.
    pub root: Option<TableName>,
    /// Tables inherit from it, other than as partitions.
    pub inherited: bool,
    pub identity: Identity,
    /// Live columns in the order of the table.
    pub columns: Vec<ColumnFacts>,
    /// The tables that hold the rows: its partitions, or itself.
    pub leaves: Vec<LeafFacts>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ColumnFacts {
    pub name: String,
    pub not_null: bool,
    pub generated: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LeafFacts {
    pub table: TableName,
    pub kind: char,
    pub persistence: char,
    pub identity: Identity,
    /// The columns of its primary key.
    pub primary_key: Vec<String>,
}

/// What PostgreSQL writes of an old row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// All of it.
    Full,
    /// These columns: of the primary key, or of the index that was chosen.
    Columns(Vec<String>),
    /// Nothing, so that updates and deletes fail while the table is published.
    None,
}

/// Reads what the catalog says about these tables; `None` for one that is not there.
pub(super) async fn tables(client: &Client, tables: &[CapturedTable]) -> Result<Vec<Option<TableFacts>>, Failure> {
    let schemas: Vec<&str> = tables.iter().map(|table| table.table.schema.as_str()).collect();
    let names: Vec<&str> = tables.iter().map(|table| table.table.name.as_str()).collect();
    let rows = client
        .query(TABLES, &[&schemas, &names])
        .await
        .map_err(|error| failed("read the catalog of the tables", error))?;
    let mut facts: HashMap<(String, String), TableFacts> = HashMap::new();
    for row in &rows {
        let table = TableFacts {
            oid: row.get("oid"),
            kind: character(row.get("kind")),
            persistence: character(row.get("persistence")),
            root: row
                .get::<_, Option<&str>>("root_schema")
                .map(|schema| TableName::new(schema, row.get::<_, &str>("root_name"))),
            inherited: row.get("inherited"),
            identity: identity_of(row.get("identity"), row.get("identity_columns")),
            columns: Vec::new(),
            leaves: Vec::new(),
        };
        facts.insert((row.get("schema"), row.get("name")), table);
    }
    let oids: Vec<u32> = facts.values().map(|table| table.oid).collect();
    let of_oids: &[&(dyn tokio_postgres::types::ToSql + Sync)] = &[&oids];
    let (columns, leaves) = tokio::try_join!(client.query(COLUMNS, of_oids), client.query(LEAVES, of_oids))
        .map_err(|error| failed("read the catalog of the tables' columns and partitions", error))?;
    let mut by_oid: HashMap<u32, &mut TableFacts> = facts.values_mut().map(|table| (table.oid, table)).collect();
    for row in &columns {
        if let Some(table) = by_oid.get_mut(&row.get("oid")) {
            table.columns.push(ColumnFacts {
                name: row.get("name"),
                not_null: row.get("not_null"),
                generated: row.get("generated"),
            });
        }
    }
    for row in &leaves {
        if let Some(table) = by_oid.get_mut(&row.get("root")) {
            table.leaves.push(LeafFacts {
                table: TableName::new(row.get::<_, &str>("schema"), row.get::<_, &str>("name")),
                kind: character(row.get("kind")),
                persistence: character(row.get("persistence")),
                identity: identity_of(row.get("identity"), row.get("identity_columns")),
                primary_key: row.get("primary_key"),
            });
        }
    }
    Ok(tables.iter().map(|table| facts.get(&(table.table.schema.clone(), table.table.name.clone())).cloned()).collect())
}

fn character(text: String) -> char {
    text.chars().next().unwrap_or(' ')
}

fn identity_of(identity: String, columns: Vec<String>) -> Identity {
    match identity.as_str() {
        "f" => Identity::Full,
        _ if columns.is_empty() => Identity::None,
        _ => Identity::Columns(columns),
    }
}

/// The columns of the index that is the replica identity of `c`; none with `FULL` and `NOTHING`.
macro_rules! identity_columns {
    () => {
        "array(select a.attname::text from pg_index i \
           cross join lateral unnest(i.indkey::int2[]) with ordinality k(number, place) \
           join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.number \
           where i.indrelid = c.oid and i.indisvalid and i.indimmediate and i.indisunique and i.indpred is null \
             and k.place <= i.indnkeyatts \
             and case c.relreplident when 'd' then i.indisprimary when 'i' then i.indisreplident else false end \
           order by k.place)"
    };
}

/// `tree (oid)`: a table and all its partitions, at whatever depth. `pg_partition_tree` would wait for a lock on each of them.
macro_rules! partition_tree {
    ($root:literal) => {
        concat!(
            "with recursive tree as (select ",
            $root,
            " as oid union all \
               select i.inhrelid from tree t join pg_class p on p.oid = t.oid and p.relkind = 'p' \
               join pg_inherits i on i.inhparent = t.oid and not i.inhdetachpending)"
        )
    };
}
pub(super) use partition_tree;

const TABLES: &str = concat!(
    "select n.nspname::text as schema, c.relname::text as name, c.oid, c.relkind::text as kind, \
       c.relpersistence::text as persistence, c.relreplident::text as identity, ",
    identity_columns!(),
    " as identity_columns, c.relkind = 'r' and exists (select from pg_inherits i where i.inhparent = c.oid) as inherited, \
       rn.nspname::text as root_schema, r.relname::text as root_name \
     from unnest($1::text[], $2::text[]) as w(schema, name) \
     join pg_namespace n on n.nspname = w.schema \
     join pg_class c on c.relnamespace = n.oid and c.relname = w.name \
     left join pg_class r on c.relispartition and r.oid = pg_partition_root(c.oid) \
     left join pg_namespace rn on rn.oid = r.relnamespace"
);

const COLUMNS: &str = "select a.attrelid as oid, a.attname::text as name, a.attnotnull as not_null, \
       a.attgenerated <> '' as generated \
     from pg_attribute a where a.attrelid = any($1::oid[]) and a.attnum > 0 and not a.attisdropped \
     order by a.attrelid, a.attnum";

const LEAVES: &str = concat!(
    "select w.oid as root, n.nspname::text as schema, c.relname::text as name, c.relkind::text as kind, \
       c.relpersistence::text as persistence, c.relreplident::text as identity, ",
    identity_columns!(),
    " as identity_columns, \
       array(select a.attname::text from pg_index i \
         cross join lateral unnest(i.indkey::int2[]) with ordinality k(number, place) \
         join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.number \
         where i.indrelid = c.oid and i.indisprimary and k.place <= i.indnkeyatts order by k.place) as primary_key \
     from unnest($1::oid[]) as w(oid) \
     cross join lateral (",
    partition_tree!("w.oid"),
    " select oid from tree) l \
     join pg_class c on c.oid = l.oid and c.relkind <> 'p' join pg_namespace n on n.oid = c.relnamespace \
     order by 1, 2, 3"
);
