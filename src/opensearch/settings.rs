//! What a builder may ask of an index's settings, flat (`analysis.analyzer.name.type`). Plain functions.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::mapping::Difference;
use crate::edges::Failure;
use crate::model::IndexDeclaration;

/// Settings that a builder may ask for, besides `analysis.*` and `sort.*`.
const ALLOWED: [&str; 2] = ["refresh_interval", "codec"];

/// Those with a bound: what more would cost its neighbours. Limits of the engine may only be lowered.
const LIMITS: [(&str, u64); 7] = [
    ("number_of_shards", 32),
    ("number_of_replicas", 5),
    ("max_result_window", 100_000),
    ("mapping.total_fields.limit", 1_000),
    ("mapping.depth.limit", 20),
    ("mapping.nested_fields.limit", 50),
    ("mapping.nested_objects.limit", 10_000),
];

/// Shards of all indexes of a builder, replicas counted: a cluster has room for about a thousand a node.
const SHARDS_MAX: u64 = 256;

/// Refreshing more often than this is load on every index of the node.
const REFRESH_INTERVAL_MIN_MS: u64 = 100;

/// Bytes of an index's settings as JSON; they are part of the cluster's state, on each of its nodes.
const SETTINGS_BYTES_MAX: usize = 256 << 10;

/// What no configuration lets a builder ask for, with everything below it: it changes documents on their way, where an index lies,
/// whether it can be written, or what docmill's promise stands on.
const NEVER: [&str; 14] = [
    "default_pipeline",
    "final_pipeline",
    "lifecycle",
    "plugins",
    "opendistro",
    "routing",
    "blocks",
    "translog",
    "gc_deletes",
    "version",
    "uuid",
    "history",
    "creation_date",
    "provided_name",
];

/// Those that can be changed on an index that is there.
const CHANGEABLE: [&str; 3] = ["number_of_replicas", "refresh_interval", "max_result_window"];

/// Levels of nesting that are read.
const DEPTH_MAX: usize = 16;

/// Flat names, without `index.` in front.
pub(super) type Settings = BTreeMap<String, Value>;

/// Whether a setting, or `name.*`, is one that no builder may ask for, whatever an operator allows.
pub fn is_never_allowed(name: &str) -> bool {
    let name = name.strip_prefix("index.").unwrap_or(name);
    let name = name.strip_suffix(".*").unwrap_or(name);
    let under = |never: &str| name.strip_prefix(never).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    name.is_empty() || name.contains('*') || NEVER.iter().any(|never| under(never))
}

/// The declared settings, checked; `allow` is what the operator allows besides.
pub(super) fn declared(index: &IndexDeclaration, allow: &[String]) -> Result<Settings, Failure> {
    let mut settings = Settings::new();
    match &index.settings {
        None => {}
        Some(Value::Object(asked)) => {
            let bytes = index.settings.as_ref().map_or(0, |settings| settings.to_string().len());
            if bytes > SETTINGS_BYTES_MAX {
                let found = format!("index {}: its settings have {bytes} bytes", index.name);
                return Err(Failure::fatal(found).with_advice(format!("at most {SETTINGS_BYTES_MAX} are possible")));
            }
            flatten("", asked, 0, &mut settings);
        }
        Some(_) => return Err(Failure::fatal(format!("index {}: its settings are no object", index.name))),
    }
    let bad: Vec<&str> =
        settings.iter().filter(|(name, value)| !allowed(name, value, allow)).map(|(name, _)| name.as_str()).collect();
    if bad.is_empty() {
        return Ok(settings);
    }
    let limits: Vec<String> = LIMITS.iter().map(|(name, most)| format!("{name} up to {most}")).collect();
    let mut advice = format!(
        "allowed are {} (every {REFRESH_INTERVAL_MIN_MS} ms or less often), sort.*, analysis.* without files and scripts, {}",
        ALLOWED.join(" and "),
        limits.join(", ")
    );
    let liftable: Vec<String> =
        bad.iter().filter(|name| !is_never_allowed(name)).map(|name| format!("{name:?}")).collect();
    if !liftable.is_empty() {
        advice.push_str(&format!(
            "; or let the operator allow it in the pipeline's configuration: allow_settings = [{}]",
            liftable.join(", ")
        ));
    }
    Err(Failure::fatal(format!("index {}: a builder may not ask for setting {}", index.name, bad.join(", ")))
        .with_advice(advice))
}

