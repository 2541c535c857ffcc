//! A `resolve` that fails on a row: nobody knows which documents that touches, so the pipeline ends with nothing confirmed at or after
//! it, and a mended builder finds every change.

use super::case::Case;

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_loop_in_resolve_ends_with_the_cpu_budget() {
    Case::of("endless loop in resolve").await.ends("…").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_resolve_is_said_with_its_place() {
    Case::of("panic in resolve").await.ends("…").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resolve_may_not_read_the_database() {
    Case::of("read in resolve").await.ends("…").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_id_is_refused() {
    Case::of("empty id").await.ends("…").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_over_long_id_is_refused() {
    Case::of("over-long id").await.ends("…").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_would_end_its_line_is_refused() {
    Case::of("bulk action in id").await.ends("…").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_ids_than_a_row_may_lead_to_are_refused() {
    Case::of("too many ids").await.ends("…").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_was_not_declared_is_refused() {
    Case::of("undeclared query in resolve").await.ends("…").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_queries_than_an_answer_may_hold_are_refused() {
    Case::of("too many queries").await.ends("…").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicate_ids_make_one_document_each() {
    Case::of("duplicate ids").await.does_no_harm().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_of_no_row_make_no_document() {
    Case::of("ids of no row").await.does_no_harm().await;
}

/// They are a pass, which goes on beside the pipeline's own changes for as long as it takes.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_of_ten_million_ids_becomes_a_pass() {
    let mut case = Case::of("ten million ids").await;
    case.start().await;
    case.await_all().await;
    case.sql("insert into evil values ('evil-1', 'one')").await;
    case.await_all().await;
    case.beside_neighbour(async |case| case.change("update evil set name = name || '.' where id = 'good-1'", &["good-1"]).await)
        .await;
    case.await_all().await;
    case.mend().await;
    case.await_all().await;
}
