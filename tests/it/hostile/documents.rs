//! Answers of `assemble` that are no documents, or more than one may be.

use super::case::Case;

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_is_no_utf8() {
    Case::of("invalid UTF-8").await.quarantines("builder_failed", "…").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_is_no_json() {
    Case::of("invalid JSON").await.quarantines("builder_json", "…").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_is_no_object() {
    Case::of("no object").await.quarantines("builder_json", "…").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_with_a_bulk_action_behind_it() {
    Case::of("bulk action behind the document").await.quarantines("builder_json", "…").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_nested_without_end() {
    Case::of("deep document").await.quarantines("builder_limit", "…").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_over_its_limit() {
    Case::of("large document").await.quarantines("builder_limit", "…").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_more_than_the_host_takes() {
    Case::of("huge answer").await.quarantines("builder_limit", "…").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn enormous_documents_within_the_limits_are_written() {
    let mut case = Case::of("enormous and valid").await;
    case.sql("insert into evil select 'evil-' || g, 'one' from generate_series(1, 4) g").await;
    case.start().await;
    case.await_good().await;
    case.beside_neighbour(async |case| {
        case.change("update evil set name = name || '.'", &["evil-1", "evil-2", "evil-3", "evil-4", "good-1"]).await;
    })
    .await;
    case.await_good().await;
    let documents = case.documents().await;
    for id in ["evil-1", "evil-4"] {
        assert_eq!(documents[id]["bulk"].as_str().map(str::len), Some(6 << 20));
    }
    case.mend().await;
    case.await_all().await;
}
