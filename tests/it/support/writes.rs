//! Every kind of write to the shop, as SQL made by dice. What a write names may be gone: then it changes nothing, or is
//! refused by a constraint, as happens to real programs.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// One kind of write: how often, compared with the others; its name in the counts; its statement.
type Kind = (u32, &'static str, fn(&mut Dice) -> String);

/// Names that break careless quoting, encoding and ordering.
const NAMES: [&str; 8] =
    ["", "plain", "O''Brien \"x\" \\ %_", "Zoë Ünïcode", "日本語 😀", "tab\tnew\nline", "z", "A{b}[c]"];

/// The dice of one writer: the same seed makes the same statements.
#[derive(Debug)]
pub struct Dice {
    random: StdRng,
    /// Ids that no other writer makes: writer and count.
    fresh: i64,
    users: u32,
    products: u32,
}

impl Dice {
    /// For the shop as seeded with this many users and products; `writer` counts from 0.
    pub fn new(seed: u64, writer: u32, users: u32, products: u32) -> Self {
        let random = StdRng::seed_from_u64(seed.wrapping_mul(1_000_003) + u64::from(writer));
        // Beyond every seeded id, and below 2^31 for the integer keys.
        Self {
            random,
            fresh: 1_000_000 + i64::from(writer) * 20_000_000,
            users: users.max(1),
            products: products.max(1),
        }
    }

    /// A write of some kind: its name and its statement.
    pub fn write(&mut self) -> (&'static str, String) {
        let total: u32 = KINDS.iter().map(|(weight, ..)| weight).sum();
        let mut left = self.random.random_range(0..total);
        for (weight, name, statement) in KINDS {
            if left < *weight {
                return (name, statement(self));
            }
            left -= weight;
        }
        unreachable!("the weights add up to {total}")
    }

    /// True in `percent` of a hundred throws.
    pub fn chance(&mut self, percent: u32) -> bool {
        self.random.random_range(0..100) < percent
    }

    pub fn up_to(&mut self, most: u32) -> u32 {
        self.random.random_range(1..=most)
    }

    fn fresh(&mut self) -> i64 {
        self.fresh += 1;
        self.fresh
    }

    /// Mostly a seeded id, else one that a writer may have made since.
    fn id(&mut self, seeded: u32) -> i64 {
        let back = i64::from(self.random.random_range(0..200u32));
        if self.chance(70) { i64::from(self.up_to(seeded)) } else { self.fresh - back }
    }

    fn user(&mut self) -> String {
        format!("(select id from users where id >= {} order by id limit 1)", self.id(self.users))
    }

    fn order(&mut self) -> String {
        format!("(select id from orders where id >= {} order by id limit 1)", self.id(self.users * 5))
    }

    fn review(&mut self) -> String {
        format!("(select id from reviews where id >= {} order by id limit 1)", self.id(self.products * 3))
    }

    fn product(&mut self) -> String {
        format!("(select id from products where id >= '{}' order by id limit 1)", self.uuid())
    }

    fn line(&mut self) -> String {
        let order = self.order();
        format!("order_id = {order} and line = {}", self.up_to(3))
    }

    fn category(&mut self) -> String {
        format!("(select id from categories where id >= {} order by id limit 1)", self.up_to(40))
    }

    fn tag(&mut self) -> String {
        format!("(select id from tags where id >= {} order by id limit 1)", self.up_to(35))
    }

    fn uuid(&mut self) -> String {
        let number = self.random.random::<u128>();
        format!("{number:032x}")
    }

    fn name(&mut self) -> String {
        let name = NAMES[self.random.random_range(0..NAMES.len())];
        format!("'{name} {}'", self.random.random_range(0..1000))
    }

    fn price(&mut self) -> String {
        format!("{}.{:02}", self.random.random_range(0..2000), self.random.random_range(0..100))
    }

    fn status(&mut self) -> &'static str {
        ["paid", "shipped", "open", "cancelled"][self.random.random_range(0..4)]
    }

    /// Too long for its row: it is stored beside the table, and an update of another column does not send it.
    fn long(&mut self) -> String {
        let pieces = 100 + self.up_to(100);
        format!("(select string_agg(md5(random()::text), ' ') from generate_series(1, {pieces}))")
    }
}

