//! Rule R1, the quiet point, with the real binary: what is committed around the making of a slot or the change of a publication
//! is in the stream or in the backfill.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_before_the_slot_that_no_snapshot_shows_is_waited_for() {
    let cluster = Cluster::start(&[]).await;
    let database = cluster.database();
    shop::create(&database, 20, 10).await;
    let (first, second) = (database.connect().await, database.connect().await);
    // As `pg.sh` 1 does it: the slot is being made while one transaction after the other holds it up, ...
    first.batch_execute("begin; select pg_current_xact_id()").await.unwrap();
    let scene = Scene::of_shop_in(database, "").await;
    let docmill = scene.shop.run();
    scene.until("select (count(*) = 1)::text from pg_replication_slots").await;
    scene.until("select (count(*) > 0)::text from pg_locks where locktype = 'transactionid' and not granted").await;
    cluster.set_standby("nobody").await;
    second.batch_execute("begin; select pg_current_xact_id()").await.unwrap();
    let second_xid: String = second.query_one("select pg_current_xact_id()::text", &[]).await.unwrap().get(0);
    first.batch_execute("rollback").await.unwrap();
    let waits = format!(
        "select (count(*) > 0)::text from pg_locks where locktype = 'transactionid' and not granted \
         and transactionid::text = '{second_xid}'"
    );
    scene.until(&waits).await;
    // ... and a commit before its first position waits for a standby.
    let waiting = scene.database.connect().await;
    let commit = tokio::spawn(async move {
        waiting.batch_execute("insert into users values (777, 'gap', 'gap@example.com', 'DE', now())").await
    });
    scene.until("select (count(*) = 1)::text from pg_stat_activity where wait_event = 'SyncRep'").await;
    second.batch_execute("rollback").await.unwrap();
    scene.until("select (confirmed_flush_lsn is not null)::text from pg_replication_slots").await;
    docmill.await_status("waiting_on", "open transaction", PATIENCE).await;
    cluster.set_standby("").await;
    commit.await.unwrap().unwrap();
    docmill.await_live(PATIENCE).await;
    scene.equal().await;
    assert!(scene.search.document("users", "777").await.is_some());
    assert!(docmill.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_is_open_over_the_change_of_the_publication_is_waited_for() {
    let database = Database::fresh().await;
    shop::create(&database, 20, 10).await;
    let client = database.connect().await;
    let name = &database.name;
    // A slot that is there already, so that making it waits for nobody; and an ALTER that commits only when the test lets it.
    client
        .batch_execute(
            "create publication docmill for table users with (publish_via_partition_root = true); \
             create function hold() returns event_trigger language plpgsql as \
             $$ begin perform pg_advisory_xact_lock(hashtext(current_database())); end $$; \
             create event trigger hold on ddl_command_end when tag in ('ALTER PUBLICATION') execute function hold(); \
             select pg_advisory_lock(hashtext(current_database()))",
        )
        .await
        .unwrap();
    client
        .batch_execute(&format!("select pg_create_logical_replication_slot('docmill_{name}', 'pgoutput')"))
        .await
        .unwrap();
    let scene = Scene::of_shop_in(database.clone(), "").await;
    let docmill = scene.shop.run();
    scene
        .until("select (count(*) = 1)::text from pg_locks where locktype = 'advisory' and not granted and database = (select oid from pg_database where datname = current_database())")
        .await;
    let writer = database.connect().await;
    writer
        .batch_execute("begin; insert into reviews select 777, id, null, 5, 'late' from products order by id limit 1")
        .await
        .unwrap();
    client.batch_execute("select pg_advisory_unlock_all()").await.unwrap();
    scene.until("select (count(*) > 5)::text from pg_publication_tables").await;
    docmill.await_status("waiting_on", "open transaction", PATIENCE).await;
    writer.batch_execute("commit").await.unwrap();
    docmill.await_live(PATIENCE).await;
    scene.equal().await;
    assert!(docmill.terminate().success());
}
