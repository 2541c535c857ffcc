//! Partitioned tables, schemas of other names, and keys of every kind, end to end (fault 4).

use docmill::postgres::PostgresOptions;

use super::{PARTITIONED_REVIEWS, Watched};
use crate::support::lines;
use crate::support::opensearch::OpenSearch;
use crate::support::postgres::Database;
use crate::support::running::{limits, shop_builder, sink, source_with};
use docmill::Engine;

/// The root of an index and a table on its path in partitions, too; by id and by a hash of it.
const PARTITIONED_USERS_AND_ORDERS: &str = "\
    alter table users rename to whole_users; alter table orders rename to whole_orders; \
    create table users (like whole_users, primary key (id)) partition by hash (id); \
    create table users_0 partition of users for values with (modulus 2, remainder 0); \
    create table \"Users 1\" partition of users for values with (modulus 2, remainder 1); \
    create table orders (like whole_orders, primary key (id)) partition by range (id); \
    create table orders_low partition of orders for values from (minvalue) to (50); \
    create table orders_rest (note text, user_id bigint not null, gone int, id bigint not null, status text not null, \
      placed_at timestamptz not null, primary key (id)); \
    alter table orders_rest drop column gone; alter table orders attach partition orders_rest default; \
    insert into users select * from whole_users; insert into orders select * from whole_orders; \
    drop table whole_orders cascade; drop table whole_users cascade; \
    create unique index orders_low_identity on orders_low (id, user_id); \
    alter table orders_low replica identity using index orders_low_identity; \
    alter table orders_rest replica identity full;";

#[tokio::test(flavor = "multi_thread")]
async fn partitioned_tables_are_as_ordinary_ones() {
    let watched = Watched::fresh(&format!("{PARTITIONED_REVIEWS}{PARTITIONED_USERS_AND_ORDERS}")).await;
    let engine = watched.start().await;
    watched.equal().await;
    for change in [
        "insert into orders select 1000 + g, 1 + g % 20, 'new', now(), null from generate_series(1, 30) g",
        "update orders set user_id = 1 + (user_id + 3) % 20",
        "update orders set id = id + 30 where id between 30 and 60 and not exists (select from orders o where o.id = orders.id + 30)",
        "delete from orders where id % 5 = 0",
        "update users set id = 500 + id where id % 4 = 1; update orders set user_id = 500 + user_id where user_id % 4 = 1",
        "delete from users where id % 4 = 2; delete from orders where user_id % 4 = 2",
        "update reviews set product_id = (select max(id::text)::uuid from products) where id % 2 = 0; update reviews set id = id + 15 where id = 15 + 1",
        "truncate reviews; truncate users",
    ] {
        // Conflicts of keys are of no interest here.
        let change = format!("do $$ begin {change}; exception when unique_violation then null; end $$");
        watched.run(&change).await;
        watched.equal().await;
    }
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shop_in_a_schema_of_another_name_is_as_ordinary() {
    let watched = Watched::fresh("").await;
    let name = "The \"Shop\"";
    watched
        .run(&format!(
            "alter schema public rename to \"The \"\"Shop\"\"\"; create schema public; \
             alter database {} set search_path = \"The \"\"Shop\"\"\"",
            watched.database.name
        ))
        .await;
    let source = source_with(&watched.database, |options| {
        *options = PostgresOptions { schema: name.to_owned(), ..options.clone() };
    });
    let engine = Engine::new(source, shop_builder().await, sink(&watched.search).await)
        .with_name("shop")
        .with_schema(name)
        .with_limits(limits());
    let engine = crate::support::running::Running::start(engine);
    watched.equal().await;
    watched.run("update orders set user_id = 1 + id % 9; delete from reviews where id % 2 = 0; update tags set name = 'T-' || name").await;
    watched.equal().await;
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn composite_text_and_uuid_keys_of_any_spelling_are_as_ordinary() {
    let (database, search) = (Database::fresh().await, OpenSearch::fresh().await);
    let client = database.connect().await;
    client.batch_execute(&lines::tables(30)).await.unwrap();
    client.batch_execute("set search_path = \"Sales Dept\"").await.unwrap();
    let engine = lines::run(&database, &search, true).await;
    lines::await_equal(&database, &search, true).await;
    for change in [
        "insert into \"Order Lines\" values ('B/''\"\\ €', 1, 0.10), ('', 2, -1), (repeat('l', 400), 3, 1e20)",
        "update \"Order Lines\" set \"Price €\" = \"Price €\" + 0.01 where \"Line\" = 2",
        // Notes go along by their foreign key, each with a change of its own.
        "update \"Order Lines\" set \"Order No\" = lower(\"Order No\"), \"Line\" = \"Line\" + 10 where \"Order No\" like 'A \"1%'",
        "update \"Line Notes\" set (\"Order No\", \"Line\") = ('', 2) where note = 'note 1'",
        "update \"Line Notes\" set id = gen_random_uuid(), note = note || '!' where note = 'note 2'",
        "delete from \"Line Notes\" where \"Line\" = 11",
        "delete from \"Order Lines\" where \"Order No\" like '%2_\"'",
        "truncate \"Line Notes\"",
        "truncate \"Order Lines\" cascade",
    ] {
        client.batch_execute(change).await.unwrap_or_else(|error| panic!("{change}: {error:?}"));
        lines::await_equal(&database, &search, true).await;
    }
    engine.stop().await;
}
