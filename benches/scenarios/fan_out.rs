//! One change that leads to many documents: an order's status, and with it every product on its lines.

use crate::figure::Figure;
use crate::ground::{Ground, Place, Rows};
use crate::system::{System, Until, follow};

/// Products that a change leads to.
pub const FAN_OUTS: [(u32, &str); 3] =
    [(1, "S3 fan-out of 1, documents"), (10, "S3 fan-out of 10, documents"), (1_000, "S3 fan-out of 1,000, documents")];

/// Orders made for it; those of the shop have smaller numbers.
const FIRST: u32 = 1_000_000_000;

/// So many changes that together they lead to each of `documents` products once, made while it was stopped, each in a transaction of
/// its own. From the start of the system: where few changes lead to many documents, what it does before it writes is most of it.
pub async fn measure(
    ground: &Ground,
    rows: &Rows,
    system: System,
    (fan_out, scenario): (u32, &'static str),
    documents: u32,
) -> Figure {
    let mut place = ground.place(rows, "fan_out").await;
    place.index = "products";
    let orders = (documents / fan_out).max(1);
    make_orders(&place, orders, fan_out).await;
    let mut running = system.start(&place).await;
    follow(ground, &place, &mut *running, Until::Written(rows.products.into()), false).await;
    place.settled().await;
    running.end(&place).await;
    change(&place, orders).await;
    place.settled().await;
    let mut running = system.start(&place).await;
    let course = follow(ground, &place, &mut *running, Until::Confirmed, true).await;
    let wrong = system.wrong(&mut *running, &place).await;
    running.end(&place).await;
    ground.clear(place).await;
    Figure { wrong, ..Figure::new(scenario, system.name(), (orders * fan_out).into(), course) }
}

async fn make_orders(place: &Place, orders: u32, lines: u32) {
    let Rows { users, products, .. } = place.rows;
    let sql = format!(
        "insert into orders select {FIRST} + g, 1 + g % {users}, 'open', '2026-03-01 00:00:00Z', null
         from generate_series(0, {orders} - 1) g;
         insert into order_items
         select {FIRST} + g, 1 + l, md5('product ' || 1 + (g::int8 * {lines} + l) % {products})::uuid, 1, 1.00
         from generate_series(0, {orders} - 1) g, generate_series(0, {lines} - 1) l;
         analyze"
    );
    place.database.connect().await.batch_execute(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

/// Cancels them.
async fn change(place: &Place, orders: u32) {
    let client = place.database.connect().await;
    // Apart: a block may commit only where it is a query of its own.
    let block = format!(
        "do $$ begin for i in 0..{orders} - 1 loop
         update orders set status = 'cancelled' where id = {FIRST} + i; commit; end loop; end $$"
    );
    for sql in ["set synchronous_commit = off", &block, "select pg_switch_wal()"] {
        client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
}
