//! What a builder may ask of an index's mapping, and how what it declares now compares with what it declared before. Plain
//! functions.

use serde_json::{Value, json};

use super::Engine;
use crate::edges::Failure;
use crate::model::IndexDeclaration;

/// Parts that a mapping may have at its top.
const PARTS: [&str; 6] =
    ["properties", "dynamic", "date_detection", "numeric_detection", "dynamic_date_formats", "dynamic_templates"];

/// Types of fields that call out of the search engine.
const CALLS_OUT: [&str; 2] = ["semantic_text", "semantic"];

/// Bytes of a mapping as JSON; it is part of the cluster's state, on each of its nodes.
const MAPPING_BYTES_MAX: usize = 256 << 10;

/// The declared mapping, checked, in words that hold for every engine: strict where the builder does not say otherwise.
pub(super) fn declared(index: &IndexDeclaration) -> Result<Value, Failure> {
    let refused = |what: String| {
        Failure::fatal(format!("index {}: its mapping {what}", index.name)).with_advice("mend the builder's descriptor")
    };
    let Value::Object(mut mapping) = index.mapping.clone() else { return Err(refused("is no object".to_owned())) };
    let bytes = index.mapping.to_string().len();
    if bytes > MAPPING_BYTES_MAX {
        return Err(refused(format!("has {bytes} bytes, at most {MAPPING_BYTES_MAX} are possible")));
    }
    if let Some(part) = mapping.keys().find(|part| !PARTS.contains(&part.as_str())) {
        return Err(refused(format!("has {part}, which no builder may set (it may set {})", PARTS.join(", "))));
    }
    mapping.entry("dynamic").or_insert_with(|| json!("strict"));
    let mapping = Value::Object(mapping);
    check_fields(&mapping).map_err(refused)?;
    check_templates(&mapping["dynamic_templates"]).map_err(refused)?;
    Ok(mapping)
}

/// The checks of everything that has `properties` or `fields`, down to the leaves.
fn check_fields(holder: &Value) -> Result<(), String> {
    if holder["dynamic"] == "runtime" {
        return Err("asks for dynamic: runtime, whose fields are scripts".to_owned());
    }
    for part in ["properties", "fields"] {
        let Some(fields) = holder[part].as_object() else { continue };
        for (name, field) in fields {
            if !field.is_object() {
                return Err(format!("has a field {name} that is no object"));
            }
            check_field(name, field)?;
            check_fields(field)?;
        }
    }
    Ok(())
}

fn check_field(name: &str, field: &Value) -> Result<(), String> {
    if field.get("script").is_some() {
        return Err(format!("has a script in field {name}, which no builder may set"));
    }
    match field["type"].as_str() {
        Some(kind) if CALLS_OUT.contains(&kind) => {
            Err(format!("has field {name} of type {kind}, which calls out of the search engine"))
        }
        _ => Ok(()),
    }
}

fn check_templates(templates: &Value) -> Result<(), String> {
    if !templates.is_null() && !templates.is_array() {
        return Err("has dynamic templates that are no list".to_owned());
    }
    let all = templates.as_array().into_iter().flatten().filter_map(Value::as_object).flatten();
    for (name, template) in all {
        if template.get("runtime").is_some() {
            return Err(format!("has a runtime field in dynamic template {name}, which no builder may set"));
        }
        // The engine puts the names of a document's fields in their place, so that what is checked here were something else.
        if has_placeholder(&template["mapping"]) {
            return Err(format!("has a placeholder in the place of a type or a key in dynamic template {name}"));
        }
        check_field(name, &template["mapping"])?;
        check_fields(&template["mapping"])?;
    }
    Ok(())
}

fn has_placeholder(mapping: &Value) -> bool {
    let fields = mapping.as_object().into_iter().flatten();
    fields.into_iter().any(|(key, value)| {
        let named = key == "type" && value.as_str().is_some_and(|kind| kind.contains("{name}"));
        key.contains('{') || named || has_placeholder(value)
    })
}

/// A declared mapping in the words of this engine: one type has two names.
pub(super) fn spoken(declared: &Value, engine: Engine) -> Value {
    let mut mapping = declared.clone();
    if engine == Engine::Elasticsearch {
        translate(&mut mapping);
    }
    mapping
}

fn translate(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if fields.get("type").is_some_and(|kind| kind == "flat_object") {
                fields.insert("type".to_owned(), json!("flattened"));
            }
            fields.values_mut().for_each(translate);
        }
        Value::Array(values) => values.iter_mut().for_each(translate),
        _ => {}
    }
}

/// How what is declared now compares with what was declared before.
#[derive(Debug, PartialEq)]
pub(super) enum Difference {
    /// Nothing to do.
    None,
    /// Only fields are added, or what documents are not stored by: it can be put in place.
    Added,
    /// This is another: it needs another index.
    Changed(String),
}

/// Compares two declarations. What the search engine makes of one is no use for that: it leaves out defaults, turns numbers
/// and lists into other forms and sorts sub-fields.
pub(super) fn compare(now: &Value, before: &Value) -> Difference {
    let mut added = false;
    if let Some(changed) = fields(&now["properties"], &before["properties"], "", &mut added) {
        return Difference::Changed(format!("field {changed}"));
    }
    match PARTS.iter().find(|part| **part != "properties" && now[**part] != before[**part]) {
        Some(part) => Difference::Changed((*part).to_owned()),
        None if added => Difference::Added,
        None => Difference::None,
    }
}

