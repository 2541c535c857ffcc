//! What changes content without a change of a row in the stream: definitions, partitions, identities and publications that
//! change while the engine runs and while it is stopped. Each case ends in "index equals SQL" (delivery-tests.md, R9).

use std::time::Duration;

use docmill::Engine;
use docmill::edges::FailureClass;
use docmill::pipeline::{FailurePolicies, OnRejected};

use super::support::opensearch::OpenSearch;
use super::support::postgres::Database;
use super::support::running::{Loud, Running, limits, shop_builder, sink, source_with};
use super::support::shop::{self, await_equal};

const PATIENCE: Duration = Duration::from_secs(60);

/// Reviews as partitions by their id: three that hold rows and one that can be attached.
const PARTITIONED_REVIEWS: &str = "
    alter table reviews rename to reviews_before;
    alter index reviews_pkey rename to reviews_before_pkey;
    alter index reviews_identity rename to reviews_before_identity;
    create table reviews (
        id bigint primary key, product_id uuid not null, user_id bigint, stars smallint not null, body text not null
    ) partition by range (id);
    create table reviews_low partition of reviews for values from (minvalue) to (20);
    create table reviews_middle partition of reviews for values from (20) to (40);
    create table reviews_high partition of reviews for values from (40) to (1000);
    create table reviews_apart (like reviews including all);
    insert into reviews select id, product_id, user_id, stars, body from reviews_before;
    insert into reviews_apart select 1000 + row_number() over (), id, null, 5, 'apart' from products;
    alter table reviews replica identity full;
    alter table reviews_low replica identity full;
    alter table reviews_middle replica identity full;
    alter table reviews_high replica identity full;
    alter table reviews_apart replica identity full;
    drop table reviews_before;";

async fn run(database: &Database, sql: &str) {
    database.connect().await.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

/// An engine that looks at the catalog often.
async fn start(database: &Database, search: &OpenSearch) -> Running {
    let source = source_with(database, |options| options.catalog_every = Duration::from_millis(200));
    let engine = Engine::new(source, shop_builder().await, sink(search).await)
        .with_name("shop")
        .with_limits(limits())
        .with_observer(std::sync::Arc::new(Loud))
        .with_failure_policies(FailurePolicies::all(OnRejected::Stop));
    Running::start(engine)
}

/// The shop, changed by `setup`, in step; then `change` while the engine runs, and again in another shop while it is stopped.
async fn case(setup: &str, change: &str) {
    for stopped in [false, true] {
        let database = Database::fresh().await;
        shop::create(&database, 8, 20).await;
        run(&database, setup).await;
        let search = OpenSearch::fresh().await;
        let mut engine = start(&database, &search).await;
        await_equal(&database, &search, PATIENCE).await;
        if stopped {
            engine.stop().await;
            run(&database, change).await;
            engine = start(&database, &search).await;
        } else {
            run(&database, change).await;
        }
        await_equal(&database, &search, PATIENCE).await;
        // And it still follows.
        run(&database, "update users set name = name || '!'; update products set name = name || '!'").await;
        await_equal(&database, &search, PATIENCE).await;
        engine.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_truncated_by_itself_is_followed() {
    case(PARTITIONED_REVIEWS, "truncate reviews_middle").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_detached_is_followed() {
    case(PARTITIONED_REVIEWS, "alter table reviews detach partition reviews_low").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_attached_with_its_rows_is_followed() {
    case(PARTITIONED_REVIEWS, "alter table reviews attach partition reviews_apart for values from (1000) to (2000)")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_dropped_is_followed() {
    case(PARTITIONED_REVIEWS, "drop table reviews_high").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_partitions_are_followed_by_their_old_keys() {
    case(
        PARTITIONED_REVIEWS,
        "delete from reviews where id % 3 = 0; update reviews set product_id = (select max(id::text)::uuid from products)
         where id % 3 = 1; update reviews set id = id + 900 where id < 10",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_rewritten_by_an_expression_is_followed_even_where_its_type_stays() {
    case("", "alter table orders alter column note type text using 'noted: ' || coalesce(note, '')").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_dropped_and_added_with_a_default_is_followed() {
    case("", "alter table orders drop column note; alter table orders add column note text default 'from the catalog'")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_retyped_is_followed() {
    case("", "alter table orders alter column status type varchar(40)").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_renamed_and_made_again_is_followed() {
    case(
        "",
        "begin; alter table product_tags rename to product_tags_before;
         create table product_tags (product_id uuid not null, tag_id int not null, primary key (product_id, tag_id));
         insert into product_tags select product_id, tag_id from product_tags_before where tag_id % 2 = 0; commit",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_taken_out_of_the_publication_is_put_back_and_what_was_missed_assembled_again() {
    case(
        "",
        "alter publication docmill drop table reviews; delete from reviews where id % 2 = 0;
         update reviews set stars = 1",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_identity_lost_for_a_while_is_made_up_for() {
    case(
        "",
        "alter table orders replica identity default;
         update orders set user_id = (select min(id) from users) where id % 2 = 0;
         alter table orders replica identity using index orders_identity",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_replica_identity_is_lost_changes_are_found_by_assembling_everything_again() {
    let database = Database::fresh().await;
    shop::create(&database, 8, 20).await;
    let search = OpenSearch::fresh().await;
    let engine = start(&database, &search).await;
    await_equal(&database, &search, PATIENCE).await;
    run(&database, "alter table orders replica identity default").await;
    for round in 0..3 {
        run(&database, &format!("update orders set user_id = (select id from users order by id offset {round} limit 1) where id % 4 = {round}"))
            .await;
        await_equal(&database, &search, PATIENCE).await;
    }
    engine.stop().await;
    // A start refuses what a running engine lives with, and says what to do.
    let refused = start(&database, &search).await.ended().await.unwrap_err();
    assert_eq!(refused.class, FailureClass::Fatal);
    assert!(refused.chain().contains("replica identity"), "{}", refused.chain());
    run(&database, "alter table orders replica identity using index orders_identity").await;
    let engine = start(&database, &search).await;
    await_equal(&database, &search, PATIENCE).await;
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_says_nothing_about_content_asks_for_nothing() {
    let database = Database::fresh().await;
    shop::create(&database, 8, 20).await;
    let search = OpenSearch::fresh().await;
    let engine = start(&database, &search).await;
    await_equal(&database, &search, PATIENCE).await;
    let before = search.versions("users").await.unwrap();
    run(
        &database,
        "analyze; create index on orders (status); alter table users add constraint named check (name <> '');
         grant select on orders to public; alter table orders add column unheard_of int; comment on table users is 'people'",
    )
    .await;
    database.connect().await.batch_execute("vacuum full orders").await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(search.versions("users").await.unwrap(), before);
    engine.stop().await;
}
