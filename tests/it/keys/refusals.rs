//! A refusal touches nothing, and names what to do.

use std::sync::Arc;

use docmill::edges::FailureClass;

use crate::support::opensearch::OpenSearch;
use crate::support::postgres::Database;
use crate::support::running::{Loud, Running, sink};
use crate::support::shop;

/// What a shop that was changed by `prepare` is refused with, its advice included.
async fn refused(prepare: &str) -> (Database, String) {
    let (database, search) = (Database::fresh().await, OpenSearch::fresh().await);
    shop::create(&database, 5, 5).await;
    database.connect().await.batch_execute(prepare).await.unwrap_or_else(|error| panic!("{prepare}: {error:?}"));
    let engine = Running::into(&database, sink(&search).await, Arc::new(Loud), |engine| engine).await;
    let failure = engine.ended().await.expect_err("it is refused");
    assert_eq!(failure.class, FailureClass::Fatal, "{}", failure.chain());
    (database, format!("{} {}", failure.chain(), failure.advice().unwrap_or_default()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_without_a_usable_identity_is_refused_and_the_application_goes_on() {
    for (prepare, parts) in [
        (
            "alter table orders replica identity default",
            &[
                "table public.orders: its replica identity (id) lacks the declared key user_id",
                "alter table \"public\".\"orders\" replica identity full;",
                "create unique index concurrently \"orders_docmill\" on \"public\".\"orders\" (\"id\", \"user_id\");",
                "alter table \"public\".\"orders\" replica identity using index \"orders_docmill\";",
            ][..],
        ),
        ("alter table reviews replica identity nothing", &["table public.reviews: it has no replica identity"]),
        ("drop index reviews_identity", &["table public.reviews: it has no replica identity"]),
        (
            "alter table reviews replica identity default; alter table reviews alter product_id drop not null",
            &[
                "lacks the declared key product_id",
                "to put it right: alter table \"public\".\"reviews\" replica identity full;",
            ],
        ),
        ("create table special_reviews () inherits (reviews)", &["table public.reviews: tables inherit from it"]),
    ] {
        let (database, text) = refused(prepare).await;
        for part in parts {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert!(!prepare.contains("drop not null") || !text.contains("create unique index"), "{text}");
        let client = database.connect().await;
        let touched = "select (select count(*) from pg_publication) \
                       + (select count(*) from pg_replication_slots where database = current_database())";
        assert_eq!(client.query_one(touched, &[]).await.unwrap().get::<_, i64>(0), 0, "{prepare}");
        for change in
            ["update reviews set stars = 3", "delete from reviews", "update orders set note = ''", "delete from orders"]
        {
            client.batch_execute(change).await.unwrap_or_else(|error| panic!("{prepare}: {change}: {error:?}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remedy_that_was_copied_is_enough() {
    let (database, text) = refused("alter table orders replica identity default").await;
    let index = text.split("-- or, cheaper: ").nth(1).expect("the cheaper remedy");
    let client = database.connect().await;
    for statement in index.split_inclusive(';').take(2) {
        client.batch_execute(statement).await.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    }
    let search = OpenSearch::fresh().await;
    let engine = Running::shop(&database, &search).await;
    shop::await_equal(&database, &search, std::time::Duration::from_secs(60)).await;
    engine.stop().await;
}
