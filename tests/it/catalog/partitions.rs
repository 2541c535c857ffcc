//! Partitions come, go, are emptied by themselves, and have identities of their own (faults 4 and 20).

use super::{PARTITIONED_REVIEWS, Watched, follows};

const SESSION_ENDS: &str = "select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = 'docmill_' || current_database()";

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_is_truncated_by_itself_is_noticed() {
    follows(PARTITIONED_REVIEWS, &["truncate reviews_low"], &["truncate reviews_high"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_is_detached_or_attached_or_dropped_is_noticed() {
    let attach = |name: &str, from: u32| {
        format!(
            "create table {name} (like reviews including all); alter table {name} replica identity full; \
             insert into {name} select {from} + g, (select id from products limit 1 offset g % 9), null, 5, '' \
             from generate_series(1, 40) g; \
             alter table reviews attach partition {name} for values from ({from}) to ({from} + 1000)"
        )
    };
    follows(
        PARTITIONED_REVIEWS,
        &[
            "alter table reviews detach partition reviews_low",
            // Of no concern while it is apart.
            "update reviews_low set stars = 1",
            "alter table reviews attach partition reviews_low for values from (minvalue) to (16)",
            &attach("reviews_2000", 2000),
            // As it was before, when somebody looks.
            "alter table reviews detach partition reviews_low; update reviews_low set stars = 2; \
             alter table reviews attach partition reviews_low for values from (minvalue) to (16)",
            "drop table reviews_high",
        ],
        &[
            "alter table reviews detach partition reviews_low; update reviews_low set stars = 3; \
             alter table reviews attach partition reviews_low for values from (minvalue) to (16)",
            "alter table reviews detach partition reviews_2000",
            &attach("reviews_4000", 4000),
            "drop table reviews_4000",
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_with_the_default_identity_makes_passes_until_it_is_mended() {
    let watched = Watched::fresh(PARTITIONED_REVIEWS).await;
    let engine = watched.start().await;
    watched.equal().await;
    watched
        .run(
            "create table late partition of reviews for values from (1000) to (2000); \
             insert into reviews select 1000 + g, (select id from products limit 1 offset g % 9), null, 5, '' \
             from generate_series(1, 40) g",
        )
        .await;
    watched.equal().await;
    // The stream marks these old rows as full, with nulls where their products were.
    for change in [
        "update reviews set product_id = (select max(id::text)::uuid from products) where id between 1001 and 1009",
        "delete from reviews where id between 1010 and 1020",
        "delete from late where id between 1021 and 1030",
    ] {
        watched.run(change).await;
        watched.equal().await;
    }
    // A stream that is opened again, because its connection was lost, goes on; one that is begun is refused.
    watched.run(SESSION_ENDS).await;
    watched.run("delete from reviews where id between 1031 and 1035").await;
    watched.equal().await;
    // What was changed shortly after another change, and not asked for when the stream ends, is not forgotten with it.
    for id in 1036..1039 {
        watched.run(&format!("delete from reviews where id = {id}")).await;
    }
    watched.run(SESSION_ENDS).await;
    watched.equal().await;
    watched.run("alter table late replica identity full; delete from reviews where id > 1038").await;
    watched.equal().await;
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_on_one_partition_holds_up_nothing_else() {
    let watched = Watched::fresh(PARTITIONED_REVIEWS).await;
    let engine = watched.start().await;
    watched.equal().await;
    let holder = watched.database.connect().await;
    holder.batch_execute("begin; lock table reviews_low in access exclusive mode").await.unwrap();
    // Longer than anything waits for a lock, with looks all the time; users are made of other tables.
    for round in 0..10 {
        match round {
            // It has its partitions described, and its document waits for the lock.
            2 => watched.run("update reviews_high set stars = 1 where id = 20").await,
            4 => watched.run(SESSION_ENDS).await,
            6 => watched.run("analyze reviews_high; update reviews_high set stars = 2 where id = 20").await,
            _ => {}
        }
        let name = format!("round {round}");
        watched.run(&format!("update users set name = '{name}' where id = 3")).await;
        let begin = std::time::Instant::now();
        while watched.search.document("users", "3").await.is_none_or(|user| user["name"] != name.as_str()) {
            assert!(begin.elapsed().as_secs() < 30, "user 3 waits for a lock on reviews_low");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    holder.batch_execute("rollback").await.unwrap();
    watched.equal().await;
    engine.stop().await;
}
