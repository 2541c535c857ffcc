//! The search engine alone: the finished documents, posted by a client that does nothing else.

use std::time::Instant;

use ::docmill::edges::DocumentBuilder;
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::Method;
use serde_json::{Value, json};

use crate::figure::{Figure, Meter};
use crate::ground::{Ground, Place, Rows};
use crate::scenario::{self, course};
use crate::support::opensearch::OpenSearch;
use crate::support::running::shop_builder;
use crate::{table, tenants};

/// Bytes of one request, and requests at a time, with which one node on two cores was fastest: 2 to 4 MiB, and 2.
const BODY_BYTES: usize = 4 << 20;
pub const IN_FLIGHT: usize = 2;

/// Documents posted into an empty index.
pub async fn backfill(ground: &Ground, rows: &Rows) -> Figure {
    let place = ground.place(rows, "bare").await;
    let bodies = bodies(&place, 1).await;
    make_index(&place.search).await;
    let figure = post_all(ground, &place, bodies, scenario::BACKFILL, table::BARE_LOAD).await;
    let wrong = crate::check::wrong_users(&place).await;
    ground.clear(place).await;
    Figure { wrong, ..figure }
}

/// The same documents posted again over themselves.
pub async fn updates(ground: &Ground, rows: &Rows) -> Figure {
    let place = ground.place(rows, "bare").await;
    make_index(&place.search).await;
    let (first, again) = (bodies(&place, 1).await, bodies(&place, 2).await);
    post_all(ground, &place, first, "", "").await;
    place.settled().await;
    let figure = post_all(ground, &place, again, scenario::UPDATES_LIMIT, table::BARE_UPDATES).await;
    let wrong = crate::check::wrong_users(&place).await;
    ground.clear(place).await;
    Figure { wrong, ..figure }
}

/// Documents in one request of S7's limit, with which the search engine was as fast in a hundred indexes as in one.
const OF_ONE_OF_MANY: usize = 500;

/// That many documents posted over themselves, in as many indexes, each request for one of them.
pub async fn updates_of(ground: &Ground, rows: &Rows, indexes: u32, users: u32, name: &'static str) -> Figure {
    let place = ground.place(rows, "bare").await;
    let index = |number: u32| place.search.index(&format!("users-{number}"));
    for number in 0..indexes {
        make(&place.search, &index(number)).await;
    }
    let documents = documents(&place, users).await;
    let bodies = |version: u64| -> Vec<(Bytes, u64)> {
        let numbers = (0..indexes).cycle();
        let requests = documents.chunks(OF_ONE_OF_MANY).zip(numbers);
        let body = |(documents, number): (&[(String, String)], u32)| {
            let mut body = BytesMut::new();
            documents.iter().for_each(|(id, document)| line(&mut body, &index(number), id, version, document));
            (body.freeze(), documents.len() as u64)
        };
        requests.map(body).collect()
    };
    post_all(ground, &place, bodies(1), "", "").await;
    place.settled().await;
    let figure = post_all(ground, &place, bodies(2), tenants::SCENARIO, name).await;
    ground.clear(place).await;
    figure
}

/// The documents of the index `users` by SQL, as bodies of bulk requests under that version, with how many each holds.
async fn bodies(place: &Place, version: u64) -> Vec<(Bytes, u64)> {
    let index = place.search.index("users");
    let mut bodies = Vec::new();
    let (mut body, mut count) = (BytesMut::new(), 0);
    for (id, document) in documents(place, u32::MAX).await {
        line(&mut body, &index, &id, version, &document);
        count += 1;
        if body.len() >= BODY_BYTES {
            bodies.push((body.split().freeze(), std::mem::take(&mut count)));
        }
    }
    bodies.push((body.freeze(), count));
    bodies
}

/// That many documents of the index `users` by SQL, by id.
async fn documents(place: &Place, most: u32) -> Vec<(String, String)> {
    let oracle = crate::check::users_by_sql();
    let sql = format!("select id, document::text from ({oracle}) oracle limit {most}");
    let client = place.database.connect().await;
    let rows = client.query_raw(&sql, std::iter::empty::<i64>()).await.expect("documents.sql is valid");
    // As a builder writes it: without the spaces of jsonb.
    let document = |text: &str| serde_json::from_str::<Value>(text).expect("jsonb is JSON").to_string();
    rows.map_ok(|row| (row.get(0), document(row.get(1)))).try_collect().await.expect("rows")
}

fn line(body: &mut BytesMut, index: &str, id: &str, version: u64, document: &str) {
    action(body, index, id, version);
    body.put_slice(document.as_bytes());
    body.put_u8(b'\n');
}

/// The line before a document.
pub fn action(body: &mut BytesMut, index: &str, id: &str, version: u64) {
    let line = format!(
        "{{\"index\":{{\"_index\":\"{index}\",\"_id\":\"{id}\",\"version\":{version},\"version_type\":\"external_gte\"}}}}\n"
    );
    body.put_slice(line.as_bytes());
}

/// Posts one body; panics unless every document was taken.
pub async fn post(client: &reqwest::Client, url: &str, body: Bytes) -> Result<(), String> {
    let request = client.post(format!("{url}/_bulk?filter_path=errors")).body(body);
    let answer =
        request.header("content-type", "application/x-ndjson").send().await.map_err(|error| error.to_string())?;
    let answer: Value = answer.json().await.map_err(|error| error.to_string())?;
    if answer["errors"] == json!(false) { Ok(()) } else { Err(answer.to_string()) }
}

async fn post_all(
    ground: &Ground,
    place: &Place,
    bodies: Vec<(Bytes, u64)>,
    scenario: &'static str,
    system: &'static str,
) -> Figure {
    let count = bodies.iter().map(|(_, count)| count).sum();
    let client = crate::support::http_client();
    let (meter, begin) = (Meter::start(ground, &[]), Instant::now());
    let posts =
        stream::iter(bodies).map(|(body, _)| post(&client, &place.search.url, body)).buffer_unordered(IN_FLIGHT);
    posts.try_collect::<Vec<()>>().await.expect("a bulk request is taken");
    Figure::new(scenario, system, count, course(begin, meter.used()))
}

/// The index that docmill makes of the builder's declaration: the same mapping.
pub async fn make_index(search: &OpenSearch) {
    make(search, &search.index("users")).await;
}

async fn make(search: &OpenSearch, index: &str) {
    let body = json!({ "settings": { "number_of_replicas": 0 }, "mappings": mapping().await });
    search.must(Method::PUT, index, Some(&body)).await;
}

/// The mapping of the index `users`, as the shop declares it.
pub async fn mapping() -> Value {
    let builder = shop_builder().await;
    builder.declaration().index("users").expect("the shop declares it").mapping.clone()
}
