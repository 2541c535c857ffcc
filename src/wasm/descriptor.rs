//! What `describe` answered: JSON into a [`Declaration`], every problem named at once.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use crate::edges::Failure;
use crate::model::{Columns, Declaration, IndexDeclaration};

/// The contract's version that this host serves.
const CONTRACT: &str = "0.1";
const DESCRIPTOR_BYTES_MAX: usize = 1 << 20;
const INDEXES_MAX: usize = 64;
const TABLES_MAX: usize = 256;
const QUERIES_MAX: usize = 256;
const QUERY_BYTES_MAX: usize = 64 << 10;
const NAME_BYTES_MAX: usize = 100;
const IDENTIFIER_BYTES_MAX: usize = 63;
const KEYS_MAX: usize = 32;
const READS_MAX: usize = 64;
const MAPPING_DEPTH_MAX: usize = 20;

/// Reads and checks a descriptor; `what` names the builder in errors.
pub(super) fn read(what: &str, text: &str) -> Result<Declaration, Failure> {
    let refused = |problems: String| {
        Failure::fatal(format!("{what}: its descriptor cannot be used: {problems}"))
            .with_advice("wit/v1/descriptor.schema.json says what a descriptor may hold")
    };
    if text.len() > DESCRIPTOR_BYTES_MAX {
        return Err(refused(format!("{} bytes, at most {DESCRIPTOR_BYTES_MAX}", text.len())));
    }
    let declaration: Declaration = serde_json::from_str(text).map_err(|error| refused(error.to_string()))?;
    let problems = problems(&declaration);
    if problems.is_empty() { Ok(declaration) } else { Err(refused(problems.join("; "))) }
}

fn problems(declaration: &Declaration) -> Vec<String> {
    let mut problems = Vec::new();
    let mut problem = |text: String| problems.push(text);
    if declaration.contract != CONTRACT {
        problem(format!("contract {:?}, this host serves {CONTRACT:?}", declaration.contract));
    }
    let tables: usize = declaration.indexes.iter().map(|index| index.tables.len()).sum();
    for (name, found, most) in [
        ("indexes", declaration.indexes.len(), INDEXES_MAX),
        ("tables in all", tables, TABLES_MAX),
        ("queries", declaration.queries.len(), QUERIES_MAX),
    ] {
        if found > most {
            problem(format!("{found} {name}, at most {most}"));
        }
    }
    if declaration.indexes.is_empty() {
        problem("no index".to_owned());
    }
    let mut names = HashSet::new();
    for index in &declaration.indexes {
        if !names.insert(&index.name) {
            problem(format!("index {:?} twice", shown(&index.name)));
        }
    }
    for (name, text) in &declaration.queries {
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
            problem(format!("query name {:?} is empty, too long or unprintable", shown(name)));
        }
        if text.trim().is_empty() || text.len() > QUERY_BYTES_MAX || text.contains('\0') {
            problem(format!(
                "query {:?} is empty, longer than {QUERY_BYTES_MAX} bytes, or holds a zero byte",
                shown(name)
            ));
        }
    }
    for index in &declaration.indexes {
        index_problems(declaration, index, &mut problem);
    }
    problems
}

