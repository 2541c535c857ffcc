//! A fingerprint of everything in the catalog that can change what a table's rows say without a change of a row in the stream:
//! columns that were added with a value, retyped by an expression, partitions that came, went or were truncated by themselves,
//! another table under the name, a replica identity or a publication that tells less than it did.
//!
//! | part | seen by it |
//! |---|---|
//! | oid, kind, persistence | dropped, renamed and made again, set unlogged |
//! | its TOAST table | a rewrite by ALTER TABLE, such as TYPE … USING to the same type; VACUUM FULL and CLUSTER keep it. Where a table has none, its columns' rows of the catalog |
//! | declared columns: number, type | dropped and added anew with a DEFAULT, renamed, retyped |
//! | expressions of generated columns | SET EXPRESSION |
//! | partitions: oid, bound, file, since when | ATTACH, DETACH, also both between two looks, DROP, and TRUNCATE of one, which is not in the stream; VACUUM FULL of one looks the same |
//! | tables that inherit from it | their rows come under names of their own |
//! | replica identity of each leaf | lost, chosen anew |
//! | the publication's entry for it, and its options | changes that were not sent, even if it is as it was again |
//!
//! The publication's entry has a version of its own, so that an owner or an option set to what it was makes a difference, too.
//!
//! Not in it: what says nothing about content (indexes, constraints, privileges, statistics, columns that no index declares).

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use tokio_postgres::Client;

use super::catalog::partition_tree;
use super::error::failed;
use crate::edges::{CapturedTable, Catalog, Failure};
use crate::model::{Columns, TableName};

/// What a look at the catalog found.
#[derive(Debug)]
pub(super) struct Signs {
    /// The fingerprint of each table.
    pub catalog: Catalog,
    /// How the publication has each table: another entry may have left out changes meanwhile.
    pub entries: Catalog,
    /// A table of which the publication does not send all any more: only opening the stream again can mend that, or says what
    /// to do.
    pub unsent: Option<TableName>,
}

/// Asks the catalog.
pub(super) async fn look(client: &Client, publication: &str, tables: &[CapturedTable]) -> Result<Signs, Failure> {
    let schemas: Vec<&str> = tables.iter().map(|table| table.table.schema.as_str()).collect();
    let names: Vec<&str> = tables.iter().map(|table| table.table.name.as_str()).collect();
    let tried = "read the definitions of the captured tables";
    let parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)] = &[&schemas, &names, &publication];
    let of_tables: &[&(dyn tokio_postgres::types::ToSql + Sync)] = &[&schemas, &names];
    // Publications of whole schemas came with 15.
    let by_schema = "select to_regclass('pg_catalog.pg_publication_namespace') is not null";
    let by_schema = client.query_one(by_schema, &[]).await.map_err(|error| failed(tried, error))?.get(0);
    let of_schema = if by_schema { OF_SCHEMA } else { "null" };
    let tables_query = TABLES.replace("{of_schema}", of_schema);
    let (facts, columns) = tokio::try_join!(client.query(&tables_query, parameters), client.query(COLUMNS, of_tables))
        .map_err(|error| failed(tried, error))?;
    let mut by_place: BTreeMap<i64, Vec<(String, String)>> = BTreeMap::new();
    for row in &columns {
        by_place.entry(row.get(0)).or_default().push((row.get(1), row.get(2)));
    }
    let mut catalog = Catalog::new();
    let mut entries = Catalog::new();
    let mut unsent = None;
    for row in &facts {
        let place: i64 = row.get(0);
        let Some(captured) = usize::try_from(place - 1).ok().and_then(|place| tables.get(place)) else { continue };
        let mut hash = Sha256::new();
        hash.update(row.get::<_, String>(1));
        let matters = |column: &str| match &captured.columns {
            Columns::Any => true,
            Columns::Listed(listed) => listed.iter().chain(&captured.keys).any(|name| name == column),
        };
        for (name, sign) in by_place.get(&place).into_iter().flatten().filter(|(name, _)| matters(name)) {
            hash.update([0]);
            hash.update(name);
            hash.update([0]);
            hash.update(sign);
        }
        if row.get::<_, bool>(2) {
            unsent.get_or_insert_with(|| captured.table.clone());
        }
        entries.insert(captured.table.clone(), row.get::<_, Option<String>>(3).unwrap_or_default());
        let sign: String = hash.finalize()[..SIGN_BYTES].iter().map(|byte| format!("{byte:02x}")).collect();
        catalog.insert(captured.table.clone(), sign);
    }
    Ok(Signs { catalog, entries, unsent })
}

