//! The publication: derived from the captured tables, made and extended where the role may, never cut.

use std::collections::HashSet;

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::catalog::TableFacts;
use super::error::{failed, said};
use super::options::PostgresOptions;
use super::problem::Problem;
use super::quote;
use crate::edges::{CapturedTable, Failure};
use crate::model::TableName;

/// Minor releases that tell running decoders of an ALTER PUBLICATION (May 2025). Older ones may decode a transaction that is
/// open at that moment without the new table, so there its writers are locked out meanwhile.
const FIXED_MINORS: [(i32, i32); 4] = [(14, 18), (15, 13), (16, 9), (17, 5)];

/// A publication as the catalog has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PublicationFacts {
    all_tables: bool,
    operations: [bool; 4],
    via_root: bool,
    members: HashSet<TableName>,
    filtered: HashSet<TableName>,
}

/// Reads it; `None` when there is none of that name.
pub(super) async fn facts(client: &Client, name: &str) -> Result<Option<PublicationFacts>, Failure> {
    let tried = format!("read publication {name} in the catalog");
    let publication = "select puballtables, pubinsert, pubupdate, pubdelete, pubtruncate, pubviaroot \
                       from pg_publication where pubname = $1";
    let members = "select schemaname::text, tablename::text from pg_publication_tables where pubname = $1";
    // As JSON, because 14 has no such columns.
    let filtered = "select n.nspname::text, c.relname::text from pg_publication_rel r \
                    join pg_publication p on p.oid = r.prpubid join pg_class c on c.oid = r.prrelid \
                    join pg_namespace n on n.oid = c.relnamespace where p.pubname = $1 \
                    and (to_jsonb(r) ->> 'prqual' is not null or to_jsonb(r) ->> 'prattrs' is not null)";
    let parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)] = &[&name];
    let (publication, members, filtered) = tokio::try_join!(
        client.query_opt(publication, parameters),
        client.query(members, parameters),
        client.query(filtered, parameters)
    )
    .map_err(|error| failed(tried, error))?;
    let names = |rows: Vec<tokio_postgres::Row>| -> HashSet<TableName> {
        rows.iter().map(|row| TableName::new(row.get::<_, &str>(0), row.get::<_, &str>(1))).collect()
    };
    Ok(publication.map(|row| PublicationFacts {
        all_tables: row.get(0),
        operations: [row.get(1), row.get(2), row.get(3), row.get(4)],
        via_root: row.get(5),
        members: names(members),
        filtered: names(filtered),
    }))
}

/// What is wrong with a publication in a way that only its owner should change.
pub(super) fn problems(
    name: &str,
    facts: &PublicationFacts,
    tables: &[CapturedTable],
    catalog: &[Option<TableFacts>],
) -> Vec<Problem> {
    let subject = format!("publication {name}");
    let quoted = quote::identifier(name);
    let mut problems = Vec::new();
    if facts.operations.contains(&false) {
        problems.push(
            Problem::new(&subject, "it publishes fewer operations than insert, update, delete, truncate")
                .with_remedy(format!("alter publication {quoted} set (publish = 'insert, update, delete, truncate');")),
        );
    }
    for (captured, table) in tables.iter().zip(catalog) {
        if facts.filtered.contains(&captured.table) {
            let sql = quote::table(&captured.table);
            problems.push(
                Problem::new(&subject, format!("it has a row filter or a column list for table {}", captured.table))
                    .with_remedy(format!(
                        "use a publication of docmill's own, or: alter publication {quoted} drop table {sql};"
                    )),
            );
        }
        let Some(table) = table else { continue };
        if table.kind == 'p' && !facts.via_root {
            problems.push(
                Problem::new(&subject, format!("it publishes table {} by its partitions", captured.table))
                    .with_remedy(format!("alter publication {quoted} set (publish_via_partition_root = true);")),
            );
        }
        if let Some(root) = &table.root
            && facts.via_root
            && facts.members.contains(root)
        {
            problems.push(hidden_under(&captured.table, root));
        }
    }
    problems.dedup();
    problems
}

/// Partitions that are captured beside their root, under whose name their changes come.
pub(super) fn hidden_under_roots(tables: &[CapturedTable], catalog: &[Option<TableFacts>]) -> Vec<Problem> {
    let facts = tables.iter().zip(catalog).filter_map(|(captured, facts)| Some((captured, facts.as_ref()?)));
    let roots = facts.filter_map(|(captured, facts)| Some((captured, facts.root.as_ref()?)));
    roots
        .filter(|(_, root)| tables.iter().any(|other| other.table == **root))
        .map(|(captured, root)| hidden_under(&captured.table, root))
        .collect()
}

