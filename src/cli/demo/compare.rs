//! The end of the demo: every document against what plain SQL says it must be, field by field.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use serde_json::Value;
use tokio_postgres::Client;

use crate::embedded::SHOP_DOCUMENTS;

/// Differences that are spelled out; all are counted.
const SHOWN_MAX: usize = 10;

/// What the comparison found.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    /// Documents that are as they must be.
    pub equal: usize,
    /// Documents that are not.
    pub different: usize,
    /// The first differences.
    pub shown: Vec<String>,
}

/// What each document of each index must be, by SQL.
pub(super) async fn expected(client: &Client) -> anyhow::Result<Vec<(String, BTreeMap<String, Value>)>> {
    let mut all = Vec::new();
    for part in SHOP_DOCUMENTS.split("-- index \"").skip(1) {
        let Some((index, rest)) = part.split_once('"') else { bail!("documents.sql names no index") };
        // What follows the name up to the end of its line is a comment.
        let statement = rest.split_once('\n').map_or("", |(_, statement)| statement).trim().trim_end_matches(';');
        let rows = client
            .query(&format!("select id, document::text from (\n{statement}\n) as expected"), &[])
            .await
            .with_context(|| format!("failed to ask SQL what the documents of {index} must be"))?;
        let documents = rows
            .iter()
            .map(|row| Ok((row.try_get(0)?, serde_json::from_str(row.try_get(1)?)?)))
            .collect::<anyhow::Result<BTreeMap<String, Value>>>()?;
        all.push((index.to_owned(), documents));
    }
    Ok(all)
}

impl Comparison {
    /// Compares one index.
    pub(super) fn add(&mut self, index: &str, expected: &BTreeMap<String, Value>, found: &BTreeMap<String, Value>) {
        for (id, must) in expected {
            let mut fields = Vec::new();
            match found.get(id) {
                Some(is) => walk(String::new(), Some(must), Some(is), &mut fields),
                None => fields.push(": it is missing".to_owned()),
            }
            self.count(index, id, fields);
        }
        for id in found.keys().filter(|id| !expected.contains_key(*id)) {
            self.count(index, id, vec![": it must not be there".to_owned()]);
        }
    }

    fn count(&mut self, index: &str, id: &str, fields: Vec<String>) {
        if fields.is_empty() {
            self.equal += 1;
            return;
        }
        self.different += 1;
        let room = SHOWN_MAX.saturating_sub(self.shown.len());
        self.shown.extend(fields.into_iter().take(room).map(|field| format!("{index}/{id}{field}")));
    }
}

/// Where two values differ. Numbers compare as numbers (1.50 is 1.5), arrays in order, everything else exactly.
fn walk(path: String, must: Option<&Value>, is: Option<&Value>, into: &mut Vec<String>) {
    match (must, is) {
        (Some(Value::Object(must)), Some(Value::Object(is))) => {
            for (name, value) in must {
                walk(format!("{path}.{name}"), Some(value), is.get(name), into);
            }
            for (name, value) in is.iter().filter(|(name, _)| !must.contains_key(*name)) {
                walk(format!("{path}.{name}"), None, Some(value), into);
            }
        }
        (Some(Value::Array(must)), Some(Value::Array(is))) => {
            for place in 0..must.len().max(is.len()) {
                walk(format!("{path}[{place}]"), must.get(place), is.get(place), into);
            }
        }
        (Some(must), Some(is)) if same(must, is) => {}
        (must, is) => {
            let text = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), Value::to_string);
            into.push(format!("{path}: SQL says {}, the document says {}", text(must), text(is)));
        }
    }
}

fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        // Whole numbers exactly: as doubles, neighbours above 2^53 would pass for each other.
        (Value::Number(one), Value::Number(other)) if one.is_f64() || other.is_f64() => one.as_f64() == other.as_f64(),
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn compare(must: Value, is: Value) -> Comparison {
        let one = |document| BTreeMap::from([("1".to_owned(), document)]);
        let mut comparison = Comparison::default();
        comparison.add("users", &one(must), &one(is));
        comparison
    }

    #[test]
    fn equal_documents_may_write_numbers_and_fields_in_other_ways() {
        let comparison = compare(json!({ "a": 1.5, "b": [1, null] }), json!({ "b": [1.0, null], "a": 1.50 }));
        assert_eq!((comparison.equal, comparison.different), (1, 0));
    }

    #[test]
    fn every_difference_is_named_by_its_path() {
        let comparison = compare(json!({ "a": { "b": [1, 2] }, "c": null }), json!({ "a": { "b": [1] }, "d": "x" }));
        assert_eq!(
            comparison.shown,
            [
                "users/1.a.b[1]: SQL says 2, the document says nothing",
                "users/1.c: SQL says null, the document says nothing",
                "users/1.d: SQL says nothing, the document says \"x\"",
            ]
        );
        let mut comparison = Comparison::default();
        let one = BTreeMap::from([("1".to_owned(), json!({}))]);
        comparison.add("users", &one, &BTreeMap::new());
        comparison.add("users", &BTreeMap::new(), &one);
        assert_eq!(comparison.different, 2);
    }
}
