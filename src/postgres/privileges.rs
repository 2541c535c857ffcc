//! Never leak a row: a replication role receives rows of published tables that it may not SELECT. So the reader role must
//! hold SELECT on every declared column, asked on its own connection.

use tokio_postgres::Client;

use super::catalog::TableFacts;
use super::error::failed;
use super::problem::Problem;
use super::quote;
use crate::edges::{CapturedTable, Failure};
use crate::model::Columns;

/// What the role of `reader` may not see of the captured tables. Tables that are not there are left out.
pub(super) async fn problems(
    reader: &Client,
    tables: &[CapturedTable],
    catalog: &[Option<TableFacts>],
) -> Result<Vec<Problem>, Failure> {
    let mut oids = Vec::new();
    let mut columns = Vec::new();
    let mut places = Vec::new();
    for (place, (captured, facts)) in tables.iter().zip(catalog).enumerate() {
        let Some(facts) = facts else { continue };
        let wanted = |name: &String| match &captured.columns {
            Columns::Any => true,
            Columns::Listed(listed) => captured.keys.contains(name) || listed.contains(name),
        };
        for column in facts.columns.iter().filter(|column| wanted(&column.name)) {
            oids.push(facts.oid);
            columns.push(column.name.as_str());
            places.push(place);
        }
    }
    let sql = "select current_user::text, \
                 coalesce(has_schema_privilege(c.relnamespace, 'usage'), true) and coalesce(has_column_privilege(w.oid, w.name, 'select'), true), \
                 coalesce(row_security_active(w.oid), false) \
               from unnest($1::oid[], $2::text[]) with ordinality as w(oid, name, place) \
               left join pg_class c on c.oid = w.oid order by w.place";
    let rows = reader
        .query(sql, &[&oids, &columns])
        .await
        .map_err(|error| failed("ask what the reader role may select", error))?;
    let mut problems: Vec<Problem> = Vec::new();
    for (place, captured) in tables.iter().enumerate() {
        let of_table: Vec<usize> = (0..rows.len()).filter(|row| places[*row] == place).collect();
        let Some(first) = of_table.first() else { continue };
        let role: String = rows[*first].get(0);
        let denied: Vec<&str> =
            of_table.iter().filter(|row| !rows[**row].get::<_, bool>(1)).map(|row| columns[*row]).collect();
        let subject = format!("table {}", captured.table);
        if !denied.is_empty() {
            let found = format!("role {role}, which reads rows, may not select {}", denied.join(", "));
            problems.push(Problem::new(&subject, found).with_remedy(format!(
                "grant usage on schema {} to {role}; grant select on {} to {role};",
                quote::identifier(&captured.table.schema),
                quote::table(&captured.table),
                role = quote::identifier(&role)
            )));
        }
        if rows[*first].get(2) {
            let found = format!("row security hides rows from role {role}, while the stream sends all of them");
            problems.push(
                Problem::new(&subject, found).with_remedy(
                    "read with a role that row security does not concern, and keep tenants apart otherwise",
                ),
            );
        }
    }
    Ok(problems)
}
