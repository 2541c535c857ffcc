//! Labels: a document is written under the position that was published before it was read, so that an older state which arrives
//! late loses. A lock holds the reading transaction between its snapshot and its end.

use std::time::Duration;

use crate::support::command::Docmill;
use crate::support::postgres::{Database, private};
use crate::support::stand::Stand;

async fn captured(docmill: &Docmill) -> f64 {
    let metrics = docmill.metrics().await;
    let counts = metrics.iter().filter(|(name, _)| name.contains("changes_captured_total"));
    counts.map(|(_, count)| *count).sum()
}

/// User 5 is read as `one`; `two` is committed and published before that read ends; the write of `one` is held until `two` was
/// written. Gives back how many documents are not what SQL says at last.
async fn an_older_state_arrives_last(fail_points: &str) -> usize {
    // Nobody else writes here: a keepalive between the two would lift the second label above the first.
    let server = private(&[("autovacuum", "off")]).await;
    let database = Database { name: "postgres".to_owned(), url: server.url_of("postgres") };
    let search = crate::support::opensearch::OpenSearch::fresh().await;
    let stand = Stand::of(database, search, 20, 5).await;
    let shop = stand.command(Duration::from_secs(5), "");
    shop.configure("[sources.main]\n", "[sources.main]\nheartbeat = \"off\"\n");
    let docmill = shop.run_with_fail_points(fail_points);
    stand.in_step(&docmill).await;
    let before = captured(&docmill).await;

    // The document's first read takes the snapshot, its last one waits for this lock.
    let lock = stand.database.connect().await;
    lock.batch_execute("begin; lock table order_items in access exclusive mode").await.expect("a lock");
    let gate = stand.proxy.hold("5");
    stand.sql("update users set name = 'one' where id = 5").await;
    let reading =
        "select count(*)::text from pg_stat_activity where wait_event_type = 'Lock' and pid <> pg_backend_pid()";
    stand.until("the document is being read", async || stand.ask(reading).await != "0").await;
    stand.sql("update users set name = 'two' where id = 5").await;
    stand.until("both were published", async || captured(&docmill).await >= before + 2.0).await;
    // Published a moment later than counted.
    tokio::time::sleep(Duration::from_millis(300)).await;
    lock.batch_execute("rollback").await.expect("no lock");
    gate.caught().await;
    stand.equal().await;
    gate.release().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let differences = stand.differences().await;
    drop(docmill);
    differences
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_state_that_arrives_last_loses_against_the_newer_one() {
    assert_eq!(an_older_state_arrives_last("").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_label_taken_after_the_read_an_older_state_that_arrives_last_stays() {
    // The server's own writing, every 15 s, may lift the second label above the first.
    for _ in 0..4 {
        if an_older_state_arrives_last("label-after-snapshot").await == 1 {
            return;
        }
    }
    panic!("the rule is not what keeps it out");
}
