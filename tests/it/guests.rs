//! The example builders: what is checked in is what the sources make, and it is a closed box.

use std::sync::Arc;

use docmill::edges::{AssembleRequest, ChangeCapture, DocumentBuilder};
use docmill::model::{Outcome, Query};
use docmill::wasm::WasmBuilder;
use serde_json::Value;

use super::support::guest::built;
use super::support::postgres::Database;
use super::support::running::{SHOP_WASM, load_builder, source};
use super::support::shop::{self, ShopDocuments};

/// What a builder makes of every id of an index, straight from the database.
async fn assemble_all(builder: &Arc<WasmBuilder>, database: &Database, index: &str, ids: &[String]) -> Vec<Outcome> {
    let queries = source(database).reader().prepare(builder.declaration()).await.expect("the queries prepare");
    let ids: Arc<[String]> = ids.into();
    let declared = builder.declaration().index(index).expect("a declared index");
    let param = serde_json::to_string(&ids).unwrap();
    let reads: Vec<Query> =
        declared.reads.iter().map(|name| Query { name: name.clone(), params: vec![Some(param.clone())] }).collect();
    let (reads, source) = queries.snapshot(&reads).await.expect("the reads run");
    let request = AssembleRequest { index: index.into(), ids, reads, source };
    builder.assemble(request).await.unwrap_or_else(|failure| panic!("{}", failure.chain()))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_checked_in_shop_makes_the_documents_that_its_source_makes() {
    let database = Database::fresh().await;
    shop::create(&database, 200, 60).await;
    let from_source = std::fs::read(built("shop").await).expect("the built component");
    let expected = ShopDocuments::from_sql(&database.url).await;
    let checked_in = load_builder(SHOP_WASM, "shop").await;
    let from_source = load_builder(&from_source, "shop").await;
    for (index, documents) in [("users", &expected.users), ("products", &expected.products)] {
        let mut ids: Vec<String> = documents.keys().cloned().collect();
        ids.push(if index == "users" { "999999".into() } else { "00000000-0000-0000-0000-000000000000".into() });
        let one = assemble_all(&checked_in, &database, index, &ids).await;
        let other = assemble_all(&from_source, &database, index, &ids).await;
        assert_eq!(one, other, "{index}");
        assert_eq!(one.last(), Some(&Outcome::Absent));
        let found = ids.iter().zip(&one).filter_map(|(id, outcome)| match outcome {
            Outcome::Document(bytes) => Some((id.clone(), serde_json::from_slice::<Value>(bytes).expect("JSON"))),
            _ => None,
        });
        let found = found.collect();
        if let Err(differences) = super::support::difference::differences(index, documents, &found).into_result() {
            panic!("{index}: {differences}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_smallest_builder_works() {
    let database = Database::fresh().await;
    shop::create(&database, 10, 10).await;
    let minimal = load_builder(&std::fs::read(built("minimal").await).expect("the built component"), "minimal").await;
    let outcomes = assemble_all(&minimal, &database, "tags", &["1".into(), "999".into()]).await;
    assert_eq!(outcomes, [Outcome::Document(r#"{"id":1,"name":"tag 1"}"#.into()), Outcome::Absent]);
}
