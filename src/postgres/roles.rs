//! Who reads: the database's privileges are the wall between tenants, so a builder's statements run as a role that cannot step
//! around them. Where no reader is configured there is one role for everything, which is only said.

use std::sync::atomic::Ordering;

use tokio_postgres::Client;

use super::error::failed;
use super::problem::Problem;
use super::quote;
use super::source::Source;
use crate::edges::{CapturedTable, Failure, Finding};

/// Roles whose members reach the server's files and programs, or its log, and so past every privilege.
const MIGHTY: [&str; 4] =
    ["pg_execute_server_program", "pg_read_server_files", "pg_write_server_files", "rds_replication"];

/// What is refused about the reader's role, before anything of a builder is planned or captured.
pub(super) async fn problems(
    source: &Source,
    reader: &Client,
    tables: &[CapturedTable],
) -> Result<Vec<Problem>, Failure> {
    match is_held_to_rules(source) {
        true => look(reader, &source.capture.user, tables).await,
        false => Ok(Vec::new()),
    }
}

/// The same for `docmill check`, where a reader that is not held to the rules is worth a warning.
pub(super) async fn findings(
    source: &Source,
    reader: &Client,
    tables: &[CapturedTable],
) -> Result<Vec<Finding>, Failure> {
    let problems = look(reader, &source.capture.user, tables).await?;
    if problems.is_empty() {
        return Ok(vec![Finding::ok(
            "reader role",
            "it may read, and nothing lets it around the database's privileges",
        )]);
    }
    if is_held_to_rules(source) {
        return Ok(problems.into_iter().map(Problem::finding).collect());
    }
    let found = problems.into_iter().map(|problem| problem.found).collect::<Vec<_>>().join("; ");
    Ok(vec![Finding::warning("reader role", format!("{found}; a builder's statements run as it")).with_remedy(
        "set reader_url to a role that may select what the builder declares, and nothing else, \
             before it runs a builder that is not trusted",
    )])
}

/// Says once in the log that one role does everything.
pub(super) async fn say_if_one(source: &Source, reader: &Client, tables: &[CapturedTable]) -> Result<(), Failure> {
    if is_held_to_rules(source) || source.said_one_role.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    let problems = look(reader, &source.capture.user, tables).await?;
    if !problems.is_empty() {
        let found = problems.into_iter().map(|problem| problem.found).collect::<Vec<_>>().join("; ");
        tracing::info!("the builder is trusted with the role that reads: {found}");
    }
    Ok(())
}

fn is_held_to_rules(source: &Source) -> bool {
    source.options.reader_url.is_some() && !source.options.reader_trusted
}

async fn look(reader: &Client, capture: &str, tables: &[CapturedTable]) -> Result<Vec<Problem>, Failure> {
    let tried = "ask what the reader role may do besides reading";
    // What it could become by SET ROLE counts as its own.
    let sql = "select r.rolname::text, r.rolsuper, r.rolbypassrls, r.rolreplication, r.rolname = $1, \
                 array(select g.rolname::text from pg_roles g \
                       where g.rolname <> r.rolname and pg_has_role(r.oid, g.oid, 'member') \
                         and (g.rolname = $1 or g.rolsuper or g.rolbypassrls or g.rolreplication or g.rolname = any($2)) \
                       order by 1) \
               from pg_roles r where r.rolname = session_user";
    let mighty: &[&str] = &MIGHTY;
    let row = reader.query_one(sql, &[&capture, &mighty]).await.map_err(|error| failed(tried, error))?;
    let role: String = row.get(0);
    let quoted = quote::identifier(&role);
    let problem = |found: &str, remedy: String| {
        Problem::new("reader role", format!("role {role}, which reads rows, {found}")).with_remedy(remedy)
    };
    if row.get(1) {
        // Everything else follows from it.
        return Ok(vec![problem(
            "is a superuser, whom no privilege stops",
            format!("alter role {quoted} nosuperuser;"),
        )]);
    }
    let mut problems = Vec::new();
    if row.get(4) {
        let remedy = "read with a role of its own, that is no member of this one".to_owned();
        problems.push(problem("is the capture role, which receives the rows of every published table", remedy));
    } else if row.get(3) {
        problems.push(problem(
            "may replicate, and so receive the rows of every published table",
            format!("alter role {quoted} noreplication;"),
        ));
    }
    if row.get(2) {
        problems
            .push(problem("has BYPASSRLS, so that no row security holds", format!("alter role {quoted} nobypassrls;")));
    }
    for other in row.get::<_, Vec<String>>(5) {
        problems.push(problem(
            &format!("is a member of role {other}, which may more than read"),
            format!("revoke {} from {quoted};", quote::identifier(&other)),
        ));
    }
    let sql = "select w.place from unnest($1::text[], $2::text[]) with ordinality as w(schema, name, place) \
               join pg_namespace n on n.nspname = w.schema join pg_class c on c.relnamespace = n.oid and c.relname = w.name \
               where pg_has_role(session_user, c.relowner, 'member') order by 1";
    let (schemas, names): (Vec<&str>, Vec<&str>) =
        tables.iter().map(|captured| (captured.table.schema.as_str(), captured.table.name.as_str())).unzip();
    let rows = reader.query(sql, &[&schemas, &names]).await.map_err(|error| failed(tried, error))?;
    let owned = rows.iter().filter_map(|row| tables.get(usize::try_from(row.get::<_, i64>(0) - 1).ok()?));
    for CapturedTable { table, .. } in owned {
        problems.push(problem(
            &format!("owns table {table}, and so may do anything with it"),
            format!("alter table {} owner to …; -- a role of which {quoted} is no member", quote::table(table)),
        ));
    }
    Ok(problems)
}