fn index_problems(declaration: &Declaration, index: &IndexDeclaration, problem: &mut impl FnMut(String)) {
    let name = shown(&index.name);
    if !is_index_name(&index.name) {
        problem(format!(
            "index name {name:?} is not a lower-case letter or digit followed by up to 99 of a-z, 0-9, _ and -, or begins \
             with docmill"
        ));
    }
    if !index.mapping.is_object() || depth(&index.mapping) > MAPPING_DEPTH_MAX {
        problem(format!("index {name}: its mapping is no object, or nested deeper than {MAPPING_DEPTH_MAX}"));
    }
    if index.settings.as_ref().is_some_and(|settings| !settings.is_object()) {
        problem(format!("index {name}: its settings are no object"));
    }
    if index.routing.as_ref().is_some_and(|routing| routing.until.is_empty() || routing.until.len() > 8) {
        problem(format!("index {name}: routing.until is empty or longer than 8 bytes"));
    }
    if !index.tables.iter().any(|table| table.root) {
        problem(format!("index {name}: no table is its root"));
    }
    if index.reads.len() > READS_MAX {
        problem(format!("index {name}: {} reads, at most {READS_MAX}", index.reads.len()));
    }
    for read in &index.reads {
        if !declaration.queries.contains_key(read) {
            problem(format!("index {name}: read {:?} is not among the queries", shown(read)));
        }
    }
    let mut tables: HashMap<(&Option<String>, &str), ()> = HashMap::new();
    for table in &index.tables {
        let at = format!("index {name}, table {:?}", shown(&table.table));
        if tables.insert((&table.schema, &table.table), ()).is_some() {
            problem(format!("{at}: twice"));
        }
        let listed: &[String] = match &table.columns {
            Columns::Any => &[],
            Columns::Listed(columns) => columns,
        };
        let identifiers = [&table.table].into_iter().chain(&table.schema).chain(&table.keys).chain(listed);
        for identifier in identifiers {
            if identifier.is_empty() || identifier.len() > IDENTIFIER_BYTES_MAX || identifier.contains('\0') {
                problem(format!("{at}: {:?} is no name of PostgreSQL", shown(identifier)));
            }
        }
        if table.keys.is_empty() && (table.root || !table.everything) {
            problem(format!("{at}: no keys"));
        }
        if table.keys.len() > KEYS_MAX {
            problem(format!("{at}: {} keys, at most {KEYS_MAX}", table.keys.len()));
        }
    }
}

/// `[a-z0-9][a-z0-9_-]{0,99}`, and not one of ours.
fn is_index_name(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut bytes = name.bytes();
    bytes.next().is_some_and(letter)
        && bytes.all(|byte| letter(byte) || byte == b'_' || byte == b'-')
        && name.len() <= NAME_BYTES_MAX
        && !name.starts_with("docmill")
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn shown(name: &str) -> String {
    name.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn descriptor() -> Value {
        json!({ "contract": "0.1", "indexes": [{ "name": "users", "mapping": {}, "reads": ["users"],
            "tables": [{ "table": "users", "keys": ["id"], "root": true }] }],
            "queries": { "users": "select id from users where id = any($1)" } })
    }

    #[test]
    fn a_good_descriptor_is_read() {
        assert_eq!(read("b", &descriptor().to_string()).unwrap().indexes[0].tables[0].columns, Columns::Any);
    }

    #[test]
    fn a_key_that_the_host_does_not_know_is_refused_by_name() {
        let mut unknown = descriptor();
        unknown["indexes"][0]["shards"] = json!(3);
        assert!(read("b", &unknown.to_string()).unwrap_err().message().contains("shards"));
    }

    #[test]
    fn every_problem_is_named_at_once() {
        let mut bad = descriptor();
        bad["contract"] = json!("9");
        bad["indexes"][0]["name"] = json!("Users");
        bad["indexes"][0]["reads"] = json!(["nothing"]);
        bad["indexes"][0]["tables"][0]["root"] = json!(false);
        bad["queries"]["users"] = json!(" ");
        let message = read("b", &bad.to_string()).unwrap_err().to_string();
        for part in ["contract", "\"Users\"", "\"nothing\"", "root", "query \"users\""] {
            assert!(message.contains(part), "{part} in {message}");
        }
    }

    #[test]
    fn an_index_name_can_be_nothing_but_a_name() {
        for bad in ["", "_a", "A", "a.b", "a/b", "../a", "a\nb", "docmill-state", &"a".repeat(101)] {
            assert!(!is_index_name(bad), "{bad}");
        }
        assert!(is_index_name("a-1_b"));
    }
}
