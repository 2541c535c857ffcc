//! What a builder asks of the database while it assembles.

use super::case::Case;

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_was_not_declared() {
    Case::of("undeclared query in assemble").await.quarantines("builder_failed", "…").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_without_end() {
    Case::of("read without end").await.quarantines("builder_limit", "…").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_of_ten_million_rows() {
    Case::of("ten million rows").await.quarantines("builder_limit", "…").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parameter_that_would_be_sql() {
    Case::of("wrong parameter").await.quarantines("builder_failed", "…").await;
}
