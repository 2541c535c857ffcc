//! Builders that want to do harm, each as a whole pipeline in one process with a good one: what becomes of them, exactly, and that
//! the neighbour did not notice. `guest-examples/evil` is the builder; `stage` says how they share the process, `pace` how the
//! neighbour is judged.

mod assemble;
mod bulk;
mod by_hand;
mod case;
mod components;
mod describe;
mod documents;
pub mod failing;
mod grants;
mod indexes;
mod lines;
mod neighbour;
mod pace;
mod process;
mod queries;
mod reading;
mod resolve;
mod roles;
mod sameness;
mod sessions;
mod stage;
mod tenants;
mod wording;

use std::collections::BTreeMap;
use std::process::Stdio;

use docmill::edges::{CapturedTable, Failure, FailureClass, QuerySet};
use docmill::model::{Columns, Declaration, Query, RowForm, TableName};
use docmill::postgres::{Postgres, PostgresOptions};
use std::sync::Arc;
use tokio_postgres::Client;

use super::support::postgres::{Database, blocking};

/// A database with a role that may read one table, `items`, and nothing else; and the superuser's connection.
struct Walled {
    database: Database,
    admin: Client,
    reader: String,
}

impl Walled {
    async fn fresh() -> Self {
        let database = Database::fresh().await;
        let admin = database.connect().await;
        let reader = format!("{}_reader", database.name);
        let sql = format!(
            "create table items (id int primary key, name text); insert into items select n, 'item ' || n from generate_series(1, 3) n; \
             create table secrets (id int primary key, secret text); insert into secrets values (1, 'hunter2'); \
             create role {reader} login password 'x'; grant select on items to {reader}"
        );
        admin.batch_execute(&sql).await.expect("a walled database");
        Self { database, admin, reader }
    }

    fn options(&self) -> PostgresOptions {
        PostgresOptions { reader_url: Some(as_role(&self.database, &self.reader)), ..options(&self.database) }
    }

    /// With which a query may ask for the process that serves it.
    fn options_with_pid(&self) -> PostgresOptions {
        PostgresOptions { allow_functions: vec!["pg_backend_pid".to_owned()], ..self.options() }
    }

    async fn sql(&self, sql: &str) {
        self.admin.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    async fn ask(&self, sql: &str) -> String {
        self.admin.query_one(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
    }

    /// What a builder with this one query meets at load.
    async fn prepare(&self, text: &str) -> Result<Arc<dyn QuerySet>, Failure> {
        prepare(self.options(), &[("q", text)]).await
    }

    /// The refusal of a builder with this one query.
    async fn refused(&self, text: &str) -> String {
        match self.prepare(text).await {
            Ok(_) => panic!("it was accepted: {text}"),
            Err(failure) => {
                assert_eq!(failure.class, FailureClass::Fatal, "{text}: {}", failure.chain());
                failure.chain()
            }
        }
    }
}

fn options(database: &Database) -> PostgresOptions {
    PostgresOptions {
        url: database.url.clone(),
        slot: format!("slot_{}", database.name),
        heartbeat: None,
        ..PostgresOptions::default()
    }
}

/// The database's URL for another role, whose password is `x`.
fn as_role(database: &Database, role: &str) -> String {
    let (_, rest) = database.url.split_once('@').expect("a URL with a user");
    format!("postgres://{role}:x@{rest}")
}

async fn prepare(options: PostgresOptions, queries: &[(&str, &str)]) -> Result<Arc<dyn QuerySet>, Failure> {
    Postgres::new(options).expect("options").reader_of().prepare(&declaration(queries)).await
}

/// Spares a `use` of the trait in every file.
trait ReaderOf {
    fn reader_of(&self) -> Arc<dyn docmill::edges::RowReader>;
}

impl ReaderOf for Postgres {
    fn reader_of(&self) -> Arc<dyn docmill::edges::RowReader> {
        docmill::edges::ChangeCapture::reader(self)
    }
}

fn declaration(queries: &[(&str, &str)]) -> Declaration {
    Declaration {
        contract: "0.1".to_owned(),
        rows: RowForm::Columns,
        indexes: Vec::new(),
        queries: queries
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
            .collect::<BTreeMap<_, _>>(),
    }
}

fn query(name: &str, params: &[&str]) -> Query {
    Query { name: name.to_owned(), params: params.iter().map(|param| Some((*param).to_owned())).collect() }
}

fn captured(schema: &str, table: &str, columns: Columns) -> CapturedTable {
    CapturedTable { table: TableName::new(schema, table), keys: vec!["id".to_owned()], columns }
}

#[track_caller]
fn says(text: &str, part: &str) {
    assert!(text.contains(part), "{part:?} is not in {text}");
}

/// How the command ended, and all it said.
struct Said {
    code: Option<i32>,
    text: String,
}

/// Runs `docmill` to its end on a configuration, with these files beside it.
async fn docmill(command: &'static str, config: String, files: Vec<(String, Vec<u8>)>) -> Said {
    blocking(move || {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("docmill.toml"), config).expect("a configuration");
        for (name, bytes) in files {
            std::fs::write(folder.path().join(name), bytes).expect("a file");
        }
        let mut run = std::process::Command::new(env!("CARGO_BIN_EXE_docmill"));
        run.arg(command).current_dir(folder.path()).stdin(Stdio::null()).env_remove("RUST_LOG");
        let output = run.output().expect("docmill runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(!text.contains("panicked"), "{text}");
        Said { code: output.status.code(), text }
    })
    .await
}
