//! What a builder declares: indexes, the tables they depend on, and all the SQL that it may ever run.
//!
//! It crosses as JSON after `wit/descriptor.schema.json`.

use serde_json::{Map, Value, json};

/// The version of the descriptor's schema that this SDK writes.
const CONTRACT: &str = "0.1";

/// All that a builder declares.
#[derive(Debug, Clone, Default)]
pub struct Descriptor {
    pub(crate) indexes: Vec<Index>,
    pub(crate) queries: Vec<(String, String)>,
}

impl Descriptor {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// One more index.
    pub fn index(mut self, index: Index) -> Self {
        self.indexes.push(index);
        self
    }

    /// One more query, prepared by the host when this version is loaded.
    ///
    /// A read takes one parameter, the array of ids. A hop has one column, ids as text, and filters on nothing that can
    /// change: a row that has just changed would hide the documents it was in.
    pub fn query(mut self, name: impl Into<String>, sql: impl Into<String>) -> Self {
        self.queries.push((name.into(), sql.into()));
        self
    }

    /// As it crosses.
    pub fn to_json(&self) -> Value {
        let queries: Map<String, Value> = self
            .queries
            .iter()
            .map(|(name, sql)| (name.clone(), sql.as_str().into()))
            .collect();
        json!({
            "contract": CONTRACT,
            "rows": "columns",
            "indexes": self.indexes.iter().map(Index::to_json).collect::<Vec<_>>(),
            "queries": queries,
        })
    }
}

/// One index.
#[derive(Debug, Clone)]
pub struct Index {
    pub(crate) name: String,
    mapping: Value,
    settings: Option<Value>,
    pub(crate) tables: Vec<Table>,
    pub(crate) reads: Vec<String>,
    routing_until: Option<String>,
}

impl Index {
    /// An index with this mapping (what stands under `mappings` when an index is created).
    pub fn new(name: impl Into<String>, mapping: Value) -> Self {
        Self {
            name: name.into(),
            mapping,
            settings: None,
            tables: Vec::new(),
            reads: Vec::new(),
            routing_until: None,
        }
    }

    /// Settings of the index, where the server's own do not fit.
    pub fn settings(mut self, settings: Value) -> Self {
        self.settings = Some(settings);
        self
    }

    /// One more table whose changes matter.
    pub fn table(mut self, table: Table) -> Self {
        self.tables.push(table);
        self
    }

    /// The queries whose answers `assemble` is handed, in this order.
    pub fn reads<T: Into<String>>(mut self, names: impl IntoIterator<Item = T>) -> Self {
        self.reads = names.into_iter().map(Into::into).collect();
        self
    }

    /// Documents are routed by what stands in their id before the first `separator`.
    pub fn routing_until(mut self, separator: impl Into<String>) -> Self {
        self.routing_until = Some(separator.into());
        self
    }

    fn to_json(&self) -> Value {
        let mut index = json!({
            "name": self.name,
            "mapping": self.mapping,
            "tables": self.tables.iter().map(Table::to_json).collect::<Vec<_>>(),
            "reads": self.reads,
        });
        if let Some(settings) = &self.settings {
            index["settings"] = settings.clone();
        }
        if let Some(separator) = &self.routing_until {
            index["routing"] = json!({ "until": separator });
        }
        index
    }
}

/// A table whose changes matter to an index.
#[derive(Debug, Clone)]
pub struct Table {
    pub(crate) name: String,
    schema: Option<String>,
    pub(crate) keys: Vec<String>,
    columns: Option<Vec<String>>,
    pub(crate) root: bool,
    everything: bool,
}

impl Table {
    /// A table that documents are made of, with the columns that `resolve` is shown: those by which it is joined towards
    /// the root. They must be in the table's replica identity, so that a deleted or moved row says where it was.
    pub fn new<T: Into<String>>(name: impl Into<String>, keys: impl IntoIterator<Item = T>) -> Self {
        Self {
            name: name.into(),
            schema: None,
            keys: keys.into_iter().map(Into::into).collect(),
            columns: None,
            root: false,
            everything: false,
        }
    }

    /// The table whose every row is a document, with the columns that make its id.
    pub fn root<T: Into<String>>(name: impl Into<String>, keys: impl IntoIterator<Item = T>) -> Self {
        Self {
            root: true,
            ..Self::new(name, keys)
        }
    }

    /// A table (exchange rates, settings) of which any change means that every document of the index is made again.
    pub fn everything(name: impl Into<String>) -> Self {
        Self {
            everything: true,
            ..Self::new::<String>(name, [])
        }
    }

    /// The PostgreSQL schema it is in, when that is not the pipeline's.
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = Some(schema.into());
        self
    }

    /// The columns beside the keys whose change matters; without this, every one.
    pub fn columns<T: Into<String>>(mut self, columns: impl IntoIterator<Item = T>) -> Self {
        self.columns = Some(columns.into_iter().map(Into::into).collect());
        self
    }

    fn to_json(&self) -> Value {
        let mut table = json!({ "table": self.name, "keys": self.keys });
        if let Some(schema) = &self.schema {
            table["schema"] = schema.as_str().into();
        }
        if let Some(columns) = &self.columns {
            table["columns"] = columns.as_slice().into();
        }
        if self.root {
            table["root"] = true.into();
        }
        if self.everything {
            table["everything"] = true.into();
        }
        table
    }
}
