//! The search engine alone: the finished documents, posted by a client that does nothing else.

use std::time::Instant;

use ::docmill::edges::DocumentBuilder;
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::Method;
use serde_json::{Value, json};

use crate::figure::{Figure, Meter};
use crate::ground::Ground;
use crate::support::opensearch::OpenSearch;
use crate::support::postgres::Database;
use crate::support::running::shop_builder;

/// Bytes of one request, and requests at a time, with which one node on two cores was fastest: 2 to 4 MiB, and 2.
pub const BODY_BYTES: usize = 4 << 20;
pub const IN_FLIGHT: usize = 2;

/// Documents posted into an empty index.
pub async fn backfill(ground: &Ground) -> Figure {
    let (database, search) = (ground.database("bare").await, ground.search());
    let bodies = bodies(&database, &search, 1).await;
    make_index(&search).await;
    let figure = post_all(ground, &search, bodies, "S1 backfill", "bare bulk load").await;
    let wrong = ground.wrong(&database, &search).await;
    search.remove_all().await;
    ground.drop(&database).await;
    Figure { wrong, ..figure }
}

/// The same documents posted again over themselves.
pub async fn updates(ground: &Ground) -> Figure {
    let (database, search) = (ground.database("bare").await, ground.search());
    make_index(&search).await;
    let (first, again) = (bodies(&database, &search, 1).await, bodies(&database, &search, 2).await);
    post_all(ground, &search, first, "", "").await;
    let figure = post_all(ground, &search, again, "S2/S3 updates in place", "bare bulk load").await;
    let wrong = ground.wrong(&database, &search).await;
    search.remove_all().await;
    ground.drop(&database).await;
    Figure { wrong, ..figure }
}

/// The documents of the index `users` by SQL, as bodies of bulk requests under that version, with how many each holds.
async fn bodies(database: &Database, search: &OpenSearch, version: u64) -> Vec<(Bytes, u64)> {
    let documents = crate::support::shop::ShopDocuments::from_sql(&database.url).await.users;
    let mut bodies = Vec::new();
    let (mut body, mut count) = (BytesMut::new(), 0);
    for (id, document) in &documents {
        action(&mut body, &search.index("users"), id, version);
        body.put_slice(document.to_string().as_bytes());
        body.put_u8(b'\n');
        count += 1;
        if body.len() >= BODY_BYTES {
            bodies.push((body.split().freeze(), std::mem::take(&mut count)));
        }
    }
    bodies.push((body.freeze(), count));
    bodies
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
    search: &OpenSearch,
    bodies: Vec<(Bytes, u64)>,
    scenario: &'static str,
    system: &'static str,
) -> Figure {
    let count = bodies.iter().map(|(_, count)| count).sum();
    let client = crate::support::http_client();
    let (meter, begin) = (Meter::start(ground, Some(std::process::id())), Instant::now());
    let posts = stream::iter(bodies).map(|(body, _)| post(&client, &search.url, body)).buffer_unordered(IN_FLIGHT);
    posts.try_collect::<Vec<()>>().await.expect("a bulk request is taken");
    Figure { scenario, system, count, took: begin.elapsed(), cpu: meter.used(), rss_mib: 0, latency: None, wrong: 0 }
}

/// The index that docmill makes of the builder's declaration: the same mapping.
pub async fn make_index(search: &OpenSearch) {
    let builder = shop_builder().await;
    let users = builder.declaration().index("users").expect("the shop declares it");
    let body = json!({ "settings": { "number_of_replicas": 0 }, "mappings": users.mapping });
    search.must(Method::PUT, &search.index("users"), Some(&body)).await;
}
