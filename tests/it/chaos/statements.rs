//! Large writes to the shop as SQL. Ids from 10^12 on are theirs.

/// What a large statement is made with.
#[derive(Debug, Clone, Copy)]
pub struct Numbers {
    /// Ids from here to a million further are free.
    pub base: i64,
    /// Rows it touches at most, about.
    pub rows: u32,
    /// How many rows of another table its rows spread over at most.
    pub few: u32,
}

/// One kind of large write.
#[derive(Debug)]
pub struct Statement {
    pub name: &'static str,
    /// Keeps other writers off its table.
    pub lock: &'static str,
    /// Whether every row is a document, or changes one of its own.
    pub a_row_is_a_document: bool,
    pub sql: fn(Numbers) -> String,
}

const fn of(name: &'static str, lock: &'static str, documents: bool, sql: fn(Numbers) -> String) -> Statement {
    Statement { name, lock, a_row_is_a_document: documents, sql }
}

const USERS: &str = "lock table users in share row exclusive mode";
const ORDERS: &str = "lock table orders in share row exclusive mode";
const LINES: &str = "lock table order_items in share row exclusive mode";
const PRODUCTS: &str = "lock table products in share row exclusive mode";
const CATEGORIES: &str = "lock table categories in share row exclusive mode";
const TAGS: &str = "lock table tags in share row exclusive mode";
const PRODUCT_TAGS: &str = "lock table product_tags in share row exclusive mode";
const REVIEWS: &str = "lock table reviews in share row exclusive mode";

/// All ids of the tables that rows point to, to be picked from by number.
const IDS: &str = "with u as materialized (select array_agg(id order by id) as ids from users),
    p as materialized (select array_agg(id order by id) as ids from products),
    o as materialized (select array_agg(id order by id) as ids from orders),
    c as materialized (select array_agg(id order by id) as ids from categories),
    t as materialized (select array_agg(id order by id) as ids from tags)";

/// An id of one of them: which number picks it, and over how many of them at most.
fn pick(table: &str, number: &str, few: u32) -> String {
    format!("{table}.ids[1 + ({number}) % least(cardinality({table}.ids), {few})]")
}