/// Bytes of a hash that are kept: two definitions of one table do not meet in 128 bits.
const SIGN_BYTES: usize = 16;

/// Everything but the columns as one text, and whether the publication sends less than all of it. As JSON what not every
/// version has.
const TABLES: &str = concat!(
    "select w.place, \
      concat_ws('|', c.oid, c.relkind, c.relpersistence, p.entry, \
        (select string_agg(concat_ws(',', l.oid, l.relkind, l.relpersistence, md5(l.relpartbound::text), \
              case when l.oid <> c.oid then pg_relation_filenode(l.oid) end, \
              (select h.xmin from pg_inherits h where h.inhrelid = l.oid and l.oid <> c.oid), l.relreplident, \
              case when l.reltoastrelid <> 0 then l.reltoastrelid::text \
                when l.relkind = 'r' then (select string_agg(a.attnum || ':' || a.xmin, ';' order by a.attnum) from pg_attribute a \
                  where a.attrelid = l.oid and a.attnum > 0 and not a.attisdropped) end, \
              (select string_agg(i.indexrelid || ':' || i.indkey::text, ';' order by i.indexrelid) from pg_index i \
                where i.indrelid = l.oid and i.indisvalid \
                  and case l.relreplident when 'd' then i.indisprimary when 'i' then i.indisreplident else false end)), \
            ' ' order by l.oid) \
          from pg_class l where l.oid = c.oid or l.oid in (",
    partition_tree!("c.oid"),
    " select oid from tree)), \
        (select string_agg(i.inhrelid::text, ',' order by i.inhrelid) from pg_inherits i \
          where i.inhparent = c.oid and c.relkind = 'r'), \
        (select string_agg(concat_ws(':', a.attname, md5(d.adbin::text)), ',' order by a.attnum) \
          from pg_attribute a join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum \
          where a.attrelid = c.oid and a.attgenerated <> '')), \
      p.whole is not true, p.entry \
    from unnest($1::text[], $2::text[]) with ordinality as w(schema, name, place) \
    left join pg_namespace n on n.nspname = w.schema \
    left join pg_class c on c.relnamespace = n.oid and c.relname = w.name \
    left join lateral ( \
      select concat_ws(',', p.oid, p.xmin, r.oid, r.xmin, {of_schema}) as entry, \
        p.pubinsert and p.pubupdate and p.pubdelete and p.pubtruncate and (c.relkind <> 'p' or p.pubviaroot) \
          and to_jsonb(r) ->> 'prqual' is null and to_jsonb(r) ->> 'prattrs' is null as whole \
      from pg_publication p left join pg_publication_rel r on r.prpubid = p.oid and r.prrelid = c.oid \
      where p.pubname = $3 and exists (select from pg_publication_tables t \
        where t.pubname = p.pubname and t.schemaname = w.schema and t.tablename = w.name)) p on true \
    order by w.place"
);

/// The entry of a table's schema.
const OF_SCHEMA: &str =
    "(select s.oid || ':' || s.xmin from pg_publication_namespace s where s.pnpubid = p.oid and s.pnnspid = n.oid)";

/// The columns of each table. What a column was added with needs no look: its number is never given again.
const COLUMNS: &str = "\
    select w.place, a.attname::text, concat_ws(',', a.attnum, format_type(a.atttypid, a.atttypmod), a.attgenerated) \
    from unnest($1::text[], $2::text[]) with ordinality as w(schema, name, place) \
    join pg_namespace n on n.nspname = w.schema \
    join pg_class c on c.relnamespace = n.oid and c.relname = w.name \
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped \
    order by w.place, a.attnum";
