//! The slot and the source it is of, with the real binary: lost, taken, moved on, waited for; what is not visible yet; servers
//! that restart, crash or shut the door. Every test in which documents flow ends in "index equals `documents.sql`".

mod crash;
mod fence;
mod idle;
mod lost;
mod privileges;
mod quiet;
mod reconnect;
mod standby;
mod taken;

use std::time::Duration;

use super::support::cluster::Cluster;
use super::support::command::{Docmill, Shop};
use super::support::opensearch::OpenSearch;
use super::support::postgres::Database;
use super::support::shop::{self, await_equal};

/// How long anything may take that should happen.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A small shop in a database, and what runs it.
pub struct Scene {
    pub database: Database,
    pub search: OpenSearch,
    pub shop: Shop,
}

impl Scene {
    /// In a database of the shared cluster.
    pub async fn shared(more: &str) -> Self {
        Self::on(Database::fresh().await, more).await
    }

    /// In the cluster's own database.
    pub async fn of(cluster: &Cluster, more: &str) -> Self {
        Self::on(cluster.database(), more).await
    }

    pub async fn on(database: Database, more: &str) -> Self {
        shop::create(&database, 20, 10).await;
        Self::of_shop_in(database, more).await
    }

    /// Of tables that are there already.
    pub async fn of_shop_in(database: Database, more: &str) -> Self {
        let search = OpenSearch::fresh().await;
        let shop = Shop::new(&database, &search, more);
        Self { database, search, shop }
    }

    pub fn slot(&self) -> String {
        format!("docmill_{}", self.database.name)
    }

    /// Runs it and waits until it is in step.
    pub async fn in_step(&self) -> Docmill {
        let docmill = self.shop.run();
        docmill.await_live(PATIENCE).await;
        self.equal().await;
        docmill
    }

    /// Waits until the index is what SQL says.
    pub async fn equal(&self) {
        await_equal(&self.database, &self.search, PATIENCE).await;
    }

    pub async fn run(&self, sql: &str) {
        self.database.connect().await.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// One value as text; empty for null.
    pub async fn ask(&self, sql: &str) -> String {
        let row = self.database.connect().await.query_one(sql, &[]).await;
        row.unwrap_or_else(|error| panic!("{sql}: {error}")).get::<_, Option<String>>(0).unwrap_or_default()
    }

    /// Waits until that value is `true`.
    pub async fn until(&self, sql: &str) {
        let waiting = async {
            while self.ask(sql).await != "true" {
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never true: {sql}"));
    }

    /// Waits until nobody reads the slot any more: the server may notice the end of a process late.
    pub async fn slot_free(&self) {
        self.until(&format!("select (not active)::text from pg_replication_slots where slot_name = '{}'", self.slot()))
            .await;
    }
}

/// Changes that lead to documents by many paths, the deletion of one among them; others for every `n` up to 9.
pub fn changes(n: u32) -> String {
    format!(
        "update users set name = 'name {n}' where id = 1; \
         insert into users values ({id}, 'new', 'new{n}@example.com', 'DE', '2024-01-01'); \
         delete from users where id = {gone}; \
         update orders set user_id = 2 where id = {moved}; \
         delete from order_items where order_id = {moved} and line = 1; \
         update tags set name = 'label {n}' where id = 1; \
         update products set name = 'product {n}' where sku = 'SKU-1'; \
         delete from reviews where id = {n}",
        id = 9000 + n,
        gone = 20 - n,
        moved = 10 + n,
    )
}
