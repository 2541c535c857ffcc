//! Whether a declaration says what can be: its counts, its names, and that its parts name each other.

use std::collections::HashSet;

use serde_json::Value;

use super::printable::printable;
use crate::model::{Columns, Declaration, IndexDeclaration, TableDeclaration};

/// The contract's version that this host serves.
const CONTRACT: &str = "0.1";
/// Bytes of a whole descriptor.
pub(super) const DESCRIPTOR_BYTES_MAX: usize = 1 << 20;
const INDEXES_MAX: usize = 64;
const TABLES_MAX: usize = 256;
const KEYS_MAX: usize = 32;
const COLUMNS_MAX: usize = 1600;
const READS_MAX: usize = 64;
const QUERIES_MAX: usize = 256;
const QUERY_BYTES_MAX: usize = 64 << 10;
const QUERY_NAME_BYTES_MAX: usize = 255;
const INDEX_NAME_BYTES_MAX: usize = 100;
/// PostgreSQL cuts longer names.
const IDENTIFIER_BYTES_MAX: usize = 63;
const ROUTING_BYTES_MAX: usize = 8;
const MAPPING_DEPTH_MAX: usize = 20;
/// Bytes of a name that are shown.
const SHOWN_BYTES_MAX: usize = 80;

/// Every problem of it.
pub(super) fn problems_of(declaration: &Declaration) -> Vec<String> {
    let mut problems = Vec::new();
    if declaration.contract != CONTRACT {
        let found = shown(&declaration.contract);
        problems.push(format!("contract is \"{found}\", and this host serves \"{CONTRACT}\""));
    }
    if declaration.indexes.is_empty() {
        problems.push("indexes is empty".to_owned());
    }
    at_most("indexes", declaration.indexes.len(), INDEXES_MAX, &mut problems);
    at_most("queries", declaration.queries.len(), QUERIES_MAX, &mut problems);
    for (name, text) in &declaration.queries {
        query(name, text, &mut problems);
    }
    let mut names = HashSet::new();
    for declared in &declaration.indexes {
        if !names.insert(&declared.name) {
            problems.push(format!("index \"{}\" is declared twice", shown(&declared.name)));
        }
        index(declaration, declared, &mut problems);
    }
    problems
}

fn query(name: &str, text: &str, problems: &mut Vec<String>) {
    let shown = shown(name);
    if name.is_empty() || name.len() > QUERY_NAME_BYTES_MAX || name.chars().any(char::is_control) {
        problems.push(format!(
            "the query name \"{shown}\" is empty, longer than {QUERY_NAME_BYTES_MAX} bytes or holds a control character"
        ));
    }
    if text.trim().is_empty() {
        problems.push(format!("query \"{shown}\" is empty"));
    }
    if text.contains('\0') {
        problems.push(format!("query \"{shown}\" holds a zero byte"));
    }
    at_most(&format!("bytes of query \"{shown}\""), text.len(), QUERY_BYTES_MAX, problems);
}

fn index(declaration: &Declaration, index: &IndexDeclaration, problems: &mut Vec<String>) {
    let at = format!("index \"{}\"", shown(&index.name));
    if !is_index_name(&index.name) {
        problems.push(format!(
            "{at}: an index name is 1 to {INDEX_NAME_BYTES_MAX} of a-z, 0-9, _ and -, begins with none of the last two \
             and not with docmill"
        ));
    }
    for (part, value) in [("mapping", Some(&index.mapping)), ("settings", index.settings.as_ref())] {
        let Some(value) = value else { continue };
        if !value.is_object() {
            problems.push(format!("{at}: its {part} is no object"));
        }
        if depth(value) > MAPPING_DEPTH_MAX {
            problems.push(format!("{at}: its {part} is nested deeper than {MAPPING_DEPTH_MAX}"));
        }
    }
    if index.routing.as_ref().is_some_and(|routing| !(1..=ROUTING_BYTES_MAX).contains(&routing.until.len())) {
        problems.push(format!("{at}: routing.until is empty or longer than {ROUTING_BYTES_MAX} bytes"));
    }
    at_most(&format!("{at}: reads"), index.reads.len(), READS_MAX, problems);
    for read in index.reads.iter().filter(|read| !declaration.queries.contains_key(*read)) {
        problems.push(format!("{at}: its read \"{}\" is not among the queries", shown(read)));
    }
    if !index.tables.iter().any(|table| table.root) {
        problems.push(format!("{at}: none of its tables is a root"));
    }
    at_most(&format!("{at}: tables"), index.tables.len(), TABLES_MAX, problems);
    let mut tables = HashSet::new();
    for declared in &index.tables {
        let at = format!("{at}, table \"{}\"", shown(&declared.table));
        if !tables.insert((&declared.schema, &declared.table)) {
            problems.push(format!("{at}: it is declared twice"));
        }
        table(&at, declared, problems);
    }
}

