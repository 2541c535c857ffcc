//! Indexes behind aliases: the public name is an alias, the index behind it a generation, `<prefix><name>.<hash>-<number>`.
//!
//! What the builder declared is kept in the index's own mapping, under `_meta.docmill`, so that the next start compares
//! declaration with declaration.

use async_trait::async_trait;
use reqwest::Method;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::client::{Answer, error_type};
use super::mapping::{self, Difference, spoken};
use super::names::{check_names, first_generation, is_generation, write_alias};
use super::settings::{self, Settings};
use super::sink::OpenSearch;
use crate::edges::{Failure, Generation, IdPage, IndexAdmin};
use crate::model::IndexDeclaration;

/// Characters of the engine's reason for refusing a mapping that are shown.
const REASON_CHARS_MAX: usize = 300;

/// What stands behind an alias's name.
pub(super) enum Behind {
    /// Nothing.
    Nothing,
    /// A generation of ours, as the engine describes it.
    Ours(There),
    /// Something else, and what.
    Foreign(String),
}

/// A generation that is there.
pub(super) struct There {
    pub(super) name: String,
    described: Value,
}

/// What a builder declares of an index, checked.
pub(super) struct Wanted {
    mapping: Value,
    settings: Settings,
}

impl Wanted {
    pub(super) fn of(index: &IndexDeclaration, allow_settings: &[String]) -> Result<Self, Failure> {
        Ok(Self { mapping: mapping::declared(index)?, settings: settings::declared(index, allow_settings)? })
    }

    fn hash(&self) -> Vec<u8> {
        Sha256::digest(format!("{}\n{}", sorted(&self.mapping), json!(self.settings))).to_vec()
    }

    fn kept(&self) -> Value {
        json!({ "docmill": { "mapping": self.mapping, "settings": self.settings } })
    }
}

impl There {
    fn setting(&self, path: &str) -> Option<&str> {
        path.split('.').fold(&self.described["settings"]["index"], |found, part| &found[part]).as_str()
    }

    fn has_alias(&self, alias: &str) -> bool {
        self.described["aliases"].get(alias).is_some()
    }

    /// The settings that were declared when it was made or changed last.
    fn settings(&self) -> Settings {
        serde_json::from_value(self.described["mappings"]["_meta"]["docmill"]["settings"].clone()).unwrap_or_default()
    }

    /// The refusal of an index that can lose what it confirms.
    pub(super) fn loses_writes(&self) -> Option<Failure> {
        settings::loses_writes(&self.name, self.setting("translog.durability"))
    }

    /// How what is wanted differs from what was declared before.
    pub(super) fn compare(&self, wanted: &Wanted) -> Difference {
        let before = &self.described["mappings"]["_meta"]["docmill"]["mapping"];
        if !before.is_object() {
            return Difference::Changed("origin (docmill's mark is not in its mapping's _meta)".to_owned());
        }
        match (mapping::compare(&wanted.mapping, before), settings::compare(&wanted.settings, &self.settings())) {
            (Difference::Changed(what), _) | (_, Difference::Changed(what)) => Difference::Changed(what),
            (Difference::None, Difference::None) => Difference::None,
            _ => Difference::Added,
        }
    }
}

impl OpenSearch {
    async fn ensure_one(&self, index: &IndexDeclaration) -> Result<Generation, Failure> {
        let wanted = Wanted::of(index, &self.options.allow_settings)?;
        let alias = self.alias(&index.name);
        let mut created = false;
        let mut behind = self.behind(&alias).await?;
        if let Behind::Nothing = behind {
            let name = first_generation(&alias, &wanted.hash());
            created = self.make(index, &name, &alias, &wanted).await?;
            behind = self.behind(&alias).await?;
        }
        match behind {
            Behind::Ours(there) => {
                if !created {
                    self.bring_up_to_date(index, &there, &wanted).await?;
                }
                self.generation(&there, created).await
            }
            Behind::Foreign(found) => {
                Err(Failure::fatal(format!("index {}: the name {alias} is taken by {found}", index.name))
                    .with_advice("use an index_prefix, or remove what has the name"))
            }
            Behind::Nothing => {
                let name = first_generation(&alias, &wanted.hash());
                Err(Failure::fatal(format!("index {name} is there, and its alias {alias} is not")).with_advice(format!(
                    "delete index {name} (it is filled anew then), or give it its alias back: PUT {name}/_alias/{alias}"
                )))
            }
        }
    }

