//! The tests' own tools can be trusted: the oracle, the writers, the real search engine and the failing one.

use std::time::Duration;

use crate::support::opensearch::OpenSearch;
use crate::support::postgres::{Database, blocking, connect, private};
use crate::support::shop::{self, ShopDocuments, await_documents};
use crate::support::writers::{Load, Writers};
use docmill::embedded::StopMode;
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn the_oracle_has_a_document_for_every_user_and_product() {
    let database = Database::fresh().await;
    shop::create(&database, 30, 10).await;
    let documents = ShopDocuments::from_sql(&database.url).await;
    assert_eq!((documents.users.len(), documents.products.len()), (30, 10));
    let user = &documents.users["7"];
    assert_eq!((&user["order_count"], user["orders"].as_array().map(Vec::len)), (&json!(5), Some(5)));

    let client = database.connect().await;
    client.batch_execute("update products set discontinued = true where sku = 'SKU-1'").await.expect("an update");
    client.batch_execute("update users set name = 'other' where id = 7").await.expect("an update");
    let differences = ShopDocuments::from_sql(&database.url).await.differences(&documents);
    assert_eq!((differences.missing, differences.extra, differences.wrong), (0, 1, 1), "{differences}");
}

#[tokio::test]
async fn writers_change_every_table_and_go_on_after_a_restart() {
    let server = private(&[]).await;
    let url = server.url();
    let client = connect(&url).await;
    client.batch_execute(docmill::embedded::SHOP_SCHEMA).await.expect("the schema");
    client.batch_execute(&docmill::embedded::shop_seed(200, 50)).await.expect("the rows");
    let before = ShopDocuments::from_sql(&url).await;

    let load = Load { writers: 4, seed: 1, users: 200, products: 50, pause: Duration::ZERO };
    let writers = Writers::start_at(&url, &load);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let server = blocking(move || {
        server.restart(StopMode::Fast).expect("a restart");
        server
    })
    .await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let counts = writers.stop().await;
    println!("{counts}\n{:#?}", counts.rows);
    let unchanged: Vec<_> = counts.rows.iter().filter(|(_, rows)| **rows == 0).collect();
    assert!(unchanged.is_empty() && counts.rows.len() > 35, "never changed a row: {unchanged:?} of {:?}", counts.rows);
    assert!(
        counts.committed > 100 && counts.rolled_back > 0 && counts.refused > 0 && counts.reconnected > 0,
        "{counts}"
    );
    assert!(before.differences(&ShopDocuments::from_sql(&server.url()).await).total() > 50);
}

#[tokio::test]
async fn what_a_real_index_holds_is_compared_with_sql() {
    let (database, search) = (Database::fresh().await, OpenSearch::fresh().await);
    shop::create(&database, 20, 10).await;
    let expected = ShopDocuments::from_sql(&database.url).await;
    for (name, documents) in [("users", &expected.users), ("products", &expected.products)] {
        let mapping = json!({"mappings": {"dynamic": false}});
        search.must(Method::PUT, &search.index(name), Some(&mapping)).await;
        for (id, document) in documents {
            search
                .must(
                    Method::PUT,
                    &format!("{}/_doc/{id}?version=5&version_type=external", search.index(name)),
                    Some(document),
                )
                .await;
        }
    }
    shop::await_equal(&database, &search, Duration::from_secs(5)).await;
    assert_eq!(search.versions("users").await.expect("the index")["3"], 5);

    search
        .must(Method::POST, &format!("{}/_update/3", search.index("users")), Some(&json!({"doc": {"name": "wrong"}})))
        .await;
    search.must(Method::DELETE, &format!("{}/_doc/4", search.index("users")), None).await;
    let find = async || ShopDocuments::from_opensearch(&search).await;
    let found = await_documents(&database.url, Duration::ZERO, find).await.expect_err("it differs");
    assert_eq!((found.missing, found.extra, found.wrong), (1, 0, 1));
    assert!(found.to_string().contains("users/3.name: expected \"user 3\", found \"wrong\""), "{found}");

    search.remove_all().await;
    assert_eq!(search.documents("users").await, None);
    assert_eq!(search.document("users", "3").await, None);
}
