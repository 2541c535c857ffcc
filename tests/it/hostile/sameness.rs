//! A builder that wants to make another document of the same rows: it has nothing to draw that from but its input.

use serde_json::json;

use super::case::Case;
use super::stage::until;

/// The same row again, alone in its call.
const AGAIN: &str = "update evil set name = name where id = 'evil-1'";

#[tokio::test(flavor = "multi_thread")]
async fn memory_addresses_and_seeds_are_the_same_in_every_call_and_every_process() {
    let mut case = Case::of("another document each time").await;
    case.sql("insert into evil values ('evil-1', 'one')").await;
    case.start().await;
    case.await_good().await;
    // The first was made together with all others.
    until("the first document is there", async || case.history("evil-1").len() == 1).await;
    case.beside_neighbour(async |case| case.change(AGAIN, &["evil-1"]).await).await;
    case.stop().await;
    case.start().await;
    let before = case.history("evil-1").len();
    case.sql(AGAIN).await;
    until("it was made again", async || case.history("evil-1").len() > before).await;
    let mut documents = case.history("evil-1").split_off(1);
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
    until("it was made", async || case.history("evil-1").len() == 1).await;
    case.sql(AGAIN).await;
    until("it was made again", async || case.history("evil-1").len() == 2).await;
    let company = |number: u32| json!({ "id": "evil-1", "name": format!("one of {number}") });
    assert_eq!(case.history("evil-1"), [company(21), company(1)]);
    case.mend().await;
    case.await_all().await;
}
