//! Columns change while the engine runs, values stay where they are out of line, and files are written anew (fault 13, R8).

use super::Watched;

#[tokio::test(flavor = "multi_thread")]
async fn columns_added_dropped_renamed_and_retyped_while_running_need_no_restart() {
    let watched = Watched::fresh("").await;
    let engine = watched.start().await;
    watched.equal().await;
    for (change, number) in [
        ("alter table orders add column extra int", 1),
        ("alter table orders add column more text default 'more'", 2),
        ("alter table orders rename column extra to renamed", 3),
        ("alter table orders alter renamed type text", 4),
        ("alter table orders drop column renamed", 5),
        // What the documents hold, too.
        ("alter table orders alter note type varchar(500)", 6),
        ("alter table orders alter status type varchar(100)", 7),
        ("alter table order_items alter unit_price type numeric(14, 3)", 8),
    ] {
        watched.run(change).await;
        watched
            .run(&format!(
                "update orders set note = 'note {number}' where id % 3 = 0; update order_items set quantity = {number}"
            ))
            .await;
        watched.equal().await;
    }
    assert!(engine.is_running());
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_out_of_line_that_did_not_change_stays_in_the_document() {
    let watched = Watched::fresh(
        "alter table products alter description set storage external; alter table orders alter note set storage external; \
         update products set description = repeat('long ', 4000); update orders set note = repeat('note ', 4000); \
         alter table orders replica identity full",
    )
    .await;
    let engine = watched.start().await;
    watched.equal().await;
    watched.run("update products set price = price + 1; update orders set status = 'cancelled' where id % 2 = 0").await;
    watched.equal().await;
    watched.run("update orders set user_id = 1 + id % 7").await;
    watched.equal().await;
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_written_anew_during_a_backfill_lose_no_row() {
    let watched = Watched::fresh("").await;
    shop_grows(&watched).await;
    let engine = watched.start().await;
    for _ in 0..3 {
        watched.run("vacuum full users").await;
        watched.run("update users set name = name || '+' where id % 50 = 0").await;
        watched.run("vacuum full products").await;
        watched.run("cluster orders using orders_pkey").await;
    }
    watched.equal().await;
    engine.stop().await;
}

async fn shop_grows(watched: &Watched) {
    watched
        .run("insert into users select 1000 + g, 'user ' || g, g || '@example.org', 'NL', now() from generate_series(1, 5000) g")
        .await;
}
