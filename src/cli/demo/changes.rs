//! The trickle: random changes of every table of the shop, one transaction at a time.

use std::time::Duration;

use anyhow::Context;
use rand::Rng;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use super::touched::Touched;

/// Between two changes: slow enough to read along.
const CHANGE_EVERY: Duration = Duration::from_millis(150);
/// New rows get ids from here, above every seeded one.
const FRESH_IDS: i64 = 1_000_000_000;

/// How many rows the shop was seeded with, and which id is next.
#[derive(Debug)]
pub(super) struct Shop {
    pub users: u32,
    pub products: u32,
    pub fresh: i64,
}

impl Shop {
    pub(super) fn new(users: u32, products: u32) -> Self {
        Self { users, products, fresh: FRESH_IDS }
    }

    fn next(&mut self) -> i64 {
        self.fresh += 1;
        self.fresh
    }

    fn user(&self) -> String {
        some("users", "", i64::from(self.users))
    }

    fn order(&self) -> String {
        some("orders", "", i64::from(self.users) * 5)
    }

    fn review(&self) -> String {
        some("reviews", "", i64::from(self.products) * 3)
    }
}

/// A random row's id: the first at or behind a random place. The newest rows come up too, for whoever rolls past the last.
fn some(table: &str, also: &str, most: i64) -> String {
    let roll = one_to(most + most / 10 + 1);
    let fresh = if roll > most { FRESH_IDS } else { 0 };
    format!("(select id from {table} where id >= {} {also} order by id limit 1)", roll.max(fresh))
}

fn product() -> String {
    let roll: u128 = rand::rng().random();
    format!("(select id from products where id >= '{roll:032x}' order by id limit 1)")
}

fn one_to(most: i64) -> i64 {
    rand::rng().random_range(1..=most.max(1))
}

fn price() -> String {
    format!("{}.{:02}", one_to(999), one_to(100) - 1)
}

fn status() -> &'static str {
    ["paid", "shipped", "open", "cancelled"][rand::rng().random_range(0..4)]
}

/// Kinds of changes: how often in comparison, what it is called, and its statement. Every table is among them, and so are a
/// changed primary key, a moved child and a deletion.
type Kind = (u32, &'static str, fn(&mut Shop) -> String);

const KINDS: &[Kind] = &[
    (8, "users update", |shop| {
        format!("update users set name = 'user ' || {} where id = {}", one_to(9_999), shop.user())
    }),
    (3, "users insert", |shop| {
        let id = shop.next();
        format!("insert into users values ({id}, 'user {id}', 'user{id}@example.com', 'NZ', clock_timestamp())")
    }),
    (2, "users primary key", |shop| format!("update users set id = {} where id = {}", shop.next(), shop.user())),
    (1, "users delete", |shop| format!("delete from users where id = {}", shop.user())),
    (10, "orders insert", |shop| {
        let (id, user, lines) = (shop.next(), shop.user(), one_to(3));
        format!(
            "with placed as (insert into orders select {id}, id, '{}', clock_timestamp(), null from (select {user} as id) u \
             where id is not null returning id) \
             insert into order_items select placed.id, line, {}, line, {} from placed, generate_series(1, {lines}) line",
            status(),
            product(),
            price()
        )
    }),
    (8, "orders update", |shop| format!("update orders set status = '{}' where id = {}", status(), shop.order())),
    (4, "orders to another user", |shop| {
        let user = shop.user();
        format!("update orders set user_id = coalesce({user}, user_id) where id = {}", shop.order())
    }),
    (2, "orders delete", |shop| format!("delete from orders where id = {}", shop.order())),
    (6, "order_items update", |shop| {
        format!(
            "update order_items set quantity = {}, unit_price = {} where order_id = {} and line = 1",
            one_to(9),
            price(),
            shop.order()
        )
    }),
    (3, "order_items to another product", |shop| {
        let product = product();
        format!(
            "update order_items set product_id = coalesce({product}, product_id) where order_id = {} and line = 1",
            shop.order()
        )
    }),
    (2, "order_items delete", |shop| format!("delete from order_items where order_id = {} and line = 2", shop.order())),
    (8, "products update", |_| format!("update products set price = {} where id = {}", price(), product())),
    (2, "products insert", |shop| {
        let (sku, category) = (shop.next(), one_to(40));
        format!(
            "insert into products (id, category_id, sku, name, price) \
             values (md5('product {sku}')::uuid, {category}, 'SKU-{sku}', 'product {sku}', {})",
            price()
        )
    }),
    (2, "products discontinued", |_| {
        format!("update products set discontinued = not discontinued where id = {}", product())
    }),
    (2, "products to another category", |_| {
        format!("update products set category_id = {} where id = {}", one_to(40), product())
    }),
    (1, "categories rename", |_| {
        format!("update categories set name = 'category ' || {} where id = {}", one_to(9_999), 8 + one_to(32))
    }),
    (1, "categories rename near the root", |_| {
        format!("update categories set name = 'category ' || {} where id = {}", one_to(9_999), one_to(8))
    }),
    (1, "tags rename", |shop| format!("update tags set name = 'tag {}' where id = {}", shop.next(), one_to(30))),
    (3, "product_tags insert", |_| {
        format!(
            "insert into product_tags select id, {} from (select {} as id) p where id is not null on conflict do nothing",
            one_to(30),
            product()
        )
    }),
    (2, "product_tags delete", |_| {
        format!(
            "delete from product_tags where (product_id, tag_id) in (select product_id, tag_id from product_tags where product_id = {} limit 1)",
            product()
        )
    }),
    (5, "reviews insert", |shop| {
        let (id, user) = (shop.next(), shop.user());
        format!(
            "insert into reviews select {id}, id, {user}, {}, 'fine' from (select {} as id) p where id is not null",
            one_to(5),
            product()
        )
    }),
    (3, "reviews update", |shop| format!("update reviews set stars = {} where id = {}", one_to(5), shop.review())),
    (2, "reviews delete", |shop| format!("delete from reviews where id = {}", shop.review())),
];

fn draw(shop: &mut Shop) -> (&'static str, String) {
    let total: u32 = KINDS.iter().map(|(weight, ..)| weight).sum();
    let mut left = rand::rng().random_range(0..total);
    for (weight, name, statement) in KINDS {
        if left < *weight {
            return (name, statement(shop));
        }
        left -= weight;
    }
    ("nothing", "select".to_owned())
}

/// Changes rows until told to stop; how many transactions it committed.
pub(super) async fn trickle(
    client: &Client,
    mut shop: Shop,
    touched: &Touched,
    stop: CancellationToken,
) -> anyhow::Result<u64> {
    let mut committed = 0;
    let mut pace = tokio::time::interval(CHANGE_EVERY);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(committed),
            _ = pace.tick() => {}
        }
        let (name, statement) = draw(&mut shop);
        touched.announce(name);
        client.batch_execute(&statement).await.with_context(|| format!("failed to change the shop ({name})"))?;
        committed += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_is_changed() {
        for table in ["users", "orders", "order_items", "products", "categories", "tags", "product_tags", "reviews"] {
            assert!(KINDS.iter().any(|(_, name, _)| name.starts_with(table)), "{table}");
        }
    }

    #[test]
    fn drawing_draws_all_kinds() {
        let mut shop = Shop::new(10, 10);
        let drawn: std::collections::BTreeSet<_> = (0..5_000).map(|_| draw(&mut shop).0).collect();
        assert_eq!(drawn.len(), KINDS.len());
    }
}
