//! Passes that are cut short: their records bring them back; and what is lost where a record or an end mark comes too late.

use std::time::Duration;

use docmill::pipeline::FlowLimits;

use crate::support::holding_proxy::contains;
use crate::support::http::{Call, Fault};
use crate::support::stand::{PATIENCE, Stand, limits};

const WINDOW: Duration = Duration::from_secs(1);

/// In step, then started again with these fail points.
async fn in_step(users: u32, products: u32, more: &str) -> (Stand, crate::support::command::Shop) {
    let stand = Stand::new(users, products).await;
    let shop = stand.command(WINDOW, more);
    let docmill = shop.run();
    stand.in_step(&docmill).await;
    assert!(docmill.terminate().success());
    (stand, shop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncate_is_not_lost_with_the_process_nor_the_second_one_while_the_pass_is_half_done() {
    let (stand, shop) = in_step(100, 3_000, "").await;
    for step in ["pass.recorded", "pass.chunk", "pass.ended"] {
        let docmill = shop.run_with_fail_points(&format!("kill:{step}"));
        docmill.await_live(PATIENCE).await;
        stand.sql("truncate product_tags").await;
        docmill.ended(PATIENCE).await;
        // The second one, and what only a run behind it can see.
        stand.sql("insert into product_tags select id, 1 from products; truncate reviews; truncate product_tags").await;
        stand.sql("insert into product_tags select id, 2 from products limit 700").await;
        let docmill = shop.run();
        docmill.await_live(PATIENCE).await;
        stand.equal().await;
        assert!(docmill.terminate().success(), "{step}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_truncate_while_the_pass_of_the_first_is_half_done_is_not_lost() {
    let stand = Stand::new(100, 1_500).await;
    let shop = stand.command(WINDOW, "");
    let docmill = shop.run();
    stand.in_step(&docmill).await;
    // The first large request arrives late, and no other gets an answer (none becomes so small): the pass stays half done.
    let large = |call: &Call| call.items().len() > 20;
    let gate = stand.proxy.hold_when(large, false);
    stand.proxy.server().fail_always(large, Fault::Silence);
    stand.sql("truncate product_tags").await;
    gate.caught().await;
    stand.sql("insert into product_tags select id, 1 from products; truncate product_tags").await;
    stand
        .until("the second is on record", async || {
            stand.state().await["passes"]
                .as_array()
                .is_some_and(|passes| passes.iter().any(|pass| pass["asked"] != pass["begun"]))
        })
        .await;
    docmill.kill();
    stand.proxy.heal();
    gate.release().await;
    let docmill = shop.run();
    docmill.await_live(PATIENCE).await;
    stand.equal().await;
    assert!(docmill.terminate().success());
}

/// TRUNCATE, and a kill as soon as it is confirmed. Gives back how many documents differ when the next process is live.
async fn truncated_and_killed_when_confirmed(fail_points: &str) -> usize {
    let (stand, shop) = in_step(100, 200, "").await;
    let docmill = shop.run_with_fail_points(fail_points);
    docmill.await_live(PATIENCE).await;
    stand.sql("truncate product_tags").await;
    stand.await_confirmed(&stand.position().await).await;
    docmill.kill();
    let docmill = shop.run();
    docmill.await_live(PATIENCE).await;
    stand.sql("update users set name = 'a last change' where id = 1").await;
    stand.await_confirmed(&stand.position().await).await;
    let differences = stand.differences().await;
    assert!(docmill.terminate().success());
    differences
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_is_on_record_before_what_asked_for_it_is_confirmed() {
    assert_eq!(truncated_and_killed_when_confirmed("").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_that_is_recorded_late_is_lost_with_the_process() {
    assert!(truncated_and_killed_when_confirmed("record-late").await > 0, "the rule is not what keeps it");
}

/// One transaction of many rows, cut by small batches, and a kill at the first checkpoint that covers a part of it. Gives back how
/// many documents differ when the next process is live.
async fn a_transaction_killed_at_its_first_checkpoint(fail_points: &str) -> usize {
    let (stand, shop) = in_step(2_000, 5, "batch = { max_changes = 20 }").await;
    let docmill = shop.run_with_fail_points(fail_points);
    docmill.await_live(PATIENCE).await;
    stand.await_confirmed(&stand.position().await).await;
    // A document in its middle is never answered, so that what is behind it stays open.
    stand.proxy.server().fail_always(contains("1500", "index"), Fault::Silence);
    stand.sql("update users set name = 'in one transaction'").await;
    stand.until("its first documents are written", async || stand.differences().await < 1_000).await;
    // What may be confirmed of it is confirmed, and more than once.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    docmill.kill();
    stand.proxy.heal();
    let docmill = shop.run();
    docmill.await_live(PATIENCE).await;
    let after = stand.position().await;
    stand.sql("update products set name = 'a last change'").await;
    stand.await_confirmed(&after).await;
    stand.await_confirmed(&stand.position().await).await;
    let differences = stand.differences().await;
    assert!(docmill.terminate().success());
    differences
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_is_confirmed_with_its_end_only() {
    assert_eq!(a_transaction_killed_at_its_first_checkpoint("").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_end_mark_the_rest_of_a_transaction_is_lost_with_the_process() {
    assert!(a_transaction_killed_at_its_first_checkpoint("no-end-mark").await > 0, "the rule is not what keeps it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_steps_back_while_a_live_change_waits_and_goes_on_behind_it() {
    let stand = Stand::new(20, 600).await;
    let limits = FlowLimits {
        chunk_rows: 50,
        chunks_in_flight_max: 1,
        pass_yields_at: Duration::from_millis(100),
        pass_yields_for: PATIENCE,
        ..limits(WINDOW)
    };
    let engine = stand.engine(limits).await;
    stand.equal().await;
    // A live change that gets no answer; then all products are to be assembled again.
    stand.proxy.server().fail_always(contains("7", "index"), Fault::Silence);
    stand.sql("update users set name = 'waits' where id = 7").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let seen = stand.proxy.sent().len();
    let products = |from: usize| {
        let sent = stand.proxy.sent();
        sent[from..].iter().filter(|sent| sent.index.contains("products")).count()
    };
    stand.sql("truncate product_tags").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (first, all) = (products(seen), 600);
    assert!(first <= 100, "{first} of {all} were assembled while a change waited");
    stand.proxy.heal();
    stand.equal().await;
    assert!(products(seen) >= all);
    engine.stop().await;
}
