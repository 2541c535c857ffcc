//! The perfect engine: flat rows in ranges of the key, documents assembled natively, posted at once. It has nothing that makes a
//! document right when anything changes or fails; it is what is left of an engine without that.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use serde_json::Number;
use tokio::sync::mpsc;
use tokio_postgres::types::{FromSql, ToSql, Type};
use tokio_postgres::{Client, Statement};

use crate::figure::{Course, Figure, Meter};
use crate::ground::{Ground, Place, Rows};
use crate::limits::load::{IN_FLIGHT, action, make_index, post};
use crate::scenario::{self, course};
use crate::table;

/// Users read at a time: about 4 MiB of documents.
const RANGE: i64 = 3_000;
/// Changed users taken together, and read at a time: as docmill does.
const CHANGED: [usize; 2] = [4_000, 1_000];
/// Bodies that wait to be posted.
const READ_AHEAD: usize = 1;
const USERS: &str = "select id, name, email, country, created_at from users where id";
const ORDERS: &str = "select id, user_id, status, placed_at, note from orders where user_id";
/// As the shop's builder has it: as a join it takes half as long again.
const LINES: &str = "select order_id, (quantity * unit_price * 100)::int8 from order_items \
                     where order_id = any(array(select id from orders where user_id";
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

/// Reads and assembles on a connection of its own.
struct Reader {
    client: Client,
    /// Users, their orders, and those orders' lines.
    ranges: [Statement; 3],
    lists: [Statement; 3],
}

/// Some users.
enum Ids {
    Range(i64, i64),
    List(Vec<i64>),
}

/// All users, once.
pub async fn backfill(ground: &Ground, rows: &Rows) -> Figure {
    let place = ground.place(rows, "perfect").await;
    make_index(&place.search).await;
    let (reader, http) = (Reader::connect(&place).await, crate::support::http_client());
    let index = place.search.index("users");
    let (bodies, read) = mpsc::channel(READ_AHEAD);
    let (meter, begin) = (Meter::start(ground, &[]), Instant::now());
    let reading = ranges(rows);
    tokio::spawn(async move {
        for range in reading {
            if bodies.send(reader.read(range, &index).await).await.is_err() {
                break;
            }
        }
    });
    let next = |mut read: mpsc::Receiver<Bytes>| async { read.recv().await.map(|body| (body, read)) };
    let posts = stream::unfold(read, next).map(|body| post(&http, &place.search.url, body)).buffer_unordered(IN_FLIGHT);
    posts.try_collect::<Vec<()>>().await.expect("a bulk request is taken");
    let course = course(begin, meter.used());
    let wrong = crate::check::wrong_users(&place).await;
    ground.clear(place).await;
    Figure { wrong, ..Figure::new(scenario::BACKFILL, table::PERFECT, rows.documents(), course) }
}

/// All users read and assembled, and nothing done with them.
pub async fn read(ground: &Ground, rows: &Rows) -> Figure {
    let course = read_all(ground, rows, ranges(rows)).await;
    Figure::new(scenario::BACKFILL_NULL, table::BARE_READ, rows.documents(), course)
}

/// The users of so many changes of roots, in their order: rows that lie far apart.
pub async fn read_changed(ground: &Ground, rows: &Rows, changes: u32) -> Figure {
    let ids: Vec<i64> = (1..=changes.into()).map(|change| scenario::changed_root(change, rows)).collect();
    let [together, at_a_time] = CHANGED;
    let lists = |ids: &[i64]| {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids.chunks(at_a_time).map(|ids| Ids::List(ids.to_vec())).collect::<Vec<_>>()
    };
    let course = read_all(ground, rows, ids.chunks(together).flat_map(lists).collect()).await;
    Figure::new(scenario::ROOTS_NULL, table::BARE_READ, changes.into(), course)
}

fn ranges(rows: &Rows) -> Vec<Ids> {
    (1..=rows.last_user()).step_by(RANGE as usize).map(|from| Ids::Range(from, from + RANGE - 1)).collect()
}

/// By two readers, as there are cores, who share what is to be read.
async fn read_all(ground: &Ground, rows: &Rows, pieces: Vec<Ids>) -> Course {
    let place = ground.place(rows, "read").await;
    let readers = [Reader::connect(&place).await, Reader::connect(&place).await];
    let pieces = Arc::new(Mutex::new(pieces.into_iter()));
    let (meter, begin) = (Meter::start(ground, &[]), Instant::now());
    let reading = readers.map(|reader| {
        let pieces = Arc::clone(&pieces);
        let next = move || pieces.lock().expect("no reader panics").next();
        tokio::spawn(async move {
            while let Some(ids) = next() {
                reader.read(ids, "users").await;
            }
        })
    });
    for reader in reading {
        reader.await.expect("no reader panics");
    }
    let course = course(begin, meter.used());
    ground.clear(place).await;
    course
}

impl Reader {
    async fn connect(place: &Place) -> Self {
        let client = place.database.connect().await;
        client.batch_execute(SETTINGS).await.expect("settings");
        let (ranges, lists) = (statements(&client, "between $1 and $2").await, statements(&client, "= any($1)").await);
        Self { client, ranges, lists }
    }

    async fn read(&self, ids: Ids, index: &str) -> Bytes {
        let (statements, params) = match &ids {
            Ids::Range(from, to) => (&self.ranges, vec![from as &(dyn ToSql + Sync), to]),
            Ids::List(ids) => (&self.lists, vec![ids as &(dyn ToSql + Sync)]),
        };
        let [users, orders, lines] = statements;
        // On one connection, one behind the other without waiting.
        let (users, orders, lines) = tokio::try_join!(
            self.client.query(users, &params),
            self.client.query(orders, &params),
            self.client.query(lines, &params)
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

async fn statements(client: &Client, those: &str) -> [Statement; 3] {
    let texts = [
        format!("{USERS} {those}"),
        format!("{ORDERS} {those} order by user_id, id"),
        // Of a query in a query.
        format!("{LINES} {those}))"),
    ];
    let [users, orders, lines] = &texts;
    let (users, orders, lines) =
        tokio::try_join!(client.prepare(users), client.prepare(orders), client.prepare(lines)).expect("SQL");
    [users, orders, lines]
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