/// Every kind.
pub const MANY: &[Statement] = &[
    of("users: many inserted", USERS, true, |Numbers { base, rows, .. }| {
        format!(
            "insert into users select {base} + g, 'many ' || g, g || '@many.example', 'JP', clock_timestamp() \
             from generate_series(1, {rows}) g"
        )
    }),
    of("users: many updated", USERS, true, |Numbers { base, rows, .. }| {
        format!(
            "update users set name = 'renamed {base} ' || id, country = 'BR' \
             where id in (select id from users order by md5(id::text) limit {rows})"
        )
    }),
    of("users: many upserted", USERS, true, |Numbers { base, rows, .. }| {
        format!(
            "insert into users select g, 'upsert {base}', 'u', 'FR', now() from generate_series(1, {rows} / 4 + 1) g \
             on conflict (id) do update set name = excluded.name"
        )
    }),
    of("users: many keys", USERS, true, |Numbers { base, rows, .. }| {
        format!(
            "with moved as (select id, row_number() over (order by id) as n from users order by id limit {rows} / 5 + 1) \
             update users u set id = {base} + moved.n from moved where u.id = moved.id"
        )
    }),
    of("users: many deleted", USERS, true, |_| "delete from users where id >= 1000000000000".to_owned()),
    of("users: some deleted", USERS, true, |Numbers { rows, .. }| {
        format!("delete from users where id in (select id from users order by md5(id::text) limit {rows} / 20 + 1)")
    }),
    of("orders: many inserted", ORDERS, true, |Numbers { base, rows, .. }| {
        let user = pick("u", "g", u32::MAX);
        format!(
            "{IDS} insert into orders select {base} + g, {user}, 'paid', now(), null \
             from u, generate_series(1, {rows}) g where u.ids is not null"
        )
    }),
    of("orders: many updated", ORDERS, true, |Numbers { base, rows, .. }| {
        format!(
            "update orders set status = (array['paid', 'shipped', 'open', 'cancelled'])[1 + (id + {base} / 1000000) % 4] \
             where id in (select id from orders order by md5(id::text) limit {rows})"
        )
    }),
    of("orders: many moved", ORDERS, true, |Numbers { base, rows, .. }| {
        let user = pick("u", &format!("(o.id + {base}) / 7"), u32::MAX);
        format!(
            "with u as materialized (select array_agg(id order by id) as ids from users) update orders o \
             set user_id = {user} from u where o.id in (select id from orders order by md5(id::text) limit {rows}) \
             and u.ids is not null"
        )
    }),
    of("orders: long notes", ORDERS, true, |Numbers { base, rows, .. }| {
        format!(
            "update orders o set note = (select string_agg(md5(o.id::text || g || {base}), ' ') from generate_series(1, 150) g) \
             where id in (select id from orders order by md5(id::text) limit {rows} / 50 + 1)"
        )
    }),
    of("orders: many deleted", ORDERS, true, |_| "delete from orders where id >= 1000000000000".to_owned()),
    of("order_items: many inserted", LINES, false, |Numbers { base, rows, few }| {
        // A line is an int.
        let line = 1_000_000 * (1 + base / 1_000_000 % 2_000);
        let (order, product) = (pick("o", "g * 31::bigint", few), pick("p", "g * 7919::bigint", few));
        format!(
            "{IDS} insert into order_items select {order}, {line} + g, {product}, 1 + g % 4, g % 500 + 0.25 \
             from o, p, generate_series(1, {rows}) g where o.ids is not null and p.ids is not null on conflict do nothing"
        )
    }),
    of("order_items: many updated", LINES, false, |Numbers { base, rows, .. }| {
        format!(
            "update order_items set quantity = 1 + (quantity + {base} / 1000000) % 5 where (order_id, line) in \
             (select order_id, line from order_items order by line desc, order_id limit {rows})"
        )
    }),
    of("order_items: many moved", LINES, false, |Numbers { base, rows, few }| {
        let product = pick("p", &format!("(i.order_id + i.line + {base}) / 3"), few);
        format!(
            "with p as materialized (select array_agg(id order by id) as ids from products) update order_items i \
             set product_id = {product} from p where (order_id, line) in (select order_id, line from order_items \
             order by line desc, order_id limit {rows}) and p.ids is not null"
        )
    }),
    of("order_items: many deleted", LINES, false, |_| "delete from order_items where line >= 1000000".to_owned()),
    of("products: many inserted", PRODUCTS, true, |Numbers { base, rows, few }| {
        let category = pick("c", "g", few);
        format!(
            "{IDS} insert into products (id, category_id, sku, name, price) select md5('many {base} ' || g)::uuid, \
             {category}, 'MANY-{base}-' || g, 'many ' || g, g % 900 from c, generate_series(1, {rows}) g \
             where c.ids is not null"
        )
    }),
    of("products: many updated", PRODUCTS, true, |Numbers { base, rows, .. }| {
        format!(
            "update products set price = {base} / 1000000 % 1000 + 0.5 \
             where id in (select id from products order by id limit {rows})"
        )
    }),
    of("products: many discontinued", PRODUCTS, true, |Numbers { rows, .. }| {
        format!(
            "update products set discontinued = not discontinued \
             where id in (select id from products order by id limit {rows})"
        )
    }),
    of("products: many moved", PRODUCTS, true, |Numbers { base, rows, few }| {
        let category = pick("c", &format!("ascii(p.sku) + length(p.name) + {base} / 1000000"), few);
        format!(
            "with c as materialized (select array_agg(id order by id) as ids from categories) update products p \
             set category_id = {category} from c where p.id in (select id from products order by id limit {rows}) \
             and c.ids is not null"
        )
    }),
    of("products: many keys", PRODUCTS, true, |Numbers { base, rows, .. }| {
        format!(
            "update products p set id = md5('key {base} ' || p.id)::uuid where id in (select id from products p \
             where not exists (select from order_items where product_id = p.id) \
             and not exists (select from product_tags where product_id = p.id) \
             and not exists (select from reviews where product_id = p.id) limit {rows})"
        )
    }),
    of("products: many deleted", PRODUCTS, true, |_| {
        "with gone as (select id from products where sku like 'MANY-%'), \
         lines as (delete from order_items where product_id in (table gone)) \
         delete from products where id in (table gone)"
            .to_owned()
    }),
    of("categories: all renamed", CATEGORIES, false, |Numbers { base, .. }| {
        format!("update categories set name = 'category {base} ' || id")
    }),
    of("categories: a root renamed", CATEGORIES, false, |Numbers { base, .. }| {
        format!("update categories set name = 'root {base}' where id = 1 + {base} / 1000000 % 8")
    }),
    of("tags: all renamed", TAGS, false, |Numbers { base, .. }| format!("update tags set name = 'tag {base} ' || id")),
    of("product_tags: many inserted", PRODUCT_TAGS, false, |Numbers { rows, few, .. }| {
        format!(
            "insert into product_tags select p.id, t.id from (select id from products order by id limit {few}) p, tags t \
             limit {rows} on conflict do nothing"
        )
    }),
    of("product_tags: many deleted", PRODUCT_TAGS, false, |Numbers { base, .. }| {
        format!("delete from product_tags where tag_id % 3 = {base} / 1000000 % 3")
    }),
    of("reviews: many inserted", REVIEWS, false, |Numbers { base, rows, few }| {
        let (user, product) = (pick("u", "g * 31::bigint", few), pick("p", "g * 7919::bigint", few));
        format!(
            "{IDS} insert into reviews select {base} + g, {product}, {user}, 1 + g % 5, 'many ' || g \
             from u, p, generate_series(1, {rows}) g where p.ids is not null"
        )
    }),
    of("reviews: many updated", REVIEWS, false, |Numbers { base, rows, .. }| {
        format!(
            "update reviews set stars = 1 + (stars + {base} / 1000000) % 5 \
             where id in (select id from reviews order by id desc limit {rows})"
        )
    }),
    of("reviews: many moved", REVIEWS, false, |Numbers { base, rows, few }| {
        let product = pick("p", &format!("(r.id + {base}) / 3"), few);
        format!(
            "with p as materialized (select array_agg(id order by id) as ids from products) update reviews r \
             set product_id = {product} from p where r.id in (select id from reviews order by id desc limit {rows}) \
             and p.ids is not null"
        )
    }),
    of("reviews: many deleted", REVIEWS, false, |_| "delete from reviews where id >= 1000000000000".to_owned()),
];