/// Refuses more shards than one builder may have.
pub(super) fn check_shards(indexes: &[IndexDeclaration], allow: &[String]) -> Result<(), Failure> {
    if allow.iter().any(|allowed| allowed == "number_of_shards") {
        return Ok(());
    }
    let mut shards = 0;
    for index in indexes {
        let settings = declared(index, allow)?;
        let count = |name: &str| settings.get(name).and_then(number).unwrap_or(1);
        shards += count("number_of_shards") * (1 + count("number_of_replicas"));
    }
    if shards <= SHARDS_MAX {
        return Ok(());
    }
    Err(Failure::fatal(format!(
        "its {} indexes ask for {shards} shards with their replicas, and a builder may have {SHARDS_MAX}",
        indexes.len()
    ))
    .with_advice(
        "declare fewer, or let the operator allow it in the pipeline's configuration: allow_settings = [\"number_of_shards\"]",
    ))
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

fn allowed(name: &str, value: &Value, allow: &[String]) -> bool {
    if is_never_allowed(name)
        || value.is_object()
        || value.as_array().is_some_and(|values| values.iter().any(|value| !is_plain(value)))
    {
        return false;
    }
    let allow = allow.iter().map(|allowed| allowed.strip_prefix("index.").unwrap_or(allowed));
    if allow.clone().any(|allowed| allowed == name) {
        return true;
    }
    // What is read from the engine's own disk, belongs to the whole cluster or is a program is not a builder's to name.
    let reaches_out = |part: &str| {
        part.ends_with("_path") || part.starts_with("user_dictionary") || part == "synonyms_set" || part == "script"
    };
    if name.split('.').any(reaches_out) {
        return false;
    }
    let below = |allowed: &str| {
        let above = allowed.strip_suffix('*').filter(|above| above.ends_with('.'));
        above.is_some_and(|above| name.starts_with(above))
    };
    if allow.clone().any(below) {
        return true;
    }
    if let Some((_, most)) = LIMITS.iter().find(|(limit, _)| *limit == name) {
        return number(value).is_some_and(|asked| asked <= *most);
    }
    if name == "refresh_interval" {
        return refreshes_seldom(value);
    }
    ALLOWED.contains(&name) || name.starts_with("sort.") || name.starts_with("analysis.")
}

fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str().and_then(|text| text.parse().ok()))
}

/// Never (`-1`), or not more often than is good for others. What cannot be read here is refused.
fn refreshes_seldom(value: &Value) -> bool {
    if value.as_i64() == Some(-1) || value.as_str() == Some("-1") {
        return true;
    }
    let Some(text) = value.as_str() else { return false };
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return false,
    };
    number.parse::<u64>().is_ok_and(|number| number.saturating_mul(unit_ms) >= REFRESH_INTERVAL_MIN_MS)
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

    fn index(settings: Value) -> IndexDeclaration {
        IndexDeclaration {
            name: "users".into(),
            mapping: json!({}),
            settings: Some(settings),
            tables: vec![],
            reads: vec![],
            routing: None,
        }
    }

    fn of(settings: Value) -> Result<Settings, Failure> {
        declared(&index(settings), &[])
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
            json!({ "analysis": { "filter": { "f": { "type": "condition", "script": { "source": "true" } } } } }),
            json!({ "analysis.filter.f.synonyms_set": "theirs" }),
            json!({ "number_of_shards": 1000 }),
            json!({ "number_of_replicas": 50 }),
            json!({ "number_of_replicas": "all" }),
            json!({ "max_result_window": 100_000_000 }),
            json!({ "refresh_interval": "1ms" }),
            json!({ "refresh_interval": "1nanos" }),
            json!({ "refresh_interval": 1 }),
            json!({ "analysis": { "filter": { "s": { "synonyms": "x".repeat(SETTINGS_BYTES_MAX) } } } }),
            json!([]),
        ] {
            assert!(of(bad.clone()).is_err(), "{bad}");
        }
        let error = of(json!({ "blocks.write": true, "final_pipeline": "x" })).unwrap_err().to_string();
        assert!(error.contains("blocks.write, final_pipeline"), "{error}");
    }

    #[test]
    fn an_operator_allows_more_and_never_what_reaches_beyond_the_index() {
        let allow = |names: &[&str], settings: Value| {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            declared(&index(settings), &names)
        };
        assert!(allow(&["knn"], json!({ "index.knn": true })).is_ok());
        assert!(allow(&["similarity.*"], json!({ "similarity": { "s": { "type": "BM25" } } })).is_ok());
        assert!(allow(&["index.mapping.total_fields.limit"], json!({ "mapping.total_fields.limit": 5000 })).is_ok());
        assert!(allow(&["number_of_shards"], json!({ "number_of_shards": 40 })).is_ok());
        for (names, settings) in [
            (["knn"], json!({ "knn.algo_param.ef_search": 1 })),
            (["similarity.*"], json!({ "similarity.s.script.source": "1" })),
            (["routing.*"], json!({ "routing.allocation.require.box": "theirs" })),
            (["blocks.write"], json!({ "blocks.write": true })),
            (["*"], json!({ "knn": true })),
        ] {
            let error = allow(&names, settings.clone()).unwrap_err().to_string();
            assert_eq!(
                error.contains("allow_settings"),
                !is_never_allowed(settings.as_object().unwrap().keys().next().unwrap())
            );
        }
        assert!(
            ["index.default_pipeline", "lifecycle.name", "routing.*", "*", "translog.durability"]
                .iter()
                .all(|name| is_never_allowed(name))
        );
        assert!(!is_never_allowed("routing_partition_size") && !is_never_allowed("knn"));
    }

    #[test]
    fn one_builder_cannot_take_all_shards_of_a_cluster() {
        let wide = || index(json!({ "number_of_shards": 32, "number_of_replicas": 1 }));
        let indexes: Vec<_> = (0..4).map(|_| wide()).collect();
        assert!(check_shards(&indexes, &[]).is_ok());
        let indexes: Vec<_> = (0..5).map(|_| wide()).collect();
        assert!(check_shards(&indexes, &[]).unwrap_err().to_string().contains("320 shards"));
        assert!(check_shards(&indexes, &["number_of_shards".to_owned()]).is_ok());
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
