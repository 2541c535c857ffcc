//! Documents, ids and routing that would break out of their lines of a bulk request, and documents that a search engine refuses.

use super::case::Case;

/// A row whose key is such an id; the builder is a good one.
async fn writes_the_document_of(id: &str) {
    let mut case = Case::of("none").await.searched().await;
    let insert = format!("insert into evil values ('{id}', 'one')");
    case.sql(&insert).await;
    case.start().await;
    case.await_all().await;
    let touch = format!("update evil set name = name || '.' where id in ('{id}', 'good-1')");
    case.beside_neighbour(async |case| case.change(&touch, &[id, "good-1"]).await).await;
    case.await_all().await;
    case.change(&format!("delete from evil where id = '{id}'"), &[id]).await;
    case.await_all().await;
    case.stop().await;
}

/// One that the search engine refuses, alone.
async fn quarantines(misdeed: &str, kind: &str, reason: &str) -> String {
    Case::of(misdeed).await.searched().await.quarantines(kind, reason).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_would_close_its_action_is_an_id() {
    writes_the_document_of(r#"evil"}},{"delete":{"_index":"evil","_id":"good-1"#).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_routing_that_would_close_its_action_is_a_routing() {
    writes_the_document_of(r#"evil"}},{"delete":{"_index":"evil","_id":"good-1"}}|rest"#).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_action_behind_a_document_is_never_sent() {
    quarantines(
        "bulk action behind the document",
        "builder_json",
        "the builder's document of 47 bytes is not one JSON object: there is a mistake in its syntax (line 2, column 1)",
    ).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn line_breaks_in_a_document_do_not_end_its_line() {
    Case::of("line breaks in the document").await.searched().await.does_no_harm().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_cannot_name_another_index_or_id() {
    quarantines("metadata in the document", "mapper_parsing_exception", "the search engine refuses field _id").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_fields_than_an_index_takes() {
    let detail =
        quarantines("many fields", "illegal_argument_exception", "the search engine refuses this document").await;
    assert_eq!(detail, "Limit of total fields [1000] has been exceeded");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_term_that_is_too_long_for_the_index() {
    quarantines("immense term", "illegal_argument_exception", "the search engine refuses field name").await;
}