fn table(at: &str, table: &TableDeclaration, problems: &mut Vec<String>) {
    let listed: &[String] = match &table.columns {
        Columns::Any => &[],
        Columns::Listed(columns) => columns,
    };
    let names = [&table.table].into_iter().chain(&table.schema).chain(&table.keys).chain(listed);
    for name in names.filter(|name| !is_identifier(name)) {
        problems.push(format!("{at}: \"{}\" cannot be a name in PostgreSQL", shown(name)));
    }
    if table.keys.is_empty() && (table.root || !table.everything) {
        problems.push(format!("{at}: it has no keys"));
    }
    at_most(&format!("{at}: keys"), table.keys.len(), KEYS_MAX, problems);
    at_most(&format!("{at}: columns"), listed.len(), COLUMNS_MAX, problems);
    for (part, columns) in [("keys", table.keys.as_slice()), ("columns", listed)] {
        let mut seen = HashSet::new();
        for column in columns.iter().filter(|column| !seen.insert(*column)) {
            problems.push(format!("{at}: \"{}\" is twice in its {part}", shown(column)));
        }
    }
}

fn at_most(what: &str, found: usize, most: usize, problems: &mut Vec<String>) {
    if found > most {
        problems.push(format!("{what}: there are {found}, at most {most} are possible"));
    }
}

/// `[a-z0-9][a-z0-9_-]{0,99}`, and not one of docmill's own.
fn is_index_name(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut bytes = name.bytes();
    bytes.next().is_some_and(letter)
        && bytes.all(|byte| letter(byte) || byte == b'_' || byte == b'-')
        && name.len() <= INDEX_NAME_BYTES_MAX
        && !name.starts_with("docmill")
}

fn is_identifier(name: &str) -> bool {
    !name.is_empty() && name.len() <= IDENTIFIER_BYTES_MAX && !name.contains('\0')
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn shown(name: &str) -> String {
    printable(name, SHOWN_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn declaration(change: impl FnOnce(&mut Value)) -> Declaration {
        let mut value = json!({ "contract": "0.1", "indexes": [{ "name": "users", "mapping": {}, "reads": ["users"],
            "tables": [{ "table": "users", "keys": ["id"], "root": true }] }],
            "queries": { "users": "select id from users where id = any($1)" } });
        change(&mut value);
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn every_problem_is_named_at_once() {
        let bad = declaration(|value| {
            value["contract"] = json!("9");
            value["indexes"][0]["name"] = json!("Users");
            value["indexes"][0]["mapping"] = json!([]);
            value["indexes"][0]["reads"] = json!(["nothing"]);
            value["indexes"][0]["routing"] = json!({ "until": "" });
            value["indexes"][0]["tables"][0] = json!({ "table": "", "keys": ["a", "a"] });
            value["queries"]["users"] = json!(" ");
        });
        let problems = problems_of(&bad).join("\n");
        for part in ["\"9\"", "\"Users\"", "mapping", "\"nothing\"", "routing", "root", "\"\" cannot", "twice", "query"]
        {
            assert!(problems.contains(part), "{part} in {problems}");
        }
    }

    #[test]
    fn counts_have_limits() {
        let many = declaration(|value| {
            let index = value["indexes"][0].clone();
            let indexes = (0..65).map(|number| {
                let mut index = index.clone();
                index["name"] = json!(format!("i{number}"));
                index
            });
            value["indexes"] = indexes.collect();
            value["queries"] = (0..257).map(|number| (format!("q{number}"), json!("select 1"))).collect();
            value["queries"]["users"] = json!("x".repeat(QUERY_BYTES_MAX + 1));
        });
        let problems = problems_of(&many).join("\n");
        for part in ["indexes: there are 65", "queries: there are 258", "bytes of query \"users\""] {
            assert!(problems.contains(part), "{part} in {problems}");
        }
    }

    #[test]
    fn an_index_name_can_address_nothing_but_its_own_index() {
        for bad in ["", "_a", "-a", "A", "a.b", "a/b", "../a", "a\nb", "a,b", "a*", "docmill-state", &"a".repeat(101)] {
            assert!(!is_index_name(bad), "{bad}");
        }
        assert!(is_index_name("a-1_b") && is_index_name(&"a".repeat(100)));
    }

    #[test]
    fn a_mapping_nested_without_end_is_refused() {
        let deep = (0..30).fold(json!({}), |inner, _| json!({ "properties": inner }));
        let problems = problems_of(&declaration(|value| value["indexes"][0]["mapping"] = deep));
        assert_eq!(problems.len(), 1, "{problems:?}");
    }
}