    /// The alias of a declared index.
    pub(super) fn alias(&self, name: &str) -> String {
        format!("{}{name}", self.options.index_prefix)
    }

    /// Makes a generation with its alias in one step; whether it was made now.
    async fn make(&self, index: &IndexDeclaration, name: &str, alias: &str, wanted: &Wanted) -> Result<bool, Failure> {
        let what = format!("make index {name}");
        let mut settings: Map<String, Value> =
            wanted.settings.iter().map(|(name, value)| (format!("index.{name}"), value.clone())).collect();
        settings.insert("index.gc_deletes".to_owned(), json!(self.gc_deletes()));
        // Said, so that no template of the cluster says otherwise.
        settings.insert("index.translog.durability".to_owned(), json!("request"));
        let aliases = json!({ alias: {}, write_alias(name): { "is_hidden": true } });
        let body = json!({ "settings": settings, "mappings": self.spoken(wanted), "aliases": aliases });
        let answer = self.client.call(Method::PUT, name, Some(&body), &what).await?;
        match error_type(&answer.body) {
            _ if answer.succeeded() => Ok(true),
            // Somebody was quicker, or an earlier answer was lost: what is there is looked at next.
            "resource_already_exists_exception" => Ok(false),
            _ => Err(self.refused_mapping(index, &what, &answer)),
        }
    }

    /// The mapping to send, with what was declared beside it.
    fn spoken(&self, wanted: &Wanted) -> Value {
        let mut mapping = spoken(&wanted.mapping, self.engine);
        mapping["_meta"] = wanted.kept();
        mapping
    }

    async fn bring_up_to_date(&self, index: &IndexDeclaration, there: &There, wanted: &Wanted) -> Result<(), Failure> {
        let name = &there.name;
        if let Some(refused) = there.loses_writes() {
            return Err(refused);
        }
        let difference = there.compare(wanted);
        if let Difference::Changed(what) = &difference {
            return Err(Failure::fatal(format!(
                "index {}: the builder declares another {what} than index {name} was made with, which needs a new index",
                index.name
            ))
            .with_advice(format!("delete index {name} (it is filled anew then), or use another index_prefix")));
        }
        let write = write_alias(name);
        if !there.has_alias(&write) {
            let path = format!("{name}/_alias/{write}");
            let what = format!("give index {name} its alias for writing");
            self.client.must(Method::PUT, &path, Some(&json!({ "is_hidden": true })), &what).await?;
        }
        self.bring_settings_up_to_date(there, wanted).await?;
        if difference == Difference::Added {
            // Last, because what was declared is kept with it: what failed before is tried again.
            let what = format!("add fields to the mapping of index {name}");
            let path = format!("{name}/_mapping");
            let answer = self.client.call(Method::PUT, &path, Some(&self.spoken(wanted)), &what).await?;
            if !answer.succeeded() {
                return Err(self.refused_mapping(index, &what, &answer));
            }
        }
        Ok(())
    }

    async fn bring_settings_up_to_date(&self, there: &There, wanted: &Wanted) -> Result<(), Failure> {
        let before = there.settings();
        let null = Value::Null;
        let mut changed: Map<String, Value> = settings::differing(&wanted.settings, &before)
            .into_iter()
            .map(|name| (format!("index.{name}"), wanted.settings.get(name).unwrap_or(&null).clone()))
            .collect();
        let gc_deletes = self.gc_deletes();
        if there.setting("gc_deletes") != Some(&*gc_deletes) {
            changed.insert("index.gc_deletes".to_owned(), json!(gc_deletes));
        }
        if changed.is_empty() {
            return Ok(());
        }
        let what = format!("change settings of index {}", there.name);
        let path = format!("{}/_settings", there.name);
        self.client.must(Method::PUT, &path, Some(&Value::Object(changed)), &what).await.map(drop)
    }