fn fields(now: &Value, before: &Value, path: &str, added: &mut bool) -> Option<String> {
    if let Some(gone) = before.as_object().into_iter().flatten().find(|(name, _)| now.get(name).is_none()) {
        return Some(format!("{path}{}", gone.0));
    }
    now.as_object().into_iter().flatten().find_map(|(name, now)| {
        let here = format!("{path}{name}");
        let Some(before) = before.get(name) else {
            *added = true;
            return None;
        };
        let parts = |field: &Value| {
            let mut parts = field.as_object().cloned().unwrap_or_default();
            parts.shift_remove("properties");
            if parts.get("type").is_some_and(|kind| kind == "object") {
                // A field with `properties` is one, said or not.
                parts.shift_remove("type");
            }
            parts
        };
        if parts(now) != parts(before) {
            return Some(here);
        }
        fields(&now["properties"], &before["properties"], &format!("{here}."), added)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(mapping: Value) -> IndexDeclaration {
        IndexDeclaration { name: "users".into(), mapping, settings: None, tables: vec![], reads: vec![], routing: None }
    }

    #[test]
    fn a_mapping_that_only_adds_fields_is_told_from_one_that_changes_them() {
        let before = json!({ "dynamic": "strict", "properties": {
            "id": { "type": "long" }, "o": { "properties": { "a": { "type": "keyword", "ignore_above": 9 } } } } });
        assert_eq!(compare(&before, &before), Difference::None);
        let reordered: Value = serde_json::from_str(
            r#"{ "properties": { "o": { "type": "object", "properties": { "a": { "ignore_above": 9, "type": "keyword" } } },
                 "id": { "type": "long" } }, "dynamic": "strict" }"#,
        )
        .unwrap();
        assert_eq!(compare(&reordered, &before), Difference::None);
        let mut more = before.clone();
        more["properties"]["o"]["properties"]["b"] = json!({ "type": "keyword" });
        assert_eq!(compare(&more, &before), Difference::Added);
        assert_eq!(compare(&before, &more), Difference::Changed("field o.b".into()));
        let mut other = before.clone();
        other["properties"]["o"]["properties"]["a"]["type"] = json!("text");
        assert_eq!(compare(&other, &before), Difference::Changed("field o.a".into()));
        let mut loose = before.clone();
        loose["dynamic"] = json!(false);
        assert_eq!(compare(&loose, &before), Difference::Changed("dynamic".into()));
    }

    #[test]
    fn a_builder_cannot_reach_beyond_its_documents() {
        for bad in [
            json!([]),
            json!({ "runtime": {} }),
            json!({ "derived": {} }),
            json!({ "_source": { "enabled": false } }),
            json!({ "_meta": {} }),
            json!({ "_routing": { "required": true } }),
            json!({ "dynamic": "runtime" }),
            json!({ "properties": { "o": { "dynamic": "runtime" } } }),
            json!({ "properties": { "a": { "type": "semantic_text" } } }),
            json!({ "properties": { "o": { "properties": { "a": { "type": "text", "fields": { "s": { "type": "semantic" } } } } } } }),
            json!({ "properties": { "a": { "type": "long", "script": "emit(1)" } } }),
            json!({ "_doc": { "properties": {} } }),
            json!({ "_field_names": { "enabled": false } }),
            json!({ "properties": { "a": { "type": "text", "meta": { "x": "y".repeat(MAPPING_BYTES_MAX) } } } }),
            json!({ "dynamic_templates": { "t": { "mapping": { "script": "emit(1)" } } } }),
            json!({ "dynamic_templates": [{ "t": { "mapping": { "type": "{name}" } } }] }),
            json!({ "dynamic_templates": [{ "t": { "mapping": { "type": "long", "{name}": "emit(1)" } } }] }),
            json!({ "dynamic_templates": [{ "t": { "mapping": { "fields": { "f": { "{name}": {} } } } } }] }),
            json!({ "dynamic_templates": [{ "t": { "runtime": {} } }] }),
            json!({ "dynamic_templates": [{ "t": { "mapping": { "type": "long", "script": "emit(1)" } } }] }),
        ] {
            assert!(declared(&index(bad.clone())).is_err(), "{bad}");
        }
        // A field may have any of these words as its name.
        let names = json!({ "properties": { "script": { "type": "text" }, "type": { "properties": { "runtime": { "type": "long" } } } } });
        assert!(declared(&index(names)).is_ok());
        let copies = json!({ "dynamic_templates": [{ "t": { "match": "*_x", "mapping": { "type": "{dynamic_type}", "copy_to": "{name}" } } }] });
        assert!(declared(&index(copies)).is_ok());
    }

    #[test]
    fn a_mapping_is_strict_and_speaks_the_engines_language() {
        let mapping = declared(&index(json!({ "properties": { "a": { "type": "flat_object" } } }))).unwrap();
        let expected = json!({ "properties": { "a": { "type": "flattened" } }, "dynamic": "strict" });
        assert_eq!(spoken(&mapping, Engine::Elasticsearch), expected);
        assert_eq!(spoken(&mapping, Engine::OpenSearch), mapping);
    }
}
