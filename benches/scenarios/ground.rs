//! The servers and the rows that every system is measured on.

use docmill::embedded::EmbeddedPostgres;
use serde_json::Value;

use crate::arguments::Arguments;
use crate::support::difference::differences;
use crate::support::opensearch::{Node, OpenSearch};
use crate::support::postgres::{Database, private};
use crate::support::shop::{self, ShopDocuments};

/// See the module.
pub struct Ground {
    pub users: u32,
    /// Changes in a scenario of changes.
    pub changes: u32,
    /// Seconds of load where latency is measured.
    pub seconds: u64,
    postgres: EmbeddedPostgres,
    node: Node,
    version: Value,
    template: Database,
}

impl Ground {
    pub async fn start(arguments: &Arguments) -> Self {
        let (users, changes, seconds) = if arguments.quick { (20_000, 50_000, 10) } else { (200_000, 500_000, 60) };
        let settings = [("shared_buffers", "512MB"), ("max_wal_size", "8GB"), ("autovacuum", "off")];
        let (postgres, node) = tokio::join!(private(&settings), Node::start(&[]));
        let template = Database { name: "shop".to_owned(), url: postgres.url_of("shop") };
        let ground = Self {
            users,
            changes,
            seconds,
            version: OpenSearch::at(&node.url()).must(reqwest::Method::GET, "", None).await["version"]["number"].take(),
            postgres,
            node,
            template,
        };
        ground.sql("create database shop").await;
        shop::create(&ground.template, users, 1_000).await;
        eprintln!("{users} users with 5 orders each are there");
        ground
    }

    /// The rows, for a system alone: what an earlier one changed is not in them.
    pub async fn database(&self, name: &str) -> Database {
        self.sql(&format!("create database {name} template shop")).await;
        self.sql("checkpoint").await;
        Database { name: name.to_owned(), url: self.postgres.url_of(name) }
    }

    /// Takes them away again.
    pub async fn drop(&self, database: &Database) {
        let name = &database.name;
        self.sql(&format!(
            "select pg_terminate_backend(active_pid) from pg_replication_slots where database = '{name}'"
        ))
        .await;
        self.sql(&format!(
            "select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = '{name}'"
        ))
        .await;
        self.sql(&format!("drop database {name} with (force)")).await;
    }

    /// Indexes of their own.
    pub fn search(&self) -> OpenSearch {
        OpenSearch::at(&self.node.url())
    }

    async fn sql(&self, sql: &str) {
        let client = crate::support::postgres::connect(&self.postgres.url()).await;
        client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// How many documents of the index `users` are not what SQL says.
    pub async fn wrong(&self, database: &Database, search: &OpenSearch) -> usize {
        let expected = ShopDocuments::from_sql(&database.url).await.users;
        let found = search.documents("users").await.unwrap_or_default();
        let differences = differences("users", &expected, &found);
        if differences.total() > 0 {
            eprintln!("{differences}");
        }
        differences.total()
    }

    pub fn postgres_pid(&self) -> u32 {
        self.postgres.pid().expect("PostgreSQL runs")
    }

    pub fn search_pid(&self) -> u32 {
        self.node.pid()
    }

    pub fn postgres_version(&self) -> u32 {
        self.postgres.major()
    }

    pub fn search_version(&self) -> &str {
        self.version.as_str().unwrap_or("?")
    }
}