/// Tables whose publication would take the changes of partitions that are published by themselves, for somebody else: with the
/// root published, they come under its name.
pub(super) async fn hides(
    client: &Client,
    facts: &PublicationFacts,
    tables: &[CapturedTable],
    catalog: &[Option<TableFacts>],
) -> Result<Vec<Problem>, Failure> {
    let partitioned = tables.iter().zip(catalog).filter(|(_, facts)| facts.as_ref().is_some_and(|it| it.kind == 'p'));
    let mut problems = Vec::new();
    for (captured, table) in partitioned.filter(|(captured, _)| !facts.members.contains(&captured.table)) {
        let Some(oid) = table.as_ref().map(|table| table.oid) else { continue };
        let sql = "select n.nspname::text, c.relname::text from pg_partition_tree($1::oid::regclass) t \
                   join pg_class c on c.oid = t.relid join pg_namespace n on n.oid = c.relnamespace where t.level > 0";
        let rows = client
            .query(sql, &[&oid])
            .await
            .map_err(|error| failed(format!("look at the partitions of table {}", captured.table), error))?;
        let partitions = rows.iter().map(|row| TableName::new(row.get::<_, &str>(0), row.get::<_, &str>(1)));
        problems.extend(partitions.filter(|table| facts.members.contains(table)).map(|table| {
            Problem::new(
                format!("table {}", captured.table),
                format!("its partition {table} is published by itself, and its changes would come under the root's name"),
            )
            .with_remedy("let one declare the root and the other nothing of its partitions, or give this pipeline `slot = \"own\"`")
        }));
    }
    Ok(problems)
}

fn hidden_under(table: &TableName, root: &TableName) -> Problem {
    Problem::new(
        format!("table {table}"),
        format!("it is a partition of {root}, under whose name its changes are published; declare that one"),
    )
}

/// The captured tables that it does not publish.
pub(super) fn missing<'a>(facts: &PublicationFacts, tables: &'a [CapturedTable]) -> Vec<&'a TableName> {
    tables
        .iter()
        .map(|captured| &captured.table)
        .filter(|table| !facts.all_tables && !facts.members.contains(table))
        .collect()
}

/// The statement that makes it.
pub(super) fn create_statement(name: &str, tables: &[&TableName]) -> String {
    let list = tables.iter().map(|table| quote::table(table)).collect::<Vec<_>>().join(", ");
    let list = if list.is_empty() { String::new() } else { format!(" for table {list}") };
    format!(
        "create publication {}{list} with (publish = 'insert, update, delete, truncate', publish_via_partition_root = true);",
        quote::identifier(name)
    )
}

/// The statement that extends it.
pub(super) fn extend_statement(name: &str, tables: &[&TableName]) -> String {
    let list = tables.iter().map(|table| quote::table(table)).collect::<Vec<_>>().join(", ");
    format!("alter publication {} add table {list};", quote::identifier(name))
}

/// Makes or extends it so that all `tables` are published.
///
/// # Errors
///
/// `Transient` with the statement for somebody who may run it: it is looked for again, and found.
pub(super) async fn ensure(
    client: &Client,
    options: &PostgresOptions,
    version: i32,
    tables: &[CapturedTable],
    facts: Option<&PublicationFacts>,
) -> Result<(), Failure> {
    let name = &options.publication;
    let (verb, statement, added) = match facts {
        None => {
            let all: Vec<&TableName> = tables.iter().map(|captured| &captured.table).collect();
            ("create", create_statement(name, &all), all)
        }
        Some(facts) => {
            let missing = missing(facts, tables);
            if missing.is_empty() {
                return Ok(());
            }
            ("extend", extend_statement(name, &missing), missing)
        }
    };
    let lock = match tells_running_decoders(version) || added.is_empty() {
        true => String::new(),
        false => {
            let list = added.iter().map(|table| quote::table(table)).collect::<Vec<_>>().join(", ");
            format!("lock table {list} in share row exclusive mode;")
        }
    };
    let timeout = options.lock_timeout.as_millis();
    let transaction = format!("begin; set local lock_timeout = {timeout}; {lock} {statement} commit;");
    let Err(error) = client.batch_execute(&transaction).await else {
        tracing::info!(publication = name, %statement, "the publication was changed");
        return Ok(());
    };
    // Whatever it was, the connection leaves the transaction.
    let _ = client.batch_execute("rollback").await;
    if error.code() == Some(&SqlState::DUPLICATE_OBJECT) {
        // Pipelines that share a source begin at once: another one was faster.
        let now = self::facts(client, name).await?;
        if now.as_ref() != facts {
            return Box::pin(ensure(client, options, version, tables, now.as_ref())).await;
        }
    }
    Err(match error.as_db_error() {
        Some(database) => Failure::transient(format!("failed to {verb} publication {name}: {}", said(database)))
            .with_advice(format!("it is tried again; or let somebody who may run: {statement}")),
        None => failed(format!("{verb} publication {name}"), error),
    })
}

fn tells_running_decoders(version: i32) -> bool {
    let (major, minor) = (version / 10_000, version % 10_000);
    FIXED_MINORS.iter().find(|(fixed, _)| *fixed == major).map_or(major >= 18, |(_, since)| minor >= *since)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minor_releases_before_may_2025_lock_writers_out() {
        for (version, tells) in [
            (140_017, false),
            (140_018, true),
            (150_012, false),
            (150_013, true),
            (170_004, false),
            (170_005, true),
            (180_000, true),
        ] {
            assert_eq!(tells_running_decoders(version), tells, "{version}");
        }
    }
}
