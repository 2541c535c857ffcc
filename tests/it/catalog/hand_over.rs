//! A table enters the publication while transactions that write to it are open (R1, fault 18).

use std::time::Duration;

use super::Watched;
use crate::support::lines;
use crate::support::opensearch::OpenSearch;
use crate::support::postgres::{Database, until_true};

/// Whether a session of ours waits in the test's event trigger.
const ALTER_WAITS: &str = "select exists (select from pg_locks where locktype = 'advisory' and not granted \
                           and database = (select oid from pg_database where datname = current_database()))";

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_transactions_open_across_our_alter_publication_are_not_lost() {
    let watched = Watched::fresh("").await;
    let engine = watched.start().await;
    watched.equal().await;
    engine.stop().await;
    watched
        .run(
            "alter publication docmill drop table reviews; \
             create function wait_here() returns event_trigger language plpgsql as \
               $$ begin perform pg_advisory_xact_lock(18); end $$; \
             create event trigger wait_here on ddl_command_end when tag in ('ALTER PUBLICATION') execute function wait_here()",
        )
        .await;
    let holder = watched.database.connect().await;
    holder.batch_execute("select pg_advisory_lock(18)").await.unwrap();
    let insert = |id: u32| {
        format!(
            "begin; insert into reviews select {id}, id, null, 5, 'open across' from products where sku is not null limit 1"
        )
    };
    // One that began before the ALTER, with an id before the ALTER's; one whose id is after the ALTER's.
    let before = watched.database.connect().await;
    before.batch_execute(&insert(501)).await.unwrap();
    let engine = watched.start().await;
    until_true(&holder, ALTER_WAITS).await;
    let after = watched.database.connect().await;
    after.batch_execute(&insert(502)).await.unwrap();
    holder.batch_execute("select pg_advisory_unlock(18)").await.unwrap();
    watched.await_published("reviews").await;
    // Longer than a pass over this shop takes: one that did not wait would have read without them by now.
    tokio::time::sleep(Duration::from_secs(1)).await;
    before.batch_execute("commit").await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    after.batch_execute("commit").await.unwrap();
    watched.equal().await;
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_transaction_open_while_somebody_else_alters_the_publication_are_not_lost() {
    let watched = Watched::fresh("").await;
    let engine = watched.start().await;
    watched.equal().await;
    let writer = watched.database.connect().await;
    watched.run("alter publication docmill drop table reviews").await;
    let insert = "begin; insert into reviews select 601, id, null, 5, 'open across' from products limit 1";
    writer.batch_execute(insert).await.unwrap();
    // Before or after the watch has seen that it is gone; both must do.
    watched.run("do $$ begin alter publication docmill add table reviews; exception when duplicate_object then null; end $$").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    writer.batch_execute("commit").await.unwrap();
    watched.equal().await;
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_table_that_another_builder_adds_while_their_transaction_is_open_are_not_lost() {
    let (database, search) = (Database::fresh().await, OpenSearch::fresh().await);
    let client = database.connect().await;
    client.batch_execute(&lines::tables(10)).await.unwrap();
    let engine = lines::run(&database, &search, false).await;
    lines::await_equal(&database, &search, false).await;
    engine.stop().await;
    let writer = database.connect().await;
    writer
        .batch_execute(
            "begin; insert into \"Sales Dept\".\"Line Notes\" (\"Order No\", \"Line\", note) \
               select \"Order No\", \"Line\", 'open meanwhile' from \"Sales Dept\".\"Order Lines\"; \
             delete from \"Sales Dept\".\"Line Notes\" where note = 'note 1'",
        )
        .await
        .unwrap();
    let engine = lines::run(&database, &search, true).await;
    let published =
        "select exists (select from pg_publication_tables where pubname = 'docmill' and tablename = 'Line Notes')";
    until_true(&client, published).await;
    // Longer than a pass over these documents takes.
    tokio::time::sleep(Duration::from_secs(1)).await;
    writer.batch_execute("commit").await.unwrap();
    lines::await_equal(&database, &search, true).await;
    client.batch_execute("delete from \"Sales Dept\".\"Line Notes\" where note = 'open meanwhile'").await.unwrap();
    lines::await_equal(&database, &search, true).await;
    engine.stop().await;
    // And back, with a builder that does not want the table any more.
    let engine = lines::run(&database, &search, false).await;
    lines::await_equal(&database, &search, false).await;
    client.batch_execute("update \"Sales Dept\".\"Order Lines\" set \"Price €\" = 7").await.unwrap();
    lines::await_equal(&database, &search, false).await;
    engine.stop().await;
}
