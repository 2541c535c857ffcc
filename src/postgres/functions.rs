//! Which functions a declared statement may call: those that neither change anything nor answer differently each time. Asked of
//! the statement's own text and of its generic plan, in which views and inlined functions are open.
//!
//! This is a lint. It cannot see what a function does that is declared otherwise than it is, nor what hides under a type's
//! casts; the reader role's privileges are the wall.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::calls::{Call, Calls};
use super::plan::{PlanError, refusal};
use super::problem::Problem;

/// Functions of PostgreSQL itself that no configuration allows: with them, no other rule of a statement holds.
const NEVER: [(&str, &str); 6] = [
    ("set_config", "changes settings that the next statement would run under"),
    ("pg_logical_emit_message", "writes to the log, where it could forge a barrier"),
    ("query_to_xml", "runs SQL given as a text, which nobody has checked"),
    ("query_to_xmlschema", "runs SQL given as a text, which nobody has checked"),
    ("query_to_xml_and_xmlschema", "runs SQL given as a text, which nobody has checked"),
    ("ts_stat", "runs SQL given as a text, which nobody has checked"),
];

/// Functions that are declared stable and are not harmless.
const DENIED: [(&str, &str); 14] = [
    ("pg_current_xact_id", "takes a transaction id, which makes a read a write"),
    ("txid_current", "takes a transaction id, which makes a read a write"),
    ("table_to_xml", "reads a table that is named in a text"),
    ("table_to_xmlschema", "reads a table that is named in a text"),
    ("table_to_xml_and_xmlschema", "reads a table that is named in a text"),
    ("schema_to_xml", "reads whole schemas"),
    ("schema_to_xmlschema", "reads whole schemas"),
    ("schema_to_xml_and_xmlschema", "reads whole schemas"),
    ("database_to_xml", "reads the whole database"),
    ("database_to_xmlschema", "reads the whole database"),
    ("database_to_xml_and_xmlschema", "reads the whole database"),
    // Of the extensions tablefunc and xml2.
    ("crosstab", "runs SQL given as a text, which nobody has checked"),
    ("connectby", "runs SQL made of texts, which nobody has checked"),
    ("xpath_table", "runs SQL made of texts, which nobody has checked"),
];

/// Functions whose answer changes as time passes, and words that call one.
const CLOCKS: [&str; 3] = ["now", "transaction_timestamp", "statement_timestamp"];
const CLOCK_WORDS: [&str; 5] = ["current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"];

/// Parts of a plan that hold names and no expressions.
const NAMES: [&str; 12] = [
    "Node Type",
    "Parent Relationship",
    "Subplan Name",
    "CTE Name",
    "Relation Name",
    "Schema",
    "Alias",
    "Index Name",
    "Function Name",
    "Table Function Name",
    "Tuplestore Name",
    "Trigger Name",
];

/// Whether a function is one that no configuration allows, by its name with or without a schema.
pub fn is_never_allowed(name: &str) -> bool {
    NEVER.iter().any(|(never, _)| name.strip_prefix("pg_catalog.").unwrap_or(name) == *never)
}

/// What a statement calls as it is planned.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// What must not be called, without a subject.
    pub refused: Option<Problem>,
    /// By which functions its answer changes as time passes.
    pub clocks: BTreeSet<String>,
}

/// Looks at `text`, which runs as `wrapped` with that many parameters. Plans it, and runs nothing of it but functions that say
/// they are constant.
pub(super) async fn look(
    client: &Client,
    text: &str,
    wrapped: &str,
    parameters: usize,
    rules: Rules<'_>,
) -> Result<Looked, PlanError> {
    let mut calls = Calls::default();
    calls.read(text);
    if calls.hides_names {
        let found =
            "it spells a name with escapes (U&\"…\"), so that what it calls cannot be read; write the name plainly";
        return Err(PlanError::refused(found));
    }
    let begun = Instant::now();
    let planned = generic_plan(client, wrapped, parameters).await.map_err(|error| {
        let late = begun.elapsed() + rules.statement_timeout / 10 >= rules.statement_timeout;
        match error.code() == Some(&SqlState::QUERY_CANCELED) && late {
            true => PlanError::refused(format!("planning it takes longer than {:?}", rules.statement_timeout)),
            false => refusal(error, text),
        }
    })?;
    if locks_rows(&planned) {
        return Err(PlanError::refused("it locks rows (for update, for share), which a read must not"));
    }
    read_plan(&planned, &mut calls);
    let functions = meant(client, &calls).await.map_err(PlanError::Database)?;
    Ok(judged(&functions, &calls, rules.allowed))
}

