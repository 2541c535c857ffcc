//! One hand: an id is never in two requests at once, however slow the search engine is and however many want it.

use std::time::{Duration, Instant};

use crate::support::http::{Call, Fault};
use crate::support::stand::Stand;

/// Connections that write the rows of one document at full speed, through a proxy that takes its time; the ids that were in two
/// requests at once.
async fn hot_document(stand: &Stand, fail_points: &str) -> Vec<(String, String)> {
    let shop = stand.command(Duration::from_secs(5), "");
    let docmill = shop.run_with_fail_points(fail_points);
    stand.in_step(&docmill).await;
    stand.proxy.server().fail_always(Call::is_bulk, Fault::DoLate(Duration::from_millis(150)));
    let until = Instant::now() + Duration::from_secs(3);
    let user = async {
        let client = stand.database.connect().await;
        let mut round = 0;
        while Instant::now() < until {
            round += 1;
            let set = format!("update users set name = 'round {round}' where id = 5");
            client.batch_execute(&set).await.expect("an update");
        }
    };
    let orders = async {
        let client = stand.database.connect().await;
        let mut round = 0;
        while Instant::now() < until {
            round += 1;
            let set = format!("update orders set status = 'round {round}' where user_id = 5");
            client.batch_execute(&set).await.expect("an update");
        }
    };
    tokio::join!(user, orders);
    // What was asked for last is on its way a little later.
    tokio::time::sleep(Duration::from_millis(500)).await;
    stand.proxy.heal();
    // One request that is not answered at all, and the next change of the same document.
    let gate = stand.proxy.hold("5");
    stand.sql("update users set name = 'held' where id = 5").await;
    gate.caught().await;
    stand.sql("update users set name = 'last' where id = 5").await;
    let last = stand.proxy.next_sent(Duration::from_secs(5), |sent| sent.id == "5").await;
    assert!(last.is_some(), "the document is written again");
    gate.release().await;
    let found = stand.proxy.in_two_hands();
    if fail_points.is_empty() {
        stand.equal().await;
        assert!(docmill.terminate().success());
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_is_never_in_two_requests_at_once() {
    let stand = Stand::new(20, 5).await;
    assert_eq!(hot_document(&stand, "").await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_rule_of_one_hand_an_id_is_in_two_requests_at_once() {
    let stand = Stand::new(20, 5).await;
    let found = hot_document(&stand, "two-hands").await;
    assert!(found.iter().any(|(_, id)| id == "5"), "the rule is not what keeps them apart: {found:?}");
}
