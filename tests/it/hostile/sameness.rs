//! A builder that wants to make another document of the same rows: it has nothing to draw that from but its input.

use serde_json::{Value, json};

use super::case::Case;

#[tokio::test(flavor = "multi_thread")]
async fn memory_addresses_and_seeds_are_the_same_in_every_call_and_every_process() {
    let mut case = Case::of("another document each time").await;
    case.sql("insert into evil values ('evil-1', 'one')").await;
    case.start().await;
    case.await_good().await;
    case.beside_neighbour(async |case| case.touch().await).await;
    case.stop().await;
    case.start().await;
    case.change("update evil set name = name || '.' where id = 'evil-1'", &["evil-1"]).await;
    case.await_good().await;
    let mut documents = case.history("evil-1");
    assert!(documents.len() > 5, "{documents:?}");
    documents.dedup();
    assert_eq!(documents.len(), 1, "{documents:?}");
    case.mend().await;
    case.await_all().await;
}

/// What is left to it: ids are assembled together as they come, and a builder may say so in its documents.
#[tokio::test(flavor = "multi_thread")]
async fn only_who_shared_its_call_can_show_in_a_document() {
    let mut case = Case::of("tells its company").await;
    case.sql("insert into evil values ('evil-1', 'one')").await;
    case.start().await;
    case.await_good().await;
    case.change("update evil set name = name || '.' where id = 'evil-1'", &["evil-1"]).await;
    case.await_good().await;
    let company = |number: u32| json!({ "id": "evil-1", "name": format!("one of {number}") });
    let documents: Vec<Value> = case.history("evil-1");
    assert_eq!((documents.first(), documents.last()), (Some(&company(21)), Some(&company(1))), "{documents:?}");
    case.mend().await;
    case.await_all().await;
}
