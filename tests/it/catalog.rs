//! What changes content without a change of a row in the stream is noticed, while running and while stopped, and ends in an
//! index that is what SQL says; what leaves content as it is costs nothing.

mod columns;
mod content;
mod false_alarms;
mod hand_over;
mod partitions;
mod publication;
mod shapes;

use std::time::Duration;

use docmill::Engine;
use docmill::pipeline::{FailurePolicies, OnRejected};
use std::sync::Arc;

use super::support::opensearch::OpenSearch;
use super::support::postgres::{Database, until_true};
use super::support::running::{Loud, Running, limits, shop_builder, sink, source_with};
use super::support::shop::{self, await_equal};

const PATIENCE: Duration = Duration::from_secs(60);

/// Reviews in two partitions, every row of which is told in full.
const PARTITIONED_REVIEWS: &str = "\
    alter table reviews rename to whole; \
    create table reviews (like whole, primary key (id)) partition by range (id); \
    create table reviews_low partition of reviews for values from (minvalue) to (16); \
    create table reviews_high partition of reviews for values from (16) to (1000); \
    insert into reviews select * from whole; drop table whole; \
    alter table reviews replica identity full; alter table reviews_low replica identity full; \
    alter table reviews_high replica identity full;";

/// A small shop and its index; the catalog is looked at often.
struct Watched {
    database: Database,
    search: OpenSearch,
}

impl Watched {
    /// Twenty users, ten products and thirty reviews, changed by `prepare`.
    async fn fresh(prepare: &str) -> Self {
        let (database, search) = (Database::fresh().await, OpenSearch::fresh().await);
        shop::create(&database, 20, 10).await;
        let watched = Self { database, search };
        watched.run(prepare).await;
        watched
    }

    async fn run(&self, sql: &str) {
        self.database.connect().await.batch_execute(sql).await.unwrap_or_else(|error| {
            let found = error.as_db_error().map_or_else(|| error.to_string(), |error| error.message().to_owned());
            panic!("{sql}: {found}")
        });
    }

    async fn await_published(&self, table: &str) {
        let client = self.database.connect().await;
        let published = "select exists (select from pg_publication_tables where pubname = 'docmill' and tablename = ";
        until_true(&client, &format!("{published}'{table}')")).await;
    }

    async fn start(&self) -> Running {
        self.start_with(|engine| engine).await
    }

    async fn start_with(&self, change: impl FnOnce(Engine) -> Engine) -> Running {
        let source = source_with(&self.database, |options| options.catalog_every = Duration::from_millis(200));
        let engine = Engine::new(source, shop_builder().await, sink(&self.search).await)
            .with_name("shop")
            .with_limits(limits())
            .with_observer(Arc::new(Loud))
            .with_failure_policies(FailurePolicies::all(OnRejected::Stop));
        Running::start(change(engine))
    }

    async fn equal(&self) {
        await_equal(&self.database, &self.search, PATIENCE).await;
    }
}

/// Each change is made once while the engine runs and, in another way, while it is stopped; both end in what SQL says.
async fn follows(prepare: &str, running: &[&str], stopped: &[&str]) {
    let watched = Watched::fresh(prepare).await;
    let mut engine = watched.start().await;
    watched.equal().await;
    for change in running {
        watched.run(change).await;
        watched.equal().await;
    }
    for change in stopped {
        engine.stop().await;
        watched.run(change).await;
        engine = watched.start().await;
        watched.equal().await;
    }
    // It goes on: the stream is the one that it was.
    watched.run("update users set name = 'at last' where id = 1; update reviews set stars = 6 - stars").await;
    watched.equal().await;
    engine.stop().await;
}
