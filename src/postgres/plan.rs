//! [`Plan`]: a declared statement as it runs. Never bare: it is prepared to learn its columns, and runs inside a sub-select,
//! where nothing but one query parses, and which casts what has no form of its own.
//!
//! The rows of `select … from (text) as q` come in the order of the inner query: nothing above it sorts, joins or groups.
//! SQL does not promise it, PostgreSQL keeps it.

use tokio_postgres::types::{Kind, Type};
use tokio_postgres::{Client, Statement};

use super::cells::Decode;
use super::error::{line_of, said};
use super::functions::{self, Rules};
use super::problem::Problem;
use super::quote;

/// A statement, ready to be prepared on any connection.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Plan {
    /// What is sent. It yields one row more than a call may at most: what is over the limit is noticed, and the statement ends by itself.
    pub wrapped: String,
    /// The same for a query of ids: its one column as text, without nulls, at most `{limit}` rows where given.
    pub ids: Option<String>,
    pub columns: Vec<PlanColumn>,
    pub params: Vec<Type>,
    /// The functions by which its answer changes as time passes, between commas.
    pub clocks: Option<String>,
}

/// One column of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PlanColumn {
    pub name: String,
    pub decode: Decode,
}

impl Plan {
    /// Whether a statement prepared from it still yields what it was made for.
    pub fn fits(&self, statement: &Statement) -> bool {
        statement.columns().len() == self.columns.len()
            && statement.params() == self.params
            && self.columns.iter().zip(statement.columns()).all(|(column, found)| column.decode.reads(found.type_()))
    }
}

/// Why a statement cannot be used: of itself, or because of the connection.
#[derive(Debug)]
pub(super) enum PlanError {
    /// What a person must change; without a subject.
    Refused(Problem),
    /// The server could not say.
    Database(tokio_postgres::Error),
}

impl PlanError {
    pub fn refused(found: impl Into<String>) -> Self {
        Self::Refused(Problem::new("", found))
    }
}

/// Learns the columns and parameters of a statement, looks at what it calls, and wraps it.
pub(super) async fn plan(client: &Client, text: &str, rules: Rules<'_>, rows_max: usize) -> Result<Plan, PlanError> {
    let text = text.trim().trim_end_matches(|c: char| c == ';' || c.is_whitespace());
    let bare = client.prepare(text).await.map_err(|error| refusal(error, text))?;
    let columns = bare.columns();
    if columns.is_empty() {
        return Err(PlanError::refused("it yields no columns; only a select can be declared"));
    }
    for (place, column) in columns.iter().enumerate() {
        if columns[..place].iter().any(|before| before.name() == column.name()) {
            return Err(PlanError::refused(format!("it yields two columns named {}", column.name())));
        }
    }
    let names: Vec<String> = (1..=columns.len()).map(|number| format!("c{number}")).collect();
    let from = format!("(\n{text}\n) as q({})", names.join(", "));
    // Before anything is planned with it: in there nothing but one query parses.
    let all = names.iter().map(|name| format!("q.{name}")).collect::<Vec<_>>().join(", ");
    let every = format!("select {all} from {from}");
    client.prepare(&every).await.map_err(|error| refusal(error, text))?;
    let looked = functions::look(client, text, &every, bare.params().len(), rules).await?;
    if let Some(problem) = looked.refused {
        return Err(PlanError::Refused(problem));
    }
    let declared = declared_types(client, &names, &from, bare.params().len()).await?;
    let mut expressions = Vec::new();
    let mut planned = Vec::new();
    for (place, column) in columns.iter().enumerate() {
        // The description of the answer names the base type of a domain, and a domain crosses as text.
        let domain = declared.get(place).is_some_and(|oid| *oid != column.type_().oid());
        let (expression, decode) = match (domain, Decode::of(column.type_()), column.type_().kind()) {
            (false, Some(decode), _) => (format!("q.{}", names[place]), decode),
            (false, None, Kind::Array(_) | Kind::Composite(_)) => {
                (format!("to_json(q.{})", names[place]), Decode::Json)
            }
            (false, None, _) if *column.type_() == Type::RECORD => {
                (format!("to_json(q.{})", names[place]), Decode::Json)
            }
            (false, None, _) if *column.type_() == Type::NUMERIC => {
                (format!("q.{}::text", names[place]), Decode::Numeric)
            }
            _ => (format!("q.{}::text", names[place]), Decode::Text),
        };
        expressions.push(expression);
        planned.push(PlanColumn { name: column.name().to_owned(), decode });
    }
    let plan = Plan {
        wrapped: format!("select {} from {from} limit {}", expressions.join(", "), over(rows_max)),
        ids: (columns.len() == 1).then(|| format!("select q.c1::text from {from} where q.c1 is not null")),
        columns: planned,
        params: bare.params().to_vec(),
        clocks: (!looked.clocks.is_empty()).then(|| looked.clocks.into_iter().collect::<Vec<_>>().join(", ")),
    };
    // What is more than a query, or changes something, does not parse in there.
    let wrapped = client.prepare(&plan.wrapped).await.map_err(|error| refusal(error, text))?;
    match plan.fits(&wrapped) {
        true => Ok(plan),
        false => Err(PlanError::refused("it means something else inside a sub-select than by itself")),
    }
}

/// One more than that, or as many as PostgreSQL can count.
fn over(rows_max: usize) -> i64 {
    i64::try_from(rows_max).unwrap_or(i64::MAX).saturating_add(1)
}

/// The declared types of the columns, domains included; empty where they cannot be asked. Nothing of the statement is run:
/// the planner sees that no row of it is joined.
async fn declared_types(client: &Client, names: &[String], from: &str, params: usize) -> Result<Vec<u32>, PlanError> {
    let types = names.iter().map(|name| format!("pg_typeof(q.{name})::oid")).collect::<Vec<_>>().join(", ");
    let sql = format!("select {types} from (select 1) as one left join {from} on false");
    let nulls = (0..params).map(|_| super::params::Param::null()).collect::<Vec<_>>();
    let answer = async {
        let statement = client.prepare(&sql).await?;
        let rows = client.query_raw(&statement, &nulls).await?;
        futures_util::TryStreamExt::try_collect::<Vec<_>>(rows).await
    };
    match answer.await {
        Ok(rows) => Ok(rows
            .first()
            .map(|row| (0..names.len()).filter_map(|place| row.try_get::<_, u32>(place).ok()).collect())
            .filter(|types: &Vec<u32>| types.len() == names.len())
            .unwrap_or_default()),
        Err(error) if error.as_db_error().is_some() => Ok(Vec::new()),
        Err(error) => Err(PlanError::Database(error)),
    }
}

/// What the server said of `text`, or that it could not say anything.
pub(super) fn refusal(error: tokio_postgres::Error, text: &str) -> PlanError {
    use crate::edges::FailureClass;
    match error.as_db_error() {
        Some(database) if super::error::class_of(database.code()) != FailureClass::Transient => {
            let found = said(database);
            PlanError::refused(match line_of(database, text) {
                Some(line) => format!("{found}, {line}"),
                None => found,
            })
        }
        _ => PlanError::Database(error),
    }
}

/// How a column of a table `t` is read: as it is, as JSON or as text.
pub(super) fn expression_of(column: &str, oid: u32, form: super::types::Form) -> String {
    use super::types::Form;
    let column = format!("t.{}", quote::identifier(column));
    match (Type::from_oid(oid).as_ref().and_then(Decode::of), form) {
        (Some(_), _) => column,
        (None, Form::Array(_) | Form::Composite) => format!("to_json({column})"),
        (None, _) => format!("{column}::text"),
    }
}
