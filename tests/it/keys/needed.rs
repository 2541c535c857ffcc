//! The counter-examples of the model as rows of the shop: with the keys every document is found; without the rule, which only
//! these tests can switch off, one stays as it was.

use std::time::Duration;

use crate::support::command::Shop;
use crate::support::opensearch::OpenSearch;
use crate::support::postgres::Database;
use crate::support::running::Running;
use crate::support::shop::{self, ShopDocuments, await_equal};

const PATIENCE: Duration = Duration::from_secs(60);

/// Each of them in a transaction of its own: a middle row moves there and back, a leaf moves while the middle is elsewhere, rows go.
const COUNTER_EXAMPLES: &[&str] = &[
    // leaf.fk -> root: the leaf moves, the leaf goes.
    "update orders set user_id = 2 where id = (select min(id) from orders where user_id = 1)",
    "delete from orders where id = (select max(id) from orders where user_id = 3)",
    // leaf.m -> middle.code, middle.root -> root: the middle moves, then its leaf, and back.
    "update orders set user_id = 5 where id = (select min(id) from orders where user_id = 4)",
    "update order_items set order_id = (select max(id) from orders where user_id = 6), line = 90 \
     where (order_id, line) = (select order_id, min(line) from order_items where order_id = \
       (select min(id) from orders where user_id = 4) group by 1)",
    "update orders set user_id = 4 where id = (select min(id) from orders where user_id = 5)",
    // root <- junction -> tag: a tag moves from one product to another.
    "update product_tags set product_id = (select p.id from products p where not exists (select from product_tags t \
       where t.product_id = p.id and t.tag_id = product_tags.tag_id) order by p.id limit 1) \
     where (product_id, tag_id) = (select product_id, tag_id from product_tags order by 1, 2 limit 1)",
    // root.p -> parent: the root moves to another parent, and the parents are renamed at the same time.
    "update products set category_id = (select max(id) from categories) where id = (select id from products order by id limit 1)",
    "update categories set name = name || '!'; update products set category_id = (select min(id) from categories)",
    "delete from reviews where id % 2 = 0",
];

async fn change(database: &Database) {
    let client = database.connect().await;
    for change in COUNTER_EXAMPLES {
        client.batch_execute(change).await.unwrap_or_else(|error| panic!("{change}: {error:?}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_document_is_found_with_the_keys_and_no_others_are_asked_for() {
    let (database, search) = (Database::fresh().await, OpenSearch::fresh().await);
    shop::create(&database, 10, 10).await;
    // What a document is joined to on the other side, and what filters, is in no identity: primary keys do.
    let client = database.connect().await;
    client
        .batch_execute("alter table products replica identity default; alter table users replica identity default")
        .await
        .unwrap();
    let defaults = "select string_agg(relname, ' ' order by relname) from pg_class \
                    where relnamespace = 'public'::regnamespace and relkind = 'r' and relreplident = 'd'";
    let defaults: String = client.query_one(defaults, &[]).await.unwrap().get(0);
    assert_eq!(defaults, "categories product_tags products tags users");
    let engine = Running::shop(&database, &search).await;
    await_equal(&database, &search, PATIENCE).await;
    change(&database).await;
    await_equal(&database, &search, PATIENCE).await;
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_rule_the_documents_that_rows_left_stay_as_they_were() {
    let (database, search) = (Database::fresh().await, OpenSearch::fresh().await);
    shop::create(&database, 10, 10).await;
    let client = database.connect().await;
    client
        .batch_execute("alter table orders replica identity default; alter table reviews replica identity default")
        .await
        .unwrap();
    let shop = Shop::new(&database, &search, "");
    let docmill = shop.run_with_fail_points("keys-unchecked");
    docmill.await_live(PATIENCE).await;
    await_equal(&database, &search, PATIENCE).await;
    change(&database).await;
    // Its own row changed last, so everything before it was resolved and written.
    client.batch_execute("update users set name = 'last' where id = 10").await.unwrap();
    for _ in 0..300 {
        let last = search.document("users", "10").await;
        if last.is_some_and(|document| document["name"] == "last") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let expected = ShopDocuments::from_sql(&database.url).await;
    search.refresh("users").await;
    let found = ShopDocuments::from_opensearch(&search).await;
    assert_ne!(found.users["3"], expected.users["3"], "the order that was deleted is found without its user");
    assert_eq!(found.users["10"]["name"], "last");
    docmill.kill();
}