const KINDS: &[Kind] = &[
    (6, "users: insert", |dice| {
        let (id, name) = (dice.fresh(), dice.name());
        format!("insert into users values ({id}, {name}, 'new{id}@example.com', 'NZ', clock_timestamp())")
    }),
    (12, "users: update", |dice| {
        let (name, user) = (dice.name(), dice.user());
        format!("update users set name = {name} where id = {user}")
    }),
    (3, "users: key", |dice| format!("update users set id = {} where id = {}", dice.fresh(), dice.user())),
    (2, "users: delete", |dice| format!("delete from users where id = {}", dice.user())),
    (8, "orders: insert with lines", |dice| {
        let (id, user, status, lines) = (dice.fresh(), dice.user(), dice.status(), dice.up_to(3));
        let (product, price) = (dice.product(), dice.price());
        format!(
            "with placed as (insert into orders select {id}, id, '{status}', clock_timestamp(), null \
             from (select {user} as id) u where id is not null returning id) \
             insert into order_items select placed.id, line, {product}, line, {price} \
             from placed, generate_series(1, {lines}) line"
        )
    }),
    (10, "orders: status", |dice| {
        let (status, order) = (dice.status(), dice.order());
        format!("update orders set status = '{status}' where id = {order}")
    }),
    (3, "orders: note", |dice| {
        let note = if dice.chance(30) { "null".to_owned() } else { dice.long() };
        format!("update orders set note = {note} where id = {}", dice.order())
    }),
    (5, "orders: move", |dice| {
        let (user, order) = (dice.user(), dice.order());
        format!("update orders set user_id = coalesce({user}, user_id) where id = {order}")
    }),
    (1, "orders: key", |dice| {
        let (id, order) = (dice.fresh(), dice.order());
        format!(
            "update orders o set id = {id} where id = {order} \
             and not exists (select from order_items where order_id = o.id)"
        )
    }),
    (3, "orders: delete", |dice| format!("delete from orders where id = {}", dice.order())),
    (4, "order_items: insert", |dice| {
        let (order, product, price, quantity) = (dice.order(), dice.product(), dice.price(), dice.up_to(5));
        format!(
            "insert into order_items select id, 1 + coalesce((select max(line) from order_items where order_id = id), 0), \
             {product}, {quantity}, {price} from (select {order} as id) o where id is not null"
        )
    }),
    (8, "order_items: update", |dice| {
        let (price, quantity, line) = (dice.price(), dice.up_to(5), dice.line());
        format!("update order_items set quantity = {quantity}, unit_price = {price} where {line}")
    }),
    (5, "order_items: move", |dice| {
        let (product, line) = (dice.product(), dice.line());
        format!("update order_items set product_id = coalesce({product}, product_id) where {line}")
    }),
    (2, "order_items: key", |dice| {
        let (order, line) = (dice.order(), dice.line());
        format!("update order_items set order_id = coalesce({order}, order_id), line = line + 10 where {line}")
    }),
    (3, "order_items: delete", |dice| format!("delete from order_items where {}", dice.line())),
    (3, "products: insert", |dice| {
        let (id, sku, category, name, price) = (dice.uuid(), dice.fresh(), dice.category(), dice.name(), dice.price());
        format!(
            "insert into products (id, category_id, sku, name, price) values ('{id}', {category}, 'NEW-{sku}', {name}, {price})"
        )
    }),
    (10, "products: update", |dice| {
        let (name, price, product) = (dice.name(), dice.price(), dice.product());
        format!("update products set name = {name}, price = {price} where id = {product}")
    }),
    (4, "products: attributes", |dice| {
        let (number, name, product) = (dice.price(), dice.name(), dice.product());
        format!(
            "update products set attributes = attributes || jsonb_build_object('colour', {name}::text, 'size', \
             {number}, 'parts', jsonb_build_array(1, null, true, jsonb_build_object('deep', ''))) where id = {product}"
        )
    }),
    (3, "products: description", |dice| {
        let (text, product) = (dice.long(), dice.product());
        format!("update products set description = {text} where id = {product}")
    }),
    (4, "products: discontinue", |dice| {
        format!("update products set discontinued = not discontinued where id = {}", dice.product())
    }),
    (4, "products: move", |dice| {
        let (category, product) = (dice.category(), dice.product());
        format!("update products set category_id = {category} where id = {product}")
    }),
    (2, "products: key", |dice| {
        let (id, product) = (dice.uuid(), dice.product());
        // What refers to it refuses most of these.
        format!("update products set id = '{id}' where id = {product}")
    }),
    (1, "products: delete", |dice| {
        let product = dice.product();
        format!(
            "with gone as (select {product} as id), lines as (delete from order_items where product_id in (table gone)) \
             delete from products where id in (table gone)"
        )
    }),
    (2, "categories: rename", |dice| {
        let (name, category) = (dice.name(), dice.category());
        format!("update categories set name = {name} where id = {category}")
    }),
    (2, "categories: move", |dice| {
        let (parent, category) = (dice.up_to(20), dice.category());
        // A parent's id is always the smaller one, so that no number of writers makes a circle.
        format!(
            "update categories set parent_id = (select id from categories where id = {parent}) \
             where id = {category} and id > {parent}"
        )
    }),
    (1, "categories: insert", |dice| {
        let (id, parent, name) = (dice.fresh(), dice.category(), dice.name());
        format!("insert into categories values ({id}, {parent}, {name})")
    }),
    (1, "categories: delete", |dice| {
        let category = dice.id(40);
        format!(
            "delete from categories where id = (select id from categories where id >= {category} order by id limit 1)"
        )
    }),
    (2, "tags: rename", |dice| {
        let (name, tag) = (dice.fresh(), dice.tag());
        format!("update tags set name = 'Tag {name}' where id = {tag}")
    }),
    (1, "tags: insert", |dice| format!("insert into tags (name) values ('new tag {}')", dice.fresh())),
    (1, "tags: delete", |dice| format!("delete from tags where id = {} and id % 5 = 0", dice.tag())),
    (4, "product_tags: insert", |dice| {
        let (product, tag) = (dice.product(), dice.tag());
        format!("insert into product_tags values ({product}, {tag}) on conflict do nothing")
    }),
    (3, "product_tags: key", |dice| {
        let (product, tag, from) = (dice.product(), dice.tag(), dice.up_to(30));
        format!(
            "update product_tags set tag_id = {tag} where product_id = {product} and tag_id >= {from} and tag_id < {from} + 8"
        )
    }),
    (3, "product_tags: delete", |dice| {
        let (product, from) = (dice.product(), dice.up_to(30));
        format!("delete from product_tags where product_id = {product} and tag_id >= {from} and tag_id < {from} + 8")
    }),
    (5, "reviews: insert", |dice| {
        let (id, product, user, stars, body) = (dice.fresh(), dice.product(), dice.user(), dice.up_to(5), dice.name());
        format!("insert into reviews values ({id}, {product}, {user}, {stars}, {body})")
    }),
    (5, "reviews: update", |dice| {
        // Six stars are refused.
        let (stars, review) = (dice.up_to(6), dice.review());
        format!("update reviews set stars = {stars} where id = {review}")
    }),
    (3, "reviews: move", |dice| {
        let (product, review) = (dice.product(), dice.review());
        format!("update reviews set product_id = coalesce({product}, product_id) where id = {review}")
    }),
    (1, "reviews: key", |dice| format!("update reviews set id = {} where id = {}", dice.fresh(), dice.review())),
    (3, "reviews: delete", |dice| format!("delete from reviews where id = {}", dice.review())),
];
