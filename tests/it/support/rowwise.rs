//! A builder compiled into the test: each row of the table `things` is a document of the index `things`. Builders of other ids,
//! of other documents, and ones that fail on a row are one value away.

use async_trait::async_trait;
use docmill::edges::{AssembleRequest, DocumentBuilder, Failure};
use docmill::model::{
    Affected, BuilderVersion, Cells, Columns, Declaration, IndexDeclaration, Outcome, RowForm, Rows, TableDeclaration,
};
use serde_json::json;

/// The builder.
#[derive(Debug)]
pub struct Rowwise {
    version: BuilderVersion,
    declaration: Declaration,
    /// Stands before the key in each id.
    pub prefix: String,
    /// The key of a row on which it fails.
    pub fails_on: Option<String>,
}

impl Rowwise {
    /// `name` is its version, and stands in every document.
    pub fn new(name: &str) -> Self {
        let table = TableDeclaration {
            table: "things".into(),
            schema: None,
            keys: vec!["id".into()],
            columns: Columns::Any,
            root: true,
            everything: false,
        };
        let keyword = || json!({"type": "keyword"});
        let index = IndexDeclaration {
            name: "things".into(),
            mapping: json!({"properties": {"name": keyword(), "builder": keyword()}}),
            settings: Some(json!({"number_of_replicas": 0})),
            tables: vec![table],
            reads: vec!["things".into()],
            routing: None,
        };
        let queries = [("things".to_owned(), String::new())].into();
        let declaration = Declaration { contract: "0.1".into(), rows: RowForm::Columns, indexes: vec![index], queries };
        let mut this =
            Self { version: BuilderVersion(name.to_owned()), declaration, prefix: String::new(), fails_on: None };
        this.read();
        this
    }

    /// With ids that begin so.
    pub fn with_prefix(mut self, prefix: &str) -> Self {
        self.prefix = prefix.to_owned();
        self.read();
        self
    }

    /// What it declares, to be changed.
    pub fn index(&mut self) -> &mut IndexDeclaration {
        &mut self.declaration.indexes[0]
    }

    fn read(&mut self) {
        let read = format!("select '{0}' || id as id, name from things where '{0}' || id = any($1)", self.prefix);
        self.declaration.queries.insert("things".into(), read);
    }
}

#[async_trait]
impl DocumentBuilder for Rowwise {
    fn version(&self) -> &BuilderVersion {
        &self.version
    }

    fn declaration(&self) -> &Declaration {
        &self.declaration
    }

    async fn resolve(&self, _index: &str, _table: &str, rows: Rows) -> Result<Affected, Failure> {
        let ids = texts(&rows, "id").into_iter().map(|id| format!("{}{id}", self.prefix));
        Ok(Affected { ids: ids.collect(), queries: Vec::new() })
    }

    async fn assemble(&self, request: AssembleRequest) -> Result<Vec<Outcome>, Failure> {
        if let Some(bad) = &self.fails_on
            && request.ids.contains(bad)
        {
            return Err(Failure::deterministic("the builder traps"));
        }
        let rows = &request.reads[0];
        let found = texts(rows, "id").into_iter().zip(texts(rows, "name"));
        let found: std::collections::HashMap<String, String> = found.collect();
        let document = |id: &String| match found.get(id) {
            Some(name) => Outcome::Document(json!({"name": name, "builder": self.version.0}).to_string().into()),
            None => Outcome::Absent,
        };
        Ok(request.ids.iter().map(document).collect())
    }
}

/// A column of texts.
pub fn texts(rows: &Rows, name: &str) -> Vec<String> {
    let column = rows.columns().iter().find(|column| column.name == name).expect("the column");
    let Cells::Texts(texts) = &column.cells else { panic!("{name} is no text") };
    let text = |row: usize| String::from_utf8_lossy(texts.get(row).unwrap_or_default()).into_owned();
    (0..rows.count() as usize).map(text).collect()
}
