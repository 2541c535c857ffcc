//! The perfect engine: flat rows in ranges of the key, documents assembled natively, posted at once. It has nothing that makes a
//! document right when anything changes or fails; it is what is left of an engine without that.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use serde_json::Number;
use tokio_postgres::types::{FromSql, ToSql, Type};
use tokio_postgres::{Client, Statement};

use crate::figure::{Figure, Meter};
use crate::ground::{Ground, Place, Rows};
use crate::limits::load::{IN_FLIGHT, action, make_index, post};
use crate::scenario::{self, course};
use crate::table;

/// Users read at a time: about 4 MiB of documents.
const RANGE: i64 = 3_000;
const USERS: &str = "select id, name, email, country, created_at from users where id between $1 and $2";
const ORDERS: &str =
    "select id, user_id, status, placed_at, note from orders where user_id between $1 and $2 order by user_id, id";
/// As the shop's builder has it: as a join it takes half as long again.
const LINES: &str = "select order_id, (quantity * unit_price * 100)::int8 from order_items \
                     where order_id = any(array(select id from orders where user_id between $1 and $2))";
/// Planned for the range at hand, the server takes helpers, which cost more than they bring.
const SETTINGS: &str =
    "set plan_cache_mode = force_generic_plan; set max_parallel_workers_per_gather = 0; set jit = off";

#[derive(Serialize)]
struct User<'a> {
    id: i64,
    name: &'a str,
    email: &'a str,
    country: &'a str,
    created_at: String,
    orders: Vec<Order<'a>>,
    order_count: usize,
    total_spent: Number,
}

#[derive(Serialize)]
struct Order<'a> {
    id: i64,
    status: &'a str,
    placed_at: String,
    note: Option<&'a str>,
    total: Number,
    lines: u32,
}

struct Reader {
    client: Client,
    statements: [Statement; 3],
}

/// All users, once: posted, or only read.
pub async fn backfill(ground: &Ground, rows: &Rows, posted: bool) -> Figure {
    let place = ground.place(rows, "perfect").await;
    make_index(&place.search).await;
    let (reader, http) = (Arc::new(Reader::connect(&place).await), crate::support::http_client());
    let index = place.search.index("users");
    let (meter, begin) = (Meter::start(ground, &[]), Instant::now());
    let ranges = stream::iter((1..=rows.last_user()).step_by(RANGE as usize));
    if posted {
        // One is read while others are posted.
        let posts = ranges
            .map(|from| {
                let (reader, index) = (Arc::clone(&reader), index.clone());
                async move { reader.read(from, from + RANGE - 1, &index).await }
            })
            .buffered(1)
            .map(|body| post(&http, &place.search.url, body))
            .buffer_unordered(IN_FLIGHT);
        posts.try_collect::<Vec<()>>().await.expect("a bulk request is taken");
    } else {
        // Two, as there are cores.
        let readers = [reader.clone(), Arc::new(Reader::connect(&place).await)];
        let reads = ranges.enumerate().map(|(place, from)| {
            let (reader, index) = (Arc::clone(&readers[place % 2]), index.clone());
            tokio::spawn(async move { reader.read(from, from + RANGE - 1, &index).await })
        });
        reads.buffer_unordered(2).try_collect::<Vec<Bytes>>().await.expect("no reader panics");
    }
    let course = course(begin, meter.used());
    let wrong = if posted { crate::check::wrong_users(&place).await } else { 0 };
    drop(reader);
    ground.clear(place).await;
    let (scenario, system) = match posted {
        true => (scenario::BACKFILL, table::PERFECT),
        false => (scenario::BACKFILL_NULL, table::BARE_READ),
    };
    Figure { wrong, ..Figure::new(scenario, system, rows.documents(), course) }
}

impl Reader {
    async fn connect(place: &Place) -> Self {
        let client = place.database.connect().await;
        client.batch_execute(SETTINGS).await.expect("settings");
        let statements = [client.prepare(USERS).await, client.prepare(ORDERS).await, client.prepare(LINES).await];
        Self { client, statements: statements.map(|statement| statement.expect("SQL")) }
    }

    async fn read(&self, from: i64, to: i64, index: &str) -> Bytes {
        let [users, orders, lines] = &self.statements;
        let range: [&(dyn ToSql + Sync); 2] = [&from, &to];
        // On one connection, one behind the other without waiting.
        let (users, orders, lines) = tokio::try_join!(
            self.client.query(users, &range),
            self.client.query(orders, &range),
            self.client.query(lines, &range)
        )
        .expect("rows");
        let mut totals: HashMap<i64, (i64, u32)> = HashMap::with_capacity(orders.len());
        for line in &lines {
            let total = totals.entry(line.get(0)).or_default();
            *total = (total.0 + line.get::<_, i64>(1), total.1 + 1);
        }
        let mut body = BytesMut::with_capacity(5 << 20);
        let mut orders = orders.iter().peekable();
        let mut users: Vec<_> = users.iter().collect();
        users.sort_unstable_by_key(|user| user.get::<_, i64>(0));
        for user in users {
            let id: i64 = user.get(0);
            let (mut of_user, mut spent) = (Vec::with_capacity(5), 0);
            while let Some(order) = orders.next_if(|order| order.get::<_, i64>(1) == id) {
                let (cents, lines) = totals.get(&order.get(0)).copied().unwrap_or_default();
                let status: &str = order.get(2);
                spent += if status == "cancelled" { 0 } else { cents };
                of_user.push(Order {
                    id: order.get(0),
                    status,
                    placed_at: order.get::<_, Moment>(3).text(),
                    note: order.get(4),
                    total: money(cents),
                    lines,
                });
            }
            action(&mut body, index, &id.to_string(), 1);
            let document = User {
                id,
                name: user.get(1),
                email: user.get(2),
                country: user.get(3),
                created_at: user.get::<_, Moment>(4).text(),
                order_count: of_user.len(),
                orders: of_user,
                total_spent: money(spent),
            };
            serde_json::to_writer((&mut body).writer(), &document).expect("memory takes it");
            body.put_u8(b'\n');
        }
        body.freeze()
    }
}

fn money(cents: i64) -> Number {
    Number::from_f64(cents as f64 / 100.0).expect("a finite number")
}

/// Microseconds since 2000, as the server sends a timestamptz.
struct Moment(i64);

impl<'a> FromSql<'a> for Moment {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(i64::from_be_bytes(raw.try_into()?)))
    }

    fn accepts(of: &Type) -> bool {
        *of == Type::TIMESTAMPTZ
    }
}

impl Moment {
    fn text(&self) -> String {
        const DAY: i64 = 86_400_000_000;
        // Days since 0000-03-01, by the usual reckoning in eras of 400 years.
        let days = self.0.div_euclid(DAY) + 730_425;
        let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * of_year + 2) / 153;
        let (day, month) =
            (of_year - (153 * shifted + 2) / 5 + 1, if shifted < 10 { shifted + 3 } else { shifted - 9 });
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let of_day = self.0.rem_euclid(DAY);
        let (seconds, micros) = (of_day / 1_000_000, of_day % 1_000_000);
        let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
    }
}
