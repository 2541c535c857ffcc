//! What a builder may ask of an index, and how its mapping compares with the one that is there. Plain functions.

use serde_json::{Map, Value, json};

use super::sink::Engine;
use crate::edges::Failure;
use crate::model::IndexDeclaration;

/// Settings that a builder may ask for.
const SETTINGS: [&str; 6] =
    ["number_of_shards", "number_of_replicas", "refresh_interval", "codec", "max_result_window", "analysis"];

/// Parts of a mapping that reach beyond the documents of the index.
const NOT_IN_A_MAPPING: [&str; 5] = ["runtime", "_meta", "_routing", "dynamic_templates", "_source"];

/// Twice the longest time for which an older write may still arrive: a deletion's version is remembered for as long.
const GC_DELETES: &str = "240s";

/// The mapping to put: strict where the builder does not say otherwise, and with the types that this engine knows.
pub(super) fn mapping(index: &IndexDeclaration, engine: Engine) -> Result<Value, Failure> {
    let refused = |what: String| {
        Failure::fatal(format!("index {}: its mapping {what}", index.name)).with_advice("mend the builder's descriptor")
    };
    let Value::Object(mut mapping) = index.mapping.clone() else { return Err(refused("is no object".to_owned())) };
    if let Some(part) = NOT_IN_A_MAPPING.iter().find(|part| mapping.contains_key(**part)) {
        return Err(refused(format!("has {part}, which no builder may set")));
    }
    if mentions(&Value::Object(mapping.clone()), "semantic_text") {
        return Err(refused("has a field of type semantic_text, which calls out of the search engine".to_owned()));
    }
    mapping.entry("dynamic").or_insert_with(|| json!("strict"));
    let mut mapping = Value::Object(mapping);
    if engine == Engine::Elasticsearch {
        translate(&mut mapping);
    }
    Ok(mapping)
}

fn mentions(value: &Value, kind: &str) -> bool {
    match value {
        Value::Object(fields) => {
            fields.get("type").is_some_and(|found| found == kind) || fields.values().any(|field| mentions(field, kind))
        }
        _ => false,
    }
}

/// The same type has two names.
fn translate(value: &mut Value) {
    if let Value::Object(fields) = value {
        if fields.get("type").is_some_and(|kind| kind == "flat_object") {
            fields.insert("type".to_owned(), json!("flattened"));
        }
        fields.values_mut().for_each(translate);
    }
}

/// The settings to make the index with.
pub(super) fn settings(index: &IndexDeclaration) -> Result<Value, Failure> {
    let mut settings = Map::new();
    if let Some(Value::Object(asked)) = &index.settings {
        for (name, value) in asked {
            let short = name.strip_prefix("index.").unwrap_or(name);
            let allowed = SETTINGS.contains(&short) || short.starts_with("sort.") || short.starts_with("analysis.");
            if !allowed || reaches_for_files(short, value) {
                return Err(Failure::fatal(format!(
                    "index {}: setting {short} is not one that a builder may ask for",
                    index.name
                ))
                .with_advice(format!("allowed are {}, sort.* and analysis.* without files", SETTINGS.join(", "))));
            }
            settings.insert(short.to_owned(), value.clone());
        }
    }
    settings.insert("gc_deletes".to_owned(), json!(GC_DELETES));
    Ok(json!({ "index": settings }))
}

fn reaches_for_files(name: &str, value: &Value) -> bool {
    name.ends_with("_path")
        || match value {
            Value::Object(fields) => fields.iter().any(|(name, value)| reaches_for_files(name, value)),
            _ => false,
        }
}

/// How a wanted mapping compares with the one that is there.
#[derive(Debug, PartialEq)]
pub(super) enum Difference {
    /// Nothing to do.
    None,
    /// Only fields are added: it can be put in place.
    Added,
    /// This field is another: it needs another index.
    Changed(String),
}

/// Compares `wanted` with what the search engine says is `there`.
pub(super) fn compare(wanted: &Value, there: &Value) -> Difference {
    let mut added = false;
    match fields(&wanted["properties"], &there["properties"], "", &mut added) {
        Some(changed) => Difference::Changed(changed),
        None if text(&wanted["dynamic"]) != text(&there["dynamic"]) => Difference::Changed("dynamic".to_owned()),
        None if added => Difference::Added,
        None => Difference::None,
    }
}

fn fields(wanted: &Value, there: &Value, path: &str, added: &mut bool) -> Option<String> {
    let empty = Map::new();
    let (wanted, there) = (wanted.as_object().unwrap_or(&empty), there.as_object().unwrap_or(&empty));
    if let Some(gone) = there.keys().find(|name| !wanted.contains_key(*name)) {
        return Some(format!("{path}{gone}"));
    }
    wanted.iter().find_map(|(name, wanted)| {
        let here = format!("{path}{name}");
        let Some(there) = there.get(name) else {
            *added = true;
            return None;
        };
        let parts = |field: &Value| {
            let mut parts = field.as_object().cloned().unwrap_or_default();
            parts.remove("properties");
            // The engine leaves out what is the default.
            if parts.get("type").is_some_and(|kind| kind == "object") {
                parts.remove("type");
            }
            parts.into_iter().map(|(name, value)| (name, text(&value))).collect::<std::collections::BTreeMap<_, _>>()
        };
        if parts(wanted) != parts(there) {
            return Some(here);
        }
        fields(&wanted["properties"], &there["properties"], &format!("{here}."), added)
    })
}

/// Engines give back `true` as `"true"` and numbers as text in places.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(mapping: Value, settings: Option<Value>) -> IndexDeclaration {
        IndexDeclaration { name: "users".into(), mapping, settings, tables: vec![], reads: vec![], routing: None }
    }

    #[test]
    fn a_mapping_that_only_adds_fields_is_told_from_one_that_changes_them() {
        let there = json!({ "dynamic": "strict", "properties": {
            "id": { "type": "long" }, "o": { "properties": { "a": { "type": "keyword" } } } } });
        assert_eq!(compare(&there, &there), Difference::None);
        let mut more = there.clone();
        more["properties"]["o"]["properties"]["b"] = json!({ "type": "keyword" });
        assert_eq!(compare(&more, &there), Difference::Added);
        assert_eq!(compare(&there, &more), Difference::Changed("o.b".into()));
        let mut other = there.clone();
        other["properties"]["o"]["properties"]["a"]["type"] = json!("text");
        assert_eq!(compare(&other, &there), Difference::Changed("o.a".into()));
    }

    #[test]
    fn a_builder_cannot_reach_beyond_its_documents() {
        for bad in [
            json!({ "runtime": {} }),
            json!({ "_source": { "enabled": false } }),
            json!({ "properties": { "a": { "type": "semantic_text" } } }),
        ] {
            assert!(mapping(&index(bad, None), Engine::OpenSearch).is_err());
        }
        for bad in [
            json!({ "default_pipeline": "x" }),
            json!({ "index.blocks.write": true }),
            json!({ "analysis": { "filter": { "s": { "synonyms_path": "/etc/passwd" } } } }),
        ] {
            assert!(settings(&index(json!({}), Some(bad))).is_err());
        }
        assert!(settings(&index(json!({}), Some(json!({ "number_of_shards": 3 })))).is_ok());
    }

    #[test]
    fn a_mapping_is_strict_and_speaks_the_engines_language() {
        let mapping =
            mapping(&index(json!({ "properties": { "a": { "type": "flat_object" } } }), None), Engine::Elasticsearch);
        assert_eq!(mapping.unwrap(), json!({ "properties": { "a": { "type": "flattened" } }, "dynamic": "strict" }));
    }
}
