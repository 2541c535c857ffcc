//! Answers of `assemble` that are no documents, or more than one may be.

use super::case::{Case, blamed, quarantines};

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_is_no_utf8() {
    blamed("invalid UTF-8", "builder_failed", "invalid utf-8 sequence of 1 bytes from index 9").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_is_no_json() {
    quarantines("invalid JSON", "builder_json", "the builder's document of 17 bytes is not one JSON object: there is a mistake in its syntax (line 1, column 10)").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_is_no_object() {
    quarantines("no object", "builder_json", "the builder's document of 22 bytes is no JSON object").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_with_a_bulk_action_behind_it() {
    quarantines("bulk action behind the document", "builder_json", "the builder's document of 47 bytes is not one JSON object: there is a mistake in its syntax (line 2, column 1)").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_nested_without_end() {
    quarantines(
        "deep document",
        "builder_limit",
        "the builder's document of 200009 bytes is nested deeper than the limit document_depth of 64",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_over_its_limit() {
    quarantines(
        "large document",
        "builder_limit",
        "the builder's document of 9437195 bytes is over the limit document_bytes of 8388608",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_more_than_the_host_takes() {
    blamed("huge answer", "builder_limit", "it handed over more than the limit bytes_from_guest of 16777216").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn enormous_documents_within_the_limits_are_written() {
    let mut case = Case::of("enormous and valid").await;
    case.sql("insert into evil select 'evil-' || g, 'one' from generate_series(1, 4) g").await;
    case.start().await;
    case.await_good().await;
    case.beside_neighbour(async |case| case.touch().await).await;
    case.await_good().await;
    let documents = case.documents().await;
    for id in ["evil-1", "evil-4"] {
        assert_eq!(documents[id]["bulk"].as_str().map(str::len), Some(6 << 20));
    }
    case.mend().await;
    case.await_all().await;
}
