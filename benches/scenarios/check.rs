//! Documents against SQL, field by field, in pieces, so that a million of them need no more memory than ten thousand.

use std::collections::BTreeMap;
use std::pin::pin;

use futures_util::TryStreamExt;
use reqwest::Method;
use serde_json::{Value, json};

use crate::ground::Place;
use crate::support::difference::{Differences, differences};
use crate::support::opensearch::OpenSearch;
use crate::support::shop::{ShopDocuments, oracle_statements};

/// Documents compared at a time: an index gives no more in one answer.
const PIECE: usize = 10_000;

/// How many documents of the place's index are not what SQL says.
pub async fn wrong(place: &Place) -> usize {
    match place.index {
        "products" => {
            let expected = ShopDocuments::from_sql(&place.database.url).await.products;
            let found = place.search.documents("products").await.unwrap_or_default();
            let wrong = differences("products", &expected, &found);
            if wrong.total() > 0 {
                eprintln!("{wrong}");
            }
            wrong.total()
        }
        _ => wrong_users(place).await,
    }
}

/// How many documents of the index `users` are not what SQL says.
pub async fn wrong_users(place: &Place) -> usize {
    wrong_users_by(place, &users_by_sql(), None).await
}

/// The same for a system with a statement of its own, and with a field that SQL does not know.
pub async fn wrong_users_by(place: &Place, oracle: &str, without: Option<&str>) -> usize {
    let index = place.search.index("users");
    place.search.must(Method::POST, &format!("{index}/_refresh"), None).await;
    let documents = async |from, to| found(&place.search, &index, from, to, without).await;
    let wrong = against_sql(place, oracle, documents).await;
    let count = place.search.must(Method::GET, &format!("{index}/_count"), None).await["count"].as_u64().unwrap_or(0);
    // What SQL does not know is in no piece.
    wrong + (count as usize).saturating_sub(place.rows.documents() as usize)
}

/// What the documents of the index `users` must be, in SQL.
pub fn users_by_sql() -> String {
    oracle_statements().swap_remove(0)
}

/// The same for documents that are held elsewhere: `found` gives those of a range of ids.
pub async fn against_sql(
    place: &Place,
    oracle: &str,
    found: impl AsyncFn(i64, i64) -> BTreeMap<String, Value>,
) -> usize {
    let client = place.database.connect().await;
    let sql = format!("select id, document::text from ({oracle}) oracle order by id::int8");
    let rows = client.query_raw(&sql, std::iter::empty::<i64>()).await.expect("documents.sql is valid");
    let mut rows = pin!(rows);
    let (mut wrong, mut piece) = (Differences::default(), BTreeMap::new());
    let mut range = None;
    loop {
        let row = rows.try_next().await.expect("rows");
        if let Some(row) = &row {
            let id: &str = row.get(0);
            let number: i64 = id.parse().expect("ids of users are numbers");
            range = Some((range.map_or(number, |(from, _)| from), number));
            piece.insert(id.to_owned(), serde_json::from_str(row.get(1)).expect("jsonb is JSON"));
        }
        if (piece.len() == PIECE || row.is_none())
            && let Some((from, to)) = range.take()
        {
            wrong = wrong.and(differences("users", &std::mem::take(&mut piece), &found(from, to).await));
        }
        if row.is_none() {
            break;
        }
    }
    if wrong.total() > 0 {
        eprintln!("{wrong}");
    }
    wrong.total()
}

async fn found(search: &OpenSearch, index: &str, from: i64, to: i64, without: Option<&str>) -> BTreeMap<String, Value> {
    let query = json!({ "size": PIECE, "query": { "range": { "id": { "gte": from, "lte": to } } }, "sort": ["_doc"] });
    let mut answer = search.must(Method::POST, &format!("{index}/_search"), Some(&query)).await;
    let hits = answer["hits"]["hits"].as_array_mut().map(std::mem::take).unwrap_or_default();
    let document = |mut hit: Value| {
        let mut document = hit["_source"].take();
        if let (Some(field), Some(fields)) = (without, document.as_object_mut()) {
            fields.remove(field);
        }
        (hit["_id"].as_str().unwrap_or_default().to_owned(), document)
    };
    hits.into_iter().map(document).collect()
}
