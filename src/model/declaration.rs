//! What a builder declares: its indexes, the tables that matter to them, and every statement it may ever run.
//!
//! A component says it as JSON (`wit/v1/descriptor.schema.json`), which reads into these types as it is; a builder
//! compiled into the host makes them directly.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::TableName;

/// One exact builder: the hash of its component and its configuration, in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BuilderVersion(pub String);

impl BuilderVersion {
    /// The first twelve digits, for people.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl fmt::Display for BuilderVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// In which form rows reach the builder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RowForm {
    /// As columns, for compiled languages.
    #[default]
    Columns,
    /// As one JSON text, for interpreted languages.
    Json,
}

/// All that a builder declares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declaration {
    /// The contract's version, `0.1`.
    pub contract: String,
    /// The form of rows.
    #[serde(default)]
    pub rows: RowForm,
    /// What it makes.
    pub indexes: Vec<IndexDeclaration>,
    /// Every statement it may ever run, by name.
    #[serde(default)]
    pub queries: BTreeMap<String, String>,
}

impl Declaration {
    /// The index of that name.
    pub fn index(&self, name: &str) -> Option<&IndexDeclaration> {
        self.indexes.iter().find(|index| index.name == name)
    }
}

/// One index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexDeclaration {
    /// Its public name, which becomes an alias in the search engine.
    pub name: String,
    /// The search engine's mapping.
    pub mapping: serde_json::Value,
    /// Settings of the index, where the defaults do not do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<serde_json::Value>,
    /// Every table whose changes matter to it.
    pub tables: Vec<TableDeclaration>,
    /// The queries whose answers `assemble` is handed, by name, each run with the ids as its only parameter.
    #[serde(default)]
    pub reads: Vec<String>,
    /// How an id leads to its shard, where not by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routing: Option<Routing>,
}

/// How an id leads to its shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Routing {
    /// The routing is what stands in the id before the first of this text.
    pub until: String,
}

impl Routing {
    /// The routing value of an id; the whole id where the text does not occur.
    pub fn of<'a>(&self, id: &'a str) -> &'a str {
        id.split_once(self.until.as_str()).map_or(id, |(before, _)| before)
    }
}

/// One table that matters to an index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableDeclaration {
    /// Its exact name.
    pub table: String,
    /// Its schema, when it is not the pipeline's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// The columns that `resolve` is shown. Their old values must be in the replica identity.
    pub keys: Vec<String>,
    /// The columns whose change matters.
    #[serde(default)]
    pub columns: Columns,
    /// Whether the index's ids come from its rows.
    #[serde(default)]
    pub root: bool,
    /// Whether any change of it concerns every document of the index.
    #[serde(default)]
    pub everything: bool,
}

impl TableDeclaration {
    /// The table's full name, in a pipeline whose schema is `schema`.
    pub fn name_in(&self, schema: &str) -> TableName {
        TableName::new(self.schema.as_deref().unwrap_or(schema), self.table.as_str())
    }
}

/// The columns whose change matters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Columns {
    /// Every one.
    #[default]
    Any,
    /// These, and the keys.
    Listed(Vec<String>),
}

impl Serialize for Columns {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Columns::Any => serializer.serialize_str("any"),
            Columns::Listed(columns) => columns.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Columns {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Word(String),
            List(Vec<String>),
        }
        match Form::deserialize(deserializer) {
            Ok(Form::Word(word)) if word == "any" => Ok(Columns::Any),
            Ok(Form::List(columns)) => Ok(Columns::Listed(columns)),
            _ => Err(serde::de::Error::custom("expected \"any\" or a list of column names")),
        }
    }
}
