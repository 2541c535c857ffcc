//! The servers, and the rows that every system is measured on.

use std::time::{Duration, Instant};

use docmill::embedded::EmbeddedPostgres;
use reqwest::Method;
use serde_json::Value;

use crate::support::opensearch::{Node, OpenSearch};
use crate::support::postgres::{Database, connect, private};
use crate::support::shop;

/// Without a merge for that long a search engine is at rest.
const SETTLED: Duration = Duration::from_secs(1);

const SETTLED_MAX: Duration = Duration::from_secs(300);

/// The servers.
pub struct Ground {
    postgres: EmbeddedPostgres,
    node: Node,
    version: String,
}

/// Rows that are there once, and are copied for each system: what one changed no other one sees.
#[derive(Clone, Debug)]
pub struct Rows {
    template: String,
    /// Those that scenarios change; one more is there (see [`Rows::last_user`]).
    pub users: u32,
    pub products: u32,
}

impl Rows {
    /// The user that no scenario changes until all else is done: an earlier change of it could pass for its last one.
    pub fn last_user(&self) -> i64 {
        i64::from(self.users) + 1
    }

    pub fn documents(&self) -> u64 {
        u64::from(self.users) + 1
    }
}

/// Where one system runs: rows and indexes of its own, and a folder for its files.
pub struct Place {
    pub database: Database,
    pub search: OpenSearch,
    pub folder: tempfile::TempDir,
    pub rows: Rows,
    /// The index that is made.
    pub index: &'static str,
}

impl Ground {
    pub async fn start() -> Self {
        let settings = [("shared_buffers", "1GB"), ("max_wal_size", "16GB"), ("autovacuum", "off")];
        let (postgres, node) = tokio::join!(private(&settings), Node::start(&[]));
        let root = OpenSearch::at(&node.url()).must(Method::GET, "", None).await;
        let version = root["version"]["number"].as_str().unwrap_or("?").to_owned();
        Self { postgres, node, version }
    }

    /// The shop with that many users, five orders each, two lines an order; one user without any; and products.
    pub async fn rows(&self, users: u32, products: u32) -> Rows {
        let template = format!("shop_{users}_{products}");
        self.sql(&format!("create database {template}")).await;
        let database = Database { name: template.clone(), url: self.postgres.url_of(&template) };
        shop::create(&database, users, products).await;
        let rows = Rows { template, users, products };
        let last = format!("{}, 'last', 'last@example.com', 'DE', '2026-01-01 00:00:00Z'", rows.last_user());
        let insert = format!("insert into users (id, name, email, country, created_at) values ({last})");
        database.connect().await.batch_execute(&insert).await.expect("one more user");
        eprintln!("{users} users with 5 orders each and {products} products are there");
        rows
    }

    /// Takes rows away again.
    pub async fn forget(&self, rows: Rows) {
        self.sql(&format!("drop database {} with (force)", rows.template)).await;
    }

    pub async fn place(&self, rows: &Rows, name: &str) -> Place {
        // Slots and databases are the cluster's, so the names are, too.
        let name = format!("{name}_{:06x}", rand::random::<u32>() & 0xff_ffff);
        self.sql(&format!("create database {name} template {}", rows.template)).await;
        self.sql("checkpoint").await;
        let database = Database { url: self.postgres.url_of(&name), name };
        let folder = tempfile::tempdir().expect("a folder");
        Place { database, search: OpenSearch::at(&self.node.url()), folder, rows: rows.clone(), index: "users" }
    }

    /// Without any rows.
    pub async fn bare_place(&self, name: &str) -> Place {
        let rows = Rows { template: "template0".to_owned(), users: 0, products: 0 };
        self.place(&rows, name).await
    }

    pub async fn clear(&self, place: Place) {
        place.search.remove_all().await;
        let name = &place.database.name;
        let slots = format!("from pg_replication_slots where database = '{name}'");
        self.sql(&format!("select pg_terminate_backend(active_pid) {slots}")).await;
        let client = connect(&self.postgres.url()).await;
        for _ in 0..100 {
            // A walsender that was told to end may not have yet.
            if client.batch_execute(&format!("select pg_drop_replication_slot(slot_name) {slots}")).await.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.sql(&format!("drop database {name} with (force)")).await;
    }

    async fn sql(&self, sql: &str) {
        let client = connect(&self.postgres.url()).await;
        client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
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
        &self.version
    }
}

impl Place {
    /// Writes into this system's index so far, seen by searches or not; a peer's index may have a hash and a number behind its name.
    pub async fn writes(&self) -> u64 {
        let index = self.search.index(self.index);
        let path = format!("{index}*/_stats/indexing?filter_path=_all.primaries.indexing.index_total");
        let stats: Value = self.search.must(Method::GET, &path, None).await;
        stats["_all"]["primaries"]["indexing"]["index_total"].as_u64().unwrap_or(0)
    }

    /// Waits until the search engine has no work left from what it was given.
    pub async fn settled(&self) {
        let path = "_nodes/stats/indices/merge?filter_path=nodes.*.indices.merges.current";
        let (begin, mut quiet_since) = (Instant::now(), Instant::now());
        while quiet_since.elapsed() < SETTLED {
            tokio::time::sleep(SETTLED / 20).await;
            let stats: Value = self.search.must(Method::GET, path, None).await;
            assert!(begin.elapsed() < SETTLED_MAX, "the search engine still merges after {SETTLED_MAX:?}");
            let busy = |node: &Value| node["indices"]["merges"]["current"].as_u64() != Some(0);
            if stats["nodes"].as_object().is_none_or(|nodes| nodes.values().any(busy)) {
                quiet_since = Instant::now();
            }
        }
    }

    /// Whether the slot of this database was confirmed to the end of the log.
    pub async fn confirmed(&self) -> bool {
        let client = self.database.connect().await;
        let end = "pg_current_wal_flush_lsn()";
        let sql = format!("select confirmed_flush_lsn >= {end} from pg_replication_slots where database = $1");
        let row = client.query_opt(&sql, &[&self.database.name]).await.expect("the slots");
        row.is_some_and(|row| row.get(0))
    }

    /// Whether that user has that name in the index, seen by searches or not.
    pub async fn has(&self, id: i64, name: &str) -> bool {
        self.search.document("users", &id.to_string()).await.is_some_and(|user| user["name"] == name)
    }
}
