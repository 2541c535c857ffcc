//! Fault 14 and rule R2: a commit that waits for a standby is in the stream and in no snapshot, and a later one overtakes it
//! for readers. The same scenario with the fence, and with commit order, switched off ends wrong: that is what they are for.

use super::*;
use crate::support::shop::ShopDocuments;
use crate::support::writers::{Load, Writers};

/// What must come of it.
#[derive(Clone, Copy, PartialEq)]
enum Outcome {
    Equal,
    Stale,
}

/// A commit waits for a standby that never comes, `local` ones beside it concern the same document and another; docmill is
/// killed before the standby is given up, and started again behind it.
async fn a_commit_waits_and_others_overtake_it(cluster: Cluster, fail_points: &str, outcome: Outcome) {
    let scene = Scene::of(&cluster, "").await;
    let docmill = scene.shop.run_with_fail_points(fail_points);
    docmill.await_live(PATIENCE).await;
    scene.equal().await;
    cluster.set_standby("nobody").await;
    let waiting = scene.database.connect().await;
    let commit = tokio::spawn(async move {
        waiting.batch_execute("update users set name = 'waits' where id = 1").await.expect("it commits in the end");
    });
    scene.until("select (count(*) = 1)::text from pg_stat_activity where wait_event = 'SyncRep'").await;
    scene
        .run(
            "set synchronous_commit = local; update orders set note = 'overtakes' where user_id = 1; \
             update users set name = 'overtakes' where id = 2",
        )
        .await;
    match outcome {
        Outcome::Equal => {
            // Nothing of it may come out, for as long as anybody waits; so there is nothing to wait for.
            tokio::time::sleep(Duration::from_secs(2)).await;
            let user = scene.search.document("users", "2").await.expect("user 2");
            assert_ne!(user["name"], "overtakes", "it was published before the commit in front of it");
        }
        Outcome::Stale => {
            let until = async {
                while scene.search.document("users", "2").await.expect("user 2")["name"] != "overtakes" {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            };
            tokio::time::timeout(PATIENCE, until).await.expect("it overtakes");
            // Confirmed is everything in the log by then, the one that waits among it.
            let slot = scene.slot();
            let end = scene.ask("select pg_current_wal_flush_lsn()::text").await;
            scene.run("set synchronous_commit = local; update users set name = 'marks the end' where id = 3").await;
            scene
                .until(&format!(
                    "select (confirmed_flush_lsn >= '{end}')::text from pg_replication_slots where slot_name = '{slot}'"
                ))
                .await;
        }
    }
    docmill.kill();
    cluster.set_standby("").await;
    commit.await.expect("the commit that waited");
    scene.slot_free().await;
    let docmill = scene.shop.run_with_fail_points(fail_points);
    docmill.await_live(PATIENCE).await;
    if outcome == Outcome::Equal {
        scene.equal().await;
    } else {
        // What comes behind it arrives, so that nothing else is to come.
        scene.run("update users set name = 'comes last' where id = 4").await;
        let until = async {
            while scene.search.document("users", "4").await.expect("user 4")["name"] != "comes last" {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, until).await.expect("later changes arrive");
        let expected = ShopDocuments::from_sql(&scene.database.url).await;
        let differences = expected.differences(&ShopDocuments::from_opensearch(&scene.search).await);
        assert!(differences.wrong > 0, "with {fail_points} it is in step all the same: the test shows nothing");
        assert_eq!(scene.search.document("users", "1").await.expect("user 1")["name"], "user 1");
    }
    docmill.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_is_not_visible_is_waited_for_and_none_behind_it_comes_first() {
    a_commit_waits_and_others_overtake_it(Cluster::start(&[]).await, "", Outcome::Equal).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_fence_documents_stay_stale() {
    a_commit_waits_and_others_overtake_it(Cluster::start(&[]).await, "fence-off", Outcome::Stale).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_commit_order_documents_stay_stale() {
    a_commit_waits_and_others_overtake_it(Cluster::start(&[]).await, "order-off", Outcome::Stale).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fence_holds_past_32_bits_of_transactions() {
    let mut cluster = Cluster::start(&[]).await;
    cluster.reset_wal(&["-e", "1"]).await;
    a_commit_waits_and_others_overtake_it(cluster, "", Outcome::Equal).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_on_the_same_rows_beside_a_standby_that_comes_and_goes_end_equal() {
    let cluster = Cluster::start(&[]).await;
    let scene = Scene::of(&cluster, "").await;
    let docmill = scene.in_step().await;
    let load = Load { writers: 4, seed: 14, users: 3, products: 3, pause: Duration::from_millis(1) };
    let writers = Writers::start(&scene.database, &load);
    let same = scene.database.connect().await;
    let local = tokio::spawn(async move {
        // Beside the others, on rows of one document, and never waiting.
        same.batch_execute("set synchronous_commit = local").await.expect("local");
        for n in 0..400 {
            let sql = format!(
                "update users set name = 'u{n}' where id = 1; update orders set note = 'o{n}' where user_id = 1"
            );
            let _ = same.batch_execute(&sql).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    for pause in [150, 400, 90, 300] {
        cluster.set_standby("nobody").await;
        tokio::time::sleep(Duration::from_millis(pause)).await;
        cluster.set_standby("").await;
        tokio::time::sleep(Duration::from_millis(pause / 2)).await;
    }
    local.await.expect("the writer of one document");
    let counts = writers.stop().await;
    assert!(counts.committed > 20, "{counts}");
    scene.equal().await;
    assert!(docmill.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_wait_at_the_fence_is_told_and_so_is_its_end() {
    use std::sync::{Arc, Mutex};

    use docmill::edges::{ChangeCapture, Observer, OpenRequest, Waiting};
    use docmill::postgres::{Postgres, PostgresOptions};

    #[derive(Debug, Default)]
    struct Told(Mutex<Vec<Option<Waiting>>>, Mutex<Duration>);
    impl Observer for Told {
        fn on_waiting(&self, waiting: Option<Waiting>) {
            self.0.lock().unwrap().push(waiting);
        }
        fn on_fence(&self, waited: Duration) {
            let mut longest = self.1.lock().unwrap();
            *longest = waited.max(*longest);
        }
    }

    let cluster = Cluster::start(&[]).await;
    cluster.run("create table t (id int primary key)").await;
    let options = PostgresOptions {
        url: cluster.server().url(),
        visibility_report_every: Duration::from_millis(200),
        ..PostgresOptions::default()
    };
    let told = Arc::new(Told::default());
    let tables = [docmill::edges::CapturedTable {
        table: docmill::model::TableName::new("public", "t"),
        keys: vec!["id".to_owned()],
        columns: docmill::model::Columns::Any,
    }];
    let request = OpenRequest { observer: Arc::clone(&told) as _, ..OpenRequest::of(&tables) };
    let postgres = Postgres::new(options).expect("options");
    let mut stream = postgres.open(&request).await.expect("a stream");
    cluster.set_standby("nobody").await;
    let waiting = cluster.connect().await;
    let commit = tokio::spawn(async move { waiting.batch_execute("insert into t values (1)").await });
    let change = async {
        loop {
            if let docmill::edges::CaptureEvent::End { next_xid, .. } = stream.next().await.expect("an event") {
                return next_xid;
            }
        }
    };
    let let_go = async {
        while told.0.lock().unwrap().last() != Some(&Some(Waiting::Visibility)) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        cluster.set_standby("").await;
    };
    let (next_xid, ()) = tokio::time::timeout(PATIENCE, async { tokio::join!(change, let_go) }).await.expect("in time");
    commit.await.unwrap().unwrap();
    let mut waits = told.0.lock().unwrap().clone();
    // It is told again and again while it lasts.
    waits.dedup();
    assert_eq!(waits, [Some(Waiting::Visibility), None]);
    assert!(*told.1.lock().unwrap() >= Duration::from_millis(200));
    let xid: u64 = cluster.ask("select (xmin::text) from t").await.parse().unwrap();
    assert!(next_xid > xid, "{next_xid} is not past {xid}");
}