    /// A refused mapping or setting; the engine's reason holds names and types of a declaration, and no row values.
    fn refused_mapping(&self, index: &IndexDeclaration, what: &str, answer: &Answer) -> Failure {
        let failure = self.client.refused(what, answer);
        match answer.body["error"]["reason"].as_str() {
            Some(reason) if answer.status.as_u16() == 400 => {
                let reason: String = reason.chars().take(REASON_CHARS_MAX).collect();
                Failure::new(failure.class, format!("{}: {reason}", failure.message())).with_advice(format!(
                    "mend mapping or settings of index {} in the builder's descriptor",
                    index.name
                ))
            }
            _ => failure,
        }
    }

    async fn generation(&self, there: &There, created: bool) -> Result<Generation, Failure> {
        let name = there.name.clone();
        let what = format!("count the documents of index {name}");
        let Some(uuid) = self.mark(&name).await? else {
            return Err(Failure::transient(format!("{what} on {}: it is gone again", self.client.shown)));
        };
        // What was just written is not counted before a refresh.
        self.client.must(Method::POST, &format!("{name}/_refresh"), None, &what).await?;
        let counted = self.client.must(Method::GET, &format!("{name}/_count"), None, &what).await?;
        let whole = counted["_shards"]["failed"].as_u64() == Some(0);
        match counted["count"].as_u64().filter(|_| whole) {
            Some(count) => Ok(Generation { name, uuid, created, empty: count == 0 }),
            None => Err(Failure::transient(format!("{what} on {}: not every shard answered", self.client.shown))),
        }
    }

    /// What stands behind an alias's name now.
    pub(super) async fn behind(&self, alias: &str) -> Result<Behind, Failure> {
        let what = format!("look what {alias} is");
        let answer = self.client.call(Method::GET, alias, None, &what).await?;
        if answer.not_found() {
            return Ok(Behind::Nothing);
        }
        if !answer.succeeded() {
            return Err(self.client.refused(&what, &answer));
        }
        let Value::Object(found) = answer.body else {
            return Err(Failure::transient(format!("{what} on {}: an answer without indexes", self.client.shown)));
        };
        let names: Vec<String> = found.keys().cloned().collect();
        Ok(match <[(String, Value); 1]>::try_from(found.into_iter().collect::<Vec<_>>()) {
            Ok([(name, described)]) if is_generation(&name, alias) => Behind::Ours(There { name, described }),
            Ok([(name, _)]) if name == alias => Behind::Foreign("an index of its own".to_owned()),
            Ok([(name, _)]) => Behind::Foreign(format!("an alias of index {name}, which docmill did not make")),
            Err(_) => Behind::Foreign(format!("an alias of {}", names.join(", "))),
        })
    }
}

/// The same text for the same JSON, in whatever order its fields stand.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| *name);
            fields.into_iter().map(|(name, value)| (name.clone(), sorted(value))).collect::<Map<_, _>>().into()
        }
        Value::Array(values) => values.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

#[async_trait]
impl IndexAdmin for OpenSearch {
    async fn ensure(&self, indexes: &[IndexDeclaration]) -> Result<Vec<Generation>, Failure> {
        check_names(indexes)?;
        settings::check_shards(indexes, &self.options.allow_settings)?;
        self.check_own_durability().await?;
        let mut generations = Vec::with_capacity(indexes.len());
        for index in indexes {
            generations.push(self.ensure_one(index).await?);
        }
        Ok(generations)
    }

    async fn uuid(&self, generation: &str) -> Result<Option<String>, Failure> {
        self.mark(generation).await
    }

    async fn ids(&self, generation: &str, cursor: Option<String>, limit: usize) -> Result<IdPage, Failure> {
        self.walk(generation, cursor, limit).await
    }
}
