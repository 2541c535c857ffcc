//! What `describe` answered: JSON into a [`Declaration`], every problem named at once, each with its path.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::declaration_check::{DESCRIPTOR_BYTES_MAX, problems_of};
use super::printable::printable;
use crate::edges::Failure;
use crate::model::{Declaration, IndexDeclaration, RowForm, TableDeclaration};

/// Problems that are shown of many.
const PROBLEMS_SHOWN_MAX: usize = 20;
/// Bytes of one problem, which may quote a name of the descriptor.
const PROBLEM_BYTES_MAX: usize = 300;

/// Reads and checks a descriptor; `what` names the builder in errors.
///
/// # Errors
///
/// `Fatal`, naming all problems.
pub(super) fn read(what: &str, text: &str) -> Result<Declaration, Failure> {
    let refused = |problems: Vec<String>| {
        let mut shown: Vec<String> =
            problems.iter().take(PROBLEMS_SHOWN_MAX).map(|problem| printable(problem, PROBLEM_BYTES_MAX)).collect();
        if problems.len() > PROBLEMS_SHOWN_MAX {
            shown.push(format!("and {} more", problems.len() - PROBLEMS_SHOWN_MAX));
        }
        Failure::fatal(format!("{what}: its descriptor cannot be used: {}", shown.join("; ")))
            .with_advice("wit/v1/descriptor.schema.json says what a descriptor may hold")
    };
    if text.len() > DESCRIPTOR_BYTES_MAX {
        return Err(refused(vec![format!("it has {} bytes, at most {DESCRIPTOR_BYTES_MAX} are possible", text.len())]));
    }
    let value: Value = serde_json::from_str(text).map_err(|error| refused(vec![format!("it is no JSON: {error}")]))?;
    let mut reader = Reader::default();
    let declaration = reader.declaration(value);
    let mut problems = reader.problems;
    if let Some(declaration) = &declaration {
        problems.extend(problems_of(declaration));
    }
    match declaration {
        Some(declaration) if problems.is_empty() => Ok(declaration),
        _ => Err(refused(problems)),
    }
}

/// Reads part by part, so that one part's problem does not hide another's.
#[derive(Default)]
struct Reader {
    problems: Vec<String>,
}

impl Reader {
    /// What could be read; parts with a problem are left out, and the problem is noted.
    fn declaration(&mut self, value: Value) -> Option<Declaration> {
        let mut fields = self.fields("", value, &["contract", "rows", "indexes", "queries"])?;
        let contract: Option<String> = self.required("contract", &mut fields, "contract");
        let rows: Option<RowForm> = self.optional("rows", &mut fields, "rows");
        let queries: Option<BTreeMap<String, String>> = self.optional("queries", &mut fields, "queries");
        let indexes: Vec<Value> = self.required("indexes", &mut fields, "indexes").unwrap_or_default();
        let indexes = indexes.into_iter().enumerate();
        let indexes: Vec<_> = indexes.map(|(place, value)| self.index(&format!("indexes[{place}]"), value)).collect();
        Some(Declaration {
            contract: contract?,
            rows: rows.unwrap_or_default(),
            indexes: indexes.into_iter().collect::<Option<_>>()?,
            queries: queries.unwrap_or_default(),
        })
    }

    fn index(&mut self, path: &str, value: Value) -> Option<IndexDeclaration> {
        let known = ["name", "mapping", "settings", "tables", "reads", "routing"];
        let mut fields = self.fields(path, value, &known)?;
        let tables: Option<Vec<Value>> = self.required(&format!("{path}.tables"), &mut fields, "tables");
        let tables = tables.unwrap_or_default().into_iter().enumerate();
        let tables: Vec<_> =
            tables.map(|(place, value)| self.table(&format!("{path}.tables[{place}]"), value)).collect();
        if let Some(routing) = fields.remove("routing") {
            let routing = self.fields(&format!("{path}.routing"), routing, &["until"])?;
            fields.insert("routing".to_owned(), Value::Object(routing));
        }
        fields.insert("tables".to_owned(), Value::Array(Vec::new()));
        let index: Option<IndexDeclaration> = self.typed(path, Value::Object(fields));
        let mut index = index?;
        index.tables = tables.into_iter().collect::<Option<_>>()?;
        Some(index)
    }

