//! What a builder may ask of an index's settings, flat (`analysis.analyzer.name.type`). Plain functions.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::mapping::Difference;
use crate::edges::Failure;
use crate::model::IndexDeclaration;

/// Settings that a builder may ask for, besides `analysis.*` and `sort.*`.
const ALLOWED: [&str; 5] = ["number_of_shards", "number_of_replicas", "refresh_interval", "codec", "max_result_window"];

/// Limits of the engine that a builder may lower, with the engine's own value.
const LIMITS: [(&str, u64); 4] = [
    ("mapping.total_fields.limit", 1_000),
    ("mapping.depth.limit", 20),
    ("mapping.nested_fields.limit", 50),
    ("mapping.nested_objects.limit", 10_000),
];

/// Those that can be changed on an index that is there.
const CHANGEABLE: [&str; 3] = ["number_of_replicas", "refresh_interval", "max_result_window"];

/// Levels of nesting that are read.
const DEPTH_MAX: usize = 16;

/// Flat names, without `index.` in front.
pub(super) type Settings = BTreeMap<String, Value>;

/// The declared settings, checked.
pub(super) fn declared(index: &IndexDeclaration) -> Result<Settings, Failure> {
    let mut settings = Settings::new();
    match &index.settings {
        None => {}
        Some(Value::Object(asked)) => {
            flatten("", asked, 0, &mut settings);
        }
        Some(_) => return Err(Failure::fatal(format!("index {}: its settings are no object", index.name))),
    }
    let bad: Vec<&str> =
        settings.iter().filter(|(name, value)| !allowed(name, value)).map(|(name, _)| name.as_str()).collect();
    if bad.is_empty() {
        return Ok(settings);
    }
    let limits: Vec<String> = LIMITS.iter().map(|(name, most)| format!("{name} up to {most}")).collect();
    Err(Failure::fatal(format!("index {}: a builder may not ask for setting {}", index.name, bad.join(", ")))
        .with_advice(format!(
            "allowed are {}, sort.*, analysis.* without files, {}",
            ALLOWED.join(", "),
            limits.join(", ")
        )))
}

fn flatten(path: &str, fields: &Map<String, Value>, depth: usize, into: &mut Settings) {
    for (name, value) in fields {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match value {
            Value::Object(inner) if depth < DEPTH_MAX => flatten(&path, inner, depth + 1, into),
            _ => {
                into.insert(path.strip_prefix("index.").unwrap_or(&path).to_owned(), value.clone());
            }
        }
    }
}

fn allowed(name: &str, value: &Value) -> bool {
    if value.is_object() || value.as_array().is_some_and(|values| values.iter().any(|value| !is_plain(value))) {
        return false;
    }
    if let Some((_, most)) = LIMITS.iter().find(|(limit, _)| *limit == name) {
        let asked = value.as_u64().or_else(|| value.as_str().and_then(|text| text.parse().ok()));
        return asked.is_some_and(|asked| asked <= *most);
    }
    // What is read from the engine's own disk is not a builder's to name.
    let names_a_file = |part: &str| part.ends_with("_path") || part.starts_with("user_dictionary");
    ALLOWED.contains(&name)
        || name.starts_with("sort.")
        || name.starts_with("analysis.") && !name.split('.').any(names_a_file)
}

fn is_plain(value: &Value) -> bool {
    !value.is_object() && !value.is_array()
}

/// Refuses an index whose translog is synced now and then: what it confirms can be lost.
pub(super) fn loses_writes(index: &str, durability: Option<&str>) -> Option<Failure> {
    durability.filter(|found| found.eq_ignore_ascii_case("async")).map(|_| {
        Failure::fatal(format!("index {index}: index.translog.durability is async, so what it confirms can be lost"))
            .with_advice(format!("PUT {index}/_settings {{\"index.translog.durability\":\"request\"}}"))
    })
}

/// Compares two declarations. `Added`: what differs can be changed on the index that is there.
pub(super) fn compare(now: &Settings, before: &Settings) -> Difference {
    let changed = differing(now, before);
    match changed.iter().find(|name| !CHANGEABLE.contains(name)) {
        Some(name) => Difference::Changed(format!("setting {name}")),
        None if changed.is_empty() => Difference::None,
        None => Difference::Added,
    }
}

/// The names that differ.
pub(super) fn differing<'a>(now: &'a Settings, before: &'a Settings) -> Vec<&'a str> {
    let text =
        |value: Option<&Value>| value.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    let names = now.keys().chain(before.keys().filter(|name| !now.contains_key(*name)));
    names.filter(|name| text(now.get(*name)) != text(before.get(*name))).map(String::as_str).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(settings: Value) -> Result<Settings, Failure> {
        declared(&IndexDeclaration {
            name: "users".into(),
            mapping: json!({}),
            settings: Some(settings),
            tables: vec![],
            reads: vec![],
            routing: None,
        })
    }

    #[test]
    fn a_builder_cannot_reach_beyond_its_index() {
        for bad in [
            json!({ "default_pipeline": "x" }),
            json!({ "index.blocks.write": true }),
            json!({ "index": { "lifecycle": { "name": "x" } } }),
            json!({ "routing": { "allocation": { "include": { "x": "y" } } } }),
            json!({ "analysis": { "filter": { "s": { "synonyms_path": "/etc/passwd" } } } }),
            json!({ "analysis.tokenizer.k.user_dictionary": "x" }),
            json!({ "analysis": { "filter": { "s": { "nested": [{ "synonyms_path": "x" }] } } } }),
            json!({ "translog.durability": "async" }),
            json!({ "mapping.total_fields.limit": 5000 }),
            json!([]),
        ] {
            assert!(of(bad.clone()).is_err(), "{bad}");
        }
        let error = of(json!({ "blocks.write": true, "final_pipeline": "x" })).unwrap_err().to_string();
        assert!(error.contains("blocks.write, final_pipeline"), "{error}");
    }

    #[test]
    fn every_way_of_writing_a_setting_is_the_same() {
        let flat = of(json!({ "index.number_of_shards": "3", "analysis.analyzer.a.type": "custom" })).unwrap();
        let nested = of(
            json!({ "index": { "number_of_shards": 3, "analysis": { "analyzer": { "a": { "type": "custom" } } } } }),
        );
        assert_eq!(compare(&flat, &nested.unwrap()), Difference::None);
    }

    #[test]
    fn what_an_index_cannot_change_needs_another_one() {
        let before = of(json!({ "number_of_shards": 1, "refresh_interval": "1s" })).unwrap();
        let quicker = of(json!({ "number_of_shards": 1, "number_of_replicas": 0 })).unwrap();
        assert_eq!(compare(&quicker, &before), Difference::Added);
        assert_eq!(differing(&quicker, &before), ["number_of_replicas", "refresh_interval"]);
        let wider = of(json!({ "number_of_shards": 2, "refresh_interval": "1s" })).unwrap();
        assert_eq!(compare(&wider, &before), Difference::Changed("setting number_of_shards".into()));
    }
}