/// What the lint goes by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules<'a> {
    /// What the operator allows besides: names, with or without a schema.
    pub allowed: &'a [String],
    /// After which the server ends a statement.
    pub statement_timeout: Duration,
}

/// The plan that holds for any parameters. As a prepared statement, because 14 and 15 cannot explain one with parameters
/// otherwise. Only the preparing has a text of the builder's: in the extended protocol, where several statements are refused.
async fn generic_plan(client: &Client, wrapped: &str, parameters: usize) -> Result<Value, tokio_postgres::Error> {
    let nulls = vec!["null"; parameters].join(", ");
    let nulls = if nulls.is_empty() { nulls } else { format!("({nulls})") };
    let prepare = client.prepare(&format!("prepare docmill_look as {wrapped}")).await?;
    client.execute(&prepare, &[]).await?;
    let explain =
        format!("set plan_cache_mode = force_generic_plan; explain (verbose, format json) execute docmill_look{nulls}");
    let explained = client.simple_query(&explain).await;
    client.batch_execute("deallocate docmill_look; reset plan_cache_mode").await?;
    let text: String = explained?
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        })
        .collect();
    // What is no JSON is no expression either, and is read as a text.
    Ok(serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

fn locks_rows(plan: &Value) -> bool {
    match plan {
        Value::Array(parts) => parts.iter().any(locks_rows),
        Value::Object(parts) => {
            parts.get("Node Type").is_some_and(|kind| kind == "LockRows") || parts.values().any(locks_rows)
        }
        _ => false,
    }
}

fn read_plan(plan: &Value, calls: &mut Calls) {
    match plan {
        Value::String(expression) => calls.read(expression),
        Value::Array(parts) => parts.iter().for_each(|part| read_plan(part, calls)),
        Value::Object(parts) => {
            if let Some(name) = parts.get("Function Name").and_then(Value::as_str) {
                let schema = parts.get("Schema").and_then(Value::as_str).map(ToOwned::to_owned);
                calls.functions.insert(Call { schema, name: name.to_owned(), arguments: None });
            }
            let expressions = parts.iter().filter(|(name, _)| !NAMES.contains(&name.as_str()));
            expressions.for_each(|(_, part)| read_plan(part, calls));
        }
        _ => {}
    }
}

/// A function that a name may mean.
#[derive(Debug)]
struct Meant {
    schema: String,
    name: String,
    /// With its types, as PostgreSQL shows it.
    shown: String,
    volatile: bool,
    /// Fewest and most arguments; no most for those that take any number.
    arguments: (usize, Option<usize>),
    /// Whether it is found without its schema.
    visible: bool,
    /// The operator that calls it, where one does.
    operator: Option<String>,
}

/// Every function that these names may mean, and those that these operators may call where they are volatile.
async fn meant(client: &Client, calls: &Calls) -> Result<Vec<Meant>, tokio_postgres::Error> {
    // An aggregate is declared immutable whatever it runs for each row.
    let sql = "select n.nspname::text, p.proname::text, p.oid::regprocedure::text, \
                 p.provolatile = 'v' or exists (select from pg_aggregate a join pg_proc f on f.oid in \
                   (a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn) \
                   where a.aggfnoid = p.oid and f.provolatile = 'v'), \
                 (p.pronargs - p.pronargdefaults)::int4, p.pronargs::int4, p.provariadic <> 0, \
                 n.nspname = any(current_schemas(true)), w.operator \
               from (select o.oid, null::text as operator from pg_proc o where o.proname = any($1::text[]::name[]) \
                     union all \
                     select f.oid, o.oprname::text from pg_operator o join pg_proc f on f.oid = o.oprcode \
                     where o.oprname = any($2::text[]::name[]) and f.provolatile = 'v') w \
               join pg_proc p on p.oid = w.oid join pg_namespace n on n.oid = p.pronamespace";
    let names: BTreeSet<&str> = calls.functions.iter().map(|call| call.name.as_str()).collect();
    let names: Vec<&str> = names.into_iter().collect();
    let operators: Vec<&str> = calls.operators.iter().map(String::as_str).collect();
    let rows = client.query(sql, &[&names, &operators]).await?;
    let count = |number: i32| usize::try_from(number).unwrap_or(0);
    Ok(rows
        .iter()
        .map(|row| {
            let (fewest, most, variadic) = (count(row.get(4)), count(row.get(5)), row.get::<_, bool>(6));
            Meant {
                schema: row.get(0),
                name: row.get(1),
                shown: row.get(2),
                volatile: row.get(3),
                arguments: (if variadic { fewest.saturating_sub(1) } else { fewest }, (!variadic).then_some(most)),
                visible: row.get(7),
                operator: row.get(8),
            }
        })
        .collect())
}

fn judged(functions: &[Meant], calls: &Calls, allowed: &[String]) -> Looked {
    let mut clocks = BTreeSet::new();
    let mut refused: BTreeMap<&str, Refused> = BTreeMap::new();
    for call in &calls.functions {
        let mut named: Vec<&Meant> =
            functions.iter().filter(|meant| meant.operator.is_none() && fits(meant, call)).collect();
        // Arguments tell apart what has one name; where they need not, they are not counted on.
        if named.iter().any(|meant| !meant.volatile) {
            named.retain(|meant| takes(meant, call.arguments));
        }
        for meant in named {
            refused.extend(refusal_of(meant, allowed).map(|why| (meant.shown.as_str(), why)));
            if meant.schema == "pg_catalog" && is_clock(call, &meant.name) {
                clocks.insert(meant.name.clone());
            }
        }
    }
    for meant in functions.iter().filter(|meant| meant.operator.is_some()) {
        refused.extend(refusal_of(meant, allowed).map(|why| (meant.shown.as_str(), why)));
    }
    clocks.extend(CLOCK_WORDS.iter().filter(|word| calls.words.contains(**word)).map(ToString::to_string));
    Looked { refused: as_problem(refused.into_values().collect()), clocks }
}

fn fits(meant: &Meant, call: &Call) -> bool {
    let placed = match &call.schema {
        Some(schema) => *schema == meant.schema,
        None => meant.visible,
    };
    placed && call.name == meant.name
}

fn takes(meant: &Meant, arguments: Option<usize>) -> bool {
    let (fewest, most) = meant.arguments;
    arguments.is_none_or(|count| count >= fewest && most.is_none_or(|most| count <= most))
}

/// `age` of one time counts from today.
fn is_clock(call: &Call, name: &str) -> bool {
    CLOCKS.contains(&name) || name == "age" && call.arguments == Some(1)
}

/// What is found, and the name that an operator may allow it by.
#[derive(Debug)]
struct Refused(String, Option<String>);

fn refusal_of(meant: &Meant, allowed: &[String]) -> Option<Refused> {
    let Meant { schema, name, shown, .. } = meant;
    let by = meant.operator.as_ref().map(|operator| format!(" by operator {operator}")).unwrap_or_default();
    let listed =
        |list: &[(&str, &'static str)], name: &str| list.iter().find(|(known, _)| *known == name).map(|(_, why)| *why);
    if let Some(why) = listed(&NEVER, name).filter(|_| schema == "pg_catalog") {
        return Some(Refused(format!("it calls {shown}{by}, which {why}, and which no configuration allows"), None));
    }
    // There are crosstab2 and so on.
    let plain = name.trim_end_matches(|character: char| character.is_ascii_digit());
    let why = match listed(&DENIED, name).or_else(|| listed(&DENIED, plain)) {
        Some(why) => why,
        None if meant.volatile => "is volatile: it may change something, or answer differently each time",
        None => return None,
    };
    let qualified = format!("{schema}.{name}");
    let lets = |allowed: &String| allowed == name || *allowed == qualified;
    (!allowed.iter().any(lets)).then(|| Refused(format!("it calls {shown}{by}, which {why}"), Some(qualified)))
}

fn as_problem(refused: Vec<Refused>) -> Option<Problem> {
    if refused.is_empty() {
        return None;
    }
    let found = refused.iter().map(|Refused(found, _)| found.as_str()).collect::<Vec<_>>().join("; ");
    let mut names: Vec<String> =
        refused.iter().filter_map(|Refused(_, name)| name.as_ref()).map(|name| format!("\"{name}\"")).collect();
    names.dedup();
    let remedy = match names.is_empty() {
        true => "write the statement without it".to_owned(),
        false => format!(
            "write the statement without it, or let the operator allow it in the pipeline's configuration: \
             allow_functions = [{}]",
            names.join(", ")
        ),
    };
    Some(Problem::new("", found).with_remedy(remedy))
}
