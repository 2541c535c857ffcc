//! Rule R2 where reads go to a standby: a commit shows when its record was replayed, and its position is where that record begins.

use std::sync::Arc;

use docmill::Engine;

use super::*;
use crate::support::postgres::until_true;
use crate::support::running::{Loud, Running, limits, shop_builder, sink, source_with};

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_record_the_standby_has_reached_and_not_replayed_is_waited_for() {
    let mut cluster = Cluster::start(&[("autovacuum", "off")]).await;
    let database = cluster.database();
    shop::create(&database, 20, 10).await;
    let standby = cluster.standby(&[]).await;
    let search = OpenSearch::fresh().await;
    let source = source_with(&database, |options| {
        options.reader_url = Some(standby.server().url());
        options.reader_trusted = true;
    });
    let engine = Engine::new(source, shop_builder().await, sink(&search).await)
        .with_name("shop")
        .with_observer(Arc::new(Loud))
        .with_limits(limits());
    let engine = Running::start(engine);
    await_equal(&database, &search, PATIENCE).await;

    let writer = database.connect().await;
    loop {
        writer.batch_execute("begin; update users set name = 'reached' where id = 1").await.expect("an update");
        // Its commit puts the log on disk up to its own end, with what the writer wrote.
        cluster.run("select pg_logical_emit_message(true, 'a test', 'writes the log out')").await;
        standby.caught_up_with(&cluster).await;
        standby.run("select pg_wal_replay_pause()").await;
        until_true(&standby.connect().await, "select pg_get_wal_replay_pause_state() = 'paused'").await;
        let end = cluster.ask("select pg_current_wal_insert_lsn()::text").await;
        if standby.ask("select pg_last_wal_replay_lsn()::text").await == end {
            break;
        }
        // The server wrote something of its own in between.
        writer.batch_execute("rollback").await.expect("nothing happened");
        standby.run("select pg_wal_replay_resume()").await;
    }
    writer.batch_execute("commit").await.expect("a commit");
    // Read now, the row would be the old one, and nothing would come behind it.
    tokio::time::sleep(Duration::from_secs(2)).await;
    standby.run("select pg_wal_replay_resume()").await;
    await_equal(&database, &search, PATIENCE).await;
    engine.stop().await;
}
