//! Somebody changes the publication, or the tables in it.

use std::time::Duration;

use super::{Watched, follows};

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_was_taken_out_of_the_publication_comes_back_with_what_it_missed() {
    let without = |stars: u32| {
        format!(
            "alter publication docmill drop table reviews; update reviews set stars = {stars}; delete from reviews where id = {stars}"
        )
    };
    let and_back = |stars: u32| format!("{}; alter publication docmill add table reviews", without(stars));
    follows("", &[&without(1), &and_back(2)], &[&without(3), &and_back(4)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_that_sends_less_is_waited_for_and_what_it_missed_made_up() {
    let less = "alter publication docmill set (publish = 'insert'); update reviews set stars = 1; delete from reviews where id = 7";
    let all = "alter publication docmill set (publish = 'insert, update, delete, truncate')";
    let filtered = "alter publication docmill drop table reviews; alter publication docmill add table reviews where (id > 1000); \
                    update reviews set stars = 2";
    let listed = "alter publication docmill drop table reviews; alter publication docmill add table reviews (id, product_id); \
                  update reviews set stars = 3";
    let watched = Watched::fresh("").await;
    let engine = watched.start().await;
    watched.equal().await;
    for (change, mend) in [
        (less, all),
        (filtered, "alter publication docmill drop table reviews"),
        (listed, "alter publication docmill drop table reviews"),
    ] {
        watched.run(change).await;
        watched.run("update users set name = name || '!'").await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(engine.is_running(), "it waits for whoever owns the publication");
        watched.run(mend).await;
        watched.equal().await;
        watched.await_published("reviews").await;
    }
    engine.stop().await;
    for change in [less, filtered, listed] {
        watched.run(change).await;
        let mend = if change == less { all } else { "alter publication docmill drop table reviews" };
        watched.run(mend).await;
        let engine = watched.start().await;
        watched.equal().await;
        engine.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_table_is_waited_for_while_running_and_refused_at_a_start() {
    let watched = Watched::fresh("").await;
    let engine = watched.start().await;
    watched.equal().await;
    watched.run("create table kept as table reviews; drop table reviews").await;
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert!(engine.is_running(), "it waits for the table");
    let again = "begin; create table reviews (id bigint primary key, product_id uuid not null, user_id bigint, \
                 stars smallint not null, body text not null); \
                 alter table reviews replica identity full; insert into reviews select id, product_id, user_id, 2, body from kept; \
                 commit";
    watched.run(again).await;
    watched.equal().await;
    engine.stop().await;
    watched.run("drop table reviews").await;
    let refused = watched.start().await.ended().await.unwrap_err();
    assert!(refused.message().contains("relation \"reviews\" does not exist"), "{}", refused.chain());
    watched.run(&again.replace(", 2, body", ", 3, body")).await;
    let engine = watched.start().await;
    watched.equal().await;
    engine.stop().await;
}