    fn table(&mut self, path: &str, value: Value) -> Option<TableDeclaration> {
        let known = ["table", "schema", "keys", "columns", "root", "everything"];
        let mut fields = self.fields(path, value, &known)?;
        // A table of which any change concerns everything needs no keys.
        fields.entry("keys").or_insert_with(|| Value::Array(Vec::new()));
        self.typed(path, Value::Object(fields))
    }

    /// The fields of an object, without those that are not known, which are problems.
    fn fields(&mut self, path: &str, value: Value, known: &[&str]) -> Option<Map<String, Value>> {
        let Value::Object(mut fields) = value else {
            let path = if path.is_empty() { "the whole" } else { path };
            self.problems.push(format!("{path} is no object"));
            return None;
        };
        let unknown: Vec<String> = fields.keys().filter(|key| !known.contains(&key.as_str())).cloned().collect();
        for key in unknown {
            fields.remove(&key);
            let dot = if path.is_empty() { "" } else { "." };
            let close = known.iter().max_by(|a, b| strsim::jaro(a, &key).total_cmp(&strsim::jaro(b, &key)));
            let hint = match close {
                Some(close) if strsim::jaro(close, &key) > 0.8 => format!(", did you mean {close}"),
                _ => String::new(),
            };
            self.problems.push(format!("{path}{dot}{key} is not known to this host{hint}"));
        }
        Some(fields)
    }

    fn required<T: DeserializeOwned>(&mut self, path: &str, fields: &mut Map<String, Value>, key: &str) -> Option<T> {
        if !fields.contains_key(key) {
            self.problems.push(format!("{path} is missing"));
        }
        self.optional(path, fields, key)
    }

    fn optional<T: DeserializeOwned>(&mut self, path: &str, fields: &mut Map<String, Value>, key: &str) -> Option<T> {
        let value = fields.remove(key)?;
        self.typed(path, value)
    }

    fn typed<T: DeserializeOwned>(&mut self, path: &str, value: Value) -> Option<T> {
        match serde_json::from_value(value) {
            Ok(typed) => Some(typed),
            Err(error) => {
                self.problems.push(format!("{path}: {error}"));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::Columns;

    fn descriptor() -> Value {
        json!({ "contract": "0.1", "indexes": [{ "name": "users", "mapping": {}, "reads": ["users"],
            "tables": [{ "table": "users", "keys": ["id"], "root": true }, { "table": "rates", "everything": true }] }],
            "queries": { "users": "select id from users where id = any($1)" } })
    }

    fn refusal(descriptor: &Value) -> String {
        read("b", &descriptor.to_string()).unwrap_err().to_string()
    }

    #[test]
    fn a_good_descriptor_is_read() {
        let declaration = read("b", &descriptor().to_string()).unwrap();
        assert_eq!(declaration.indexes[0].tables[0].columns, Columns::Any);
        assert!(declaration.indexes[0].tables[1].keys.is_empty());
    }

    #[test]
    fn keys_that_the_host_does_not_know_are_refused_by_their_paths() {
        let mut bad = descriptor();
        bad["version"] = json!(1);
        bad["indexes"][0]["shards"] = json!(3);
        bad["indexes"][0]["routing"] = json!({ "until": "|", "by": "x" });
        bad["indexes"][0]["tables"][1]["key"] = json!(["id"]);
        let message = refusal(&bad);
        for path in ["version", "indexes[0].shards", "indexes[0].routing.by", "indexes[0].tables[1].key "] {
            assert!(message.contains(path), "{path} in {message}");
        }
        assert!(message.contains("did you mean keys"), "{message}");
    }

    #[test]
    fn problems_of_different_parts_do_not_hide_each_other() {
        let mut bad = descriptor();
        bad["contract"] = json!(1);
        bad["rows"] = json!("cells");
        bad["indexes"][0]["tables"][0]["keys"] = json!("id");
        bad["indexes"][0]["tables"][1] = json!("rates");
        let message = refusal(&bad);
        for part in ["contract: ", "rows: ", "indexes[0].tables[0]: ", "indexes[0].tables[1] is no object"] {
            assert!(message.contains(part), "{part} in {message}");
        }
    }

    #[test]
    fn what_is_no_descriptor_at_all_is_refused() {
        for bad in ["", "[]", "null", "{", "{}"] {
            assert!(read("b", bad).is_err(), "{bad}");
        }
        let huge = format!("{{\"a\":\"{}\"}}", "x".repeat(DESCRIPTOR_BYTES_MAX));
        assert!(read("b", &huge).unwrap_err().message().contains("bytes"));
        assert!(read("b", &"[".repeat(100_000)).is_err());
    }
}
