//! Tables whose names and keys are anything but plain, and a builder compiled into the test that makes one document of each order
//! line: the id is its key, and its notes are found by a key of two columns.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use docmill::Engine;
use docmill::edges::{AssembleRequest, DocumentBuilder, Failure};
use docmill::model::{
    Affected, BuilderVersion, Cells, Columns, Declaration, IndexDeclaration, Outcome, RowForm, Rows, TableDeclaration,
};
use docmill::pipeline::{FailurePolicies, OnRejected};
use serde_json::{Value, json};
use tokio_postgres::Client;

use super::opensearch::OpenSearch;
use super::postgres::Database;
use super::rowwise::texts;
use super::running::{Loud, Running, limits, sink, source};

/// The tables, with lines `A "1"` to `A "count"` of two each.
pub fn tables(count: u32) -> String {
    format!(
        "create schema \"Sales Dept\"; \
         create table \"Sales Dept\".\"Order Lines\" (\"Order No\" text, \"Line\" int, \"Price €\" numeric not null, \
           primary key (\"Order No\", \"Line\")); \
         create table \"Sales Dept\".\"Line Notes\" (id uuid primary key default gen_random_uuid(), \"Order No\" text not null, \
           \"Line\" int not null, note text not null, \
           foreign key (\"Order No\", \"Line\") references \"Sales Dept\".\"Order Lines\" on update cascade on delete cascade); \
         create unique index \"Notes' Identity\" on \"Sales Dept\".\"Line Notes\" (id, \"Order No\", \"Line\"); \
         alter table \"Sales Dept\".\"Line Notes\" replica identity using index \"Notes' Identity\"; \
         insert into \"Sales Dept\".\"Order Lines\" select 'A \"' || g || '\"', l, g * 1.5 from generate_series(1, {count}) g, generate_series(1, 2) l; \
         insert into \"Sales Dept\".\"Line Notes\" (\"Order No\", \"Line\", note) \
           select \"Order No\", \"Line\", 'note ' || n from \"Sales Dept\".\"Order Lines\", generate_series(1, 2) n;"
    )
}

/// The engine that keeps their index in step.
pub async fn run(database: &Database, search: &OpenSearch, notes: bool) -> Running {
    let engine = Engine::new(source(database), Arc::new(Lines::new(notes)), sink(search).await)
        .with_name("lines")
        .with_limits(limits())
        .with_observer(Arc::new(Loud))
        .with_failure_policies(FailurePolicies::all(OnRejected::Stop));
    Running::start(engine)
}

/// Waits until the index is what SQL says.
pub async fn await_equal(database: &Database, search: &OpenSearch, notes: bool) {
    let (client, begin) = (database.connect().await, Instant::now());
    loop {
        let (expected, found) = (expected(&client, notes).await, search.documents("lines").await.unwrap_or_default());
        if found == expected {
            return;
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "in the index: {found:?}; by SQL: {expected:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// What the index must hold, by plain SQL.
async fn expected(client: &Client, notes: bool) -> BTreeMap<String, Value> {
    let sql = "select l.\"Order No\" || '/' || l.\"Line\", l.\"Price €\"::text, \
                 (select string_agg(n.note, ', ' order by n.note) from \"Sales Dept\".\"Line Notes\" n \
                  where n.\"Order No\" = l.\"Order No\" and n.\"Line\" = l.\"Line\") \
               from \"Sales Dept\".\"Order Lines\" l";
    let rows = client.query(sql, &[]).await.expect("rows");
    let document = |row: &tokio_postgres::Row| {
        let mut document = json!({"price": row.get::<_, String>(1)});
        if notes {
            document["notes"] = json!(row.get::<_, Option<String>>(2).unwrap_or_default());
        }
        (row.get(0), document)
    };
    rows.iter().map(document).collect()
}

/// The builder; its second version has the notes.
#[derive(Debug)]
pub struct Lines {
    version: BuilderVersion,
    declaration: Declaration,
    notes: bool,
}

impl Lines {
    pub fn new(notes: bool) -> Self {
        let table = |name: &str, root: bool, keys: &[&str], columns: &[&str]| TableDeclaration {
            table: name.into(),
            schema: Some("Sales Dept".into()),
            keys: keys.iter().map(ToString::to_string).collect(),
            columns: Columns::Listed(columns.iter().map(ToString::to_string).collect()),
            root,
            everything: false,
        };
        let key = ["Order No", "Line"];
        let mut tables = vec![table("Order Lines", true, &key, &["Price €"])];
        // A field that is not declared any more would need a new index.
        let properties = json!({"price": {"type": "keyword"}, "notes": {"type": "keyword"}});
        if notes {
            tables.push(table("Line Notes", false, &key, &["note"]));
        }
        let index = IndexDeclaration {
            name: "lines".into(),
            mapping: json!({"properties": properties}),
            settings: Some(json!({"number_of_replicas": 0})),
            tables,
            reads: vec!["lines".into()],
            routing: None,
        };
        let with = if notes {
            "coalesce((select string_agg(n.note, ', ' order by n.note) from \"Sales Dept\".\"Line Notes\" n \
             where n.\"Order No\" = l.\"Order No\" and n.\"Line\" = l.\"Line\"), '')"
        } else {
            "''"
        };
        let read = format!(
            "select l.\"Order No\" || '/' || l.\"Line\" as id, l.\"Price €\"::text as price, {with} as notes \
             from \"Sales Dept\".\"Order Lines\" l where l.\"Order No\" || '/' || l.\"Line\" = any($1)"
        );
        let queries = [("lines".to_owned(), read)].into();
        let declaration = Declaration { contract: "0.1".into(), rows: RowForm::Columns, indexes: vec![index], queries };
        Self { version: BuilderVersion(if notes { "with notes" } else { "bare" }.to_owned()), declaration, notes }
    }
}

#[async_trait]
impl DocumentBuilder for Lines {
    fn version(&self) -> &BuilderVersion {
        &self.version
    }

    fn declaration(&self) -> &Declaration {
        &self.declaration
    }

    async fn resolve(&self, _index: &str, _table: &str, rows: Rows) -> Result<Affected, Failure> {
        let column = |name: &str| rows.columns().iter().find(|column| column.name == name).expect("a key");
        let Cells::Integers(lines) = &column("Line").cells else { panic!("Line is no integer") };
        let orders = texts(&rows, "Order No");
        let ids = orders.into_iter().zip(lines.iter()).map(|(order, line)| format!("{order}/{line}"));
        Ok(Affected { ids: ids.collect(), queries: Vec::new() })
    }

    async fn assemble(&self, request: AssembleRequest) -> Result<Vec<Outcome>, Failure> {
        let rows = &request.reads[0];
        let found = texts(rows, "id").into_iter().zip(texts(rows, "price").into_iter().zip(texts(rows, "notes")));
        let found: HashMap<String, (String, String)> = found.collect();
        let document = |id: &String| match found.get(id) {
            Some((price, notes)) => {
                let mut document = json!({"price": price});
                if self.notes {
                    document["notes"] = json!(notes);
                }
                Outcome::Document(document.to_string().into())
            }
            None => Outcome::Absent,
        };
        Ok(request.ids.iter().map(document).collect())
    }
}
