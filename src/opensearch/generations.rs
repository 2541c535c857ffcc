//! Indexes behind aliases: the public name is an alias, the index behind it a generation, `<prefix><name>.<hash>-<number>`.

use async_trait::async_trait;
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::client::{Answer, error_type};
use super::mapping::{self, Difference};
use super::sink::OpenSearch;
use crate::edges::{Failure, Generation, IdPage, IndexAdmin};
use crate::model::IndexDeclaration;

/// What stands behind an alias's name.
pub(super) enum Behind {
    /// Nothing.
    Nothing,
    /// A generation of ours, with its settings and mapping as the engine says them.
    Ours(String, Value),
    /// Something else, and what.
    Foreign(String),
}

impl OpenSearch {
    async fn ensure_one(&self, index: &IndexDeclaration) -> Result<Generation, Failure> {
        let wanted = mapping::mapping(index, self.engine)?;
        let settings = mapping::settings(index)?;
        let alias = self.alias(&index.name);
        match self.behind(&alias).await? {
            Behind::Foreign(found) => {
                Err(Failure::fatal(format!("index {}: the name {alias} is taken by {found}", index.name))
                    .with_advice("use an index_prefix, or remove what has the name"))
            }
            Behind::Ours(name, there) => {
                self.bring_up_to_date(index, &name, &wanted, &there).await?;
                self.generation(&name, &there, false).await
            }
            Behind::Nothing => {
                let name = format!("{alias}.{}-1", short_hash(&wanted, &settings));
                self.make(index, &name, &alias, &wanted, &settings).await?;
                match self.behind(&alias).await? {
                    Behind::Ours(name, there) => self.generation(&name, &there, true).await,
                    _ => Err(Failure::transient(format!("index {name} was made, and is not there now"))),
                }
            }
        }
    }

    /// The alias of a declared index.
    pub(super) fn alias(&self, name: &str) -> String {
        format!("{}{name}", self.options.index_prefix)
    }

    async fn make(
        &self,
        index: &IndexDeclaration,
        name: &str,
        alias: &str,
        mapping: &Value,
        settings: &Value,
    ) -> Result<(), Failure> {
        let body = json!({ "settings": settings, "mappings": mapping, "aliases": { alias: {} } });
        let answer = self.call(Method::PUT, name, Some(&body), &format!("make index {name}")).await?;
        match error_type(&answer.body) {
            _ if answer.status.is_success() => Ok(()),
            // Somebody was quicker, or an earlier answer was lost: what is there is looked at next.
            "resource_already_exists_exception" => Ok(()),
            kind => {
                let reason =
                    answer.body["error"]["reason"].as_str().unwrap_or("").chars().take(300).collect::<String>();
                let failure = self.client.refused(&format!("make index {name}"), &answer);
                // Names and types of a mapping are no row values.
                Err(Failure::new(failure.class, format!("{}: {kind}: {reason}", failure.message())).with_advice(
                    format!("mend mapping or settings of index {} in the builder's descriptor", index.name),
                ))
            }
        }
    }

    async fn bring_up_to_date(
        &self,
        index: &IndexDeclaration,
        name: &str,
        wanted: &Value,
        there: &Value,
    ) -> Result<(), Failure> {
        if there["settings"]["index"]["translog"]["durability"]
            .as_str()
            .is_some_and(|found| found.eq_ignore_ascii_case("async"))
        {
            return Err(Failure::fatal(format!(
                "index {name}: index.translog.durability is async, so what it confirms can be lost"
            ))
            .with_advice("set it to request"));
        }
        match mapping::compare(wanted, &there["mappings"]) {
            Difference::None => Ok(()),
            Difference::Added => {
                let what = format!("add fields to the mapping of index {name}");
                let answer = self.call(Method::PUT, &format!("{name}/_mapping"), Some(wanted), &what).await?;
                if answer.status.is_success() { Ok(()) } else { Err(self.client.refused(&what, &answer)) }
            }
            Difference::Changed(field) => Err(Failure::fatal(format!(
                "index {}: the builder's mapping has another {field} than index {name}, which needs a new index",
                index.name
            ))
            .with_advice(format!("delete index {name} (it is filled anew then), or use another index_prefix"))),
        }
    }

    async fn generation(&self, name: &str, there: &Value, created: bool) -> Result<Generation, Failure> {
        let uuid = there["settings"]["index"]["uuid"].as_str().unwrap_or_default().to_owned();
        let what = format!("count the documents of index {name}");
        // What was just written is not counted before a refresh.
        let refreshed = self.call(Method::POST, &format!("{name}/_refresh"), None, &what).await?;
        if !refreshed.status.is_success() {
            return Err(self.client.refused(&what, &refreshed));
        }
        let counted = self.call(Method::GET, &format!("{name}/_count"), None, &what).await?;
        match counted.body["count"].as_u64() {
            Some(count) => Ok(Generation { name: name.to_owned(), uuid, created, empty: count == 0 }),
            None => Err(self.client.refused(&what, &counted)),
        }
    }

    /// What stands behind an alias's name now.
    pub(super) async fn behind(&self, alias: &str) -> Result<Behind, Failure> {
        let what = format!("look what {alias} is");
        let answer = self.call(Method::GET, alias, None, &what).await?;
        if answer.status.as_u16() == 404 {
            return Ok(Behind::Nothing);
        }
        if !answer.status.is_success() {
            return Err(self.client.refused(&what, &answer));
        }
        let Value::Object(found) = answer.body else { return Ok(Behind::Nothing) };
        let names: Vec<String> = found.keys().cloned().collect();
        Ok(match <[(String, Value); 1]>::try_from(found.into_iter().collect::<Vec<_>>()) {
            Ok([(name, there)]) if is_generation(&name, alias) => Behind::Ours(name, there),
            Ok([(name, _)]) if name == alias => Behind::Foreign("an index of its own".to_owned()),
            Ok([(name, _)]) => Behind::Foreign(format!("an alias of index {name}, which docmill did not make")),
            Err(_) => Behind::Foreign(format!("an alias of {}", names.join(", "))),
        })
    }

    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        what: &str,
    ) -> Result<Answer, Failure> {
        self.client.request(method, path, body).await.map_err(|error| self.client.no_answer(what, error))
    }
}

/// `<alias>.<8 hexadecimal digits>-<number>`; the dot cannot occur in a declared name.
fn is_generation(name: &str, alias: &str) -> bool {
    let parts = name.strip_prefix(alias).and_then(|rest| rest.strip_prefix('.')).and_then(|rest| rest.split_once('-'));
    parts.is_some_and(|(hash, number)| {
        hash.len() == 8 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) && number.parse::<u32>().is_ok()
    })
}

fn short_hash(mapping: &Value, settings: &Value) -> String {
    let hash = Sha256::digest(format!("{mapping}\n{settings}"));
    hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

#[async_trait]
impl IndexAdmin for OpenSearch {
    async fn ensure(&self, indexes: &[IndexDeclaration]) -> Result<Vec<Generation>, Failure> {
        let mut generations = Vec::with_capacity(indexes.len());
        for index in indexes {
            generations.push(self.ensure_one(index).await?);
        }
        Ok(generations)
    }

    async fn ids(&self, generation: &str, cursor: Option<String>, limit: usize) -> Result<IdPage, Failure> {
        self.walk(generation, cursor, limit).await
    }
}
