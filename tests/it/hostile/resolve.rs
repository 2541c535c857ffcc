//! A `resolve` that fails on a row: nobody knows which documents that touches. With the policy `stop` the pipeline ends with nothing
//! confirmed at or after it, and a mended builder finds every change; what `quarantine` does is in `failing`.

use super::case::Case;

/// With which error of the guest it ends.
async fn ends(misdeed: &str, error: &str) {
    let cannot = "a row of table evil (keys id) could not be resolved for index evil, so nobody knows which documents it touches; \
        mend the builder and start again: nothing at or after that change was confirmed: \
        builder of pipeline hostile, resolve of index evil, table evil: ";
    Case::of(misdeed).await.ends(&format!("{cannot}{error}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_loop_in_resolve_ends_with_the_cpu_budget() {
    ends("endless loop in resolve", "… are over the limit cpu of 200ms, in …").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_resolve_ends_with_its_place_in_the_code() {
    ends("panic in resolve", "it trapped: wasm `unreachable` instruction executed, in …").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resolve_may_not_read_the_database() {
    ends("read in resolve", "it called source.run, which only assemble may").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_id_is_refused() {
    ends("empty id", "id 1 of its answer is empty").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_over_long_id_is_refused() {
    ends("over-long id", "id 1 of its answer has 513 bytes, at most 512 are possible").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_would_end_its_line_is_refused() {
    ends("bulk action in id", "id 1 of its answer holds a control character").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_ids_than_a_row_may_lead_to_are_refused() {
    ends("too many ids", "100001 is over the limit resolved_ids of 100000; …").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_was_not_declared_is_refused() {
    ends(
        "undeclared query in resolve",
        "it asked for query \"drop table evil\", which its descriptor does not declare",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_queries_than_an_answer_may_hold_are_refused() {
    ends("too many queries", "65 is over the limit queries of 64; …").await;
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
    case.beside_neighbour(async |case| {
        case.change("update evil set name = name || '.' where id = 'good-1'", &["good-1"]).await
    })
    .await;
    case.await_all().await;
    case.mend().await;
    case.await_all().await;
}