/// Children often, roots rarely.
pub const TRUNCATES: &[&str] = &[
    "truncate order_items",
    "truncate order_items",
    "truncate reviews",
    "truncate reviews",
    "truncate product_tags",
    "truncate orders, order_items",
    "truncate reviews, product_tags",
    "truncate tags restart identity cascade",
    "truncate users, orders, order_items, reviews",
    "truncate products cascade",
    "truncate categories, users cascade",
];

/// Fills up what is missing of what the shop was seeded with.
pub const REFILL: &[(&str, &str)] = &[
    (
        "categories: refilled",
        "insert into categories select g, case when g > 8 then 1 + (g - 9) % 8 end, 'category ' || g \
         from generate_series(1, 40) g on conflict do nothing",
    ),
    (
        "products: refilled",
        "insert into products (id, category_id, sku, name, price) \
         select md5('product ' || g)::uuid, 1 + g % 40, 'SKU-' || g, 'product ' || g, g % 800 \
         from generate_series(1, :products) g join categories c on c.id = 1 + g % 40 on conflict do nothing",
    ),
    (
        "tags: refilled",
        "insert into tags (name) select 'tag ' || g from generate_series(1, 30) g on conflict do nothing",
    ),
    (
        "product_tags: refilled",
        "insert into product_tags select p.id, t.id from products p join tags t on (t.id + ascii(p.sku) + length(p.name)) % 9 = 0 \
         on conflict do nothing",
    ),
    (
        "users: refilled",
        "insert into users select g, 'user ' || g, 'user' || g || '@example.com', 'DE', now() \
         from generate_series(1, :users) g on conflict do nothing",
    ),
    (
        "orders: refilled",
        "insert into orders select u.id * 5 + k, u.id, (array['paid', 'shipped', 'open', 'cancelled'])[1 + (u.id + k) % 4], \
         now(), null from users u, generate_series(1, 3) k where u.id <= :users on conflict do nothing",
    ),
    (
        "order_items: refilled",
        "with p as materialized (select array_agg(id order by id) as ids from products) \
         insert into order_items select o.id, l, p.ids[1 + (o.id * 7 + l) % cardinality(p.ids)], 1 + (o.id + l) % 4, 1.5 \
         from orders o, p, generate_series(1, 2) l where p.ids is not null and o.id <= :users * 5 + 5 on conflict do nothing",
    ),
    (
        "reviews: refilled",
        "insert into reviews select g, p.id, u.id, 1 + g % 5, 'refilled ' || g from generate_series(1, :products * 2) g \
         join products p on p.id = md5('product ' || 1 + g % :products)::uuid left join users u on u.id = 1 + g % :users \
         on conflict do nothing",
    ),
];
