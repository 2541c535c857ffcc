//! What a builder asks of the database while it assembles.

use super::case::{blamed, quarantines};

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_was_not_declared() {
    blamed(
        "undeclared query in assemble",
        "builder_failed",
        "it asked for query \"drop table evil\", which its descriptor does not declare",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_without_end() {
    blamed("read without end", "builder_limit", "65 is over the limit queries of 64").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_of_ten_million_rows() {
    quarantines("ten million rows", "builder_limit", "failed to read rows: one call yielded more than 20000 rows")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parameter_that_would_be_sql() {
    quarantines(
        "wrong parameter",
        "builder_failed",
        "failed to run query by-number: the server refused a value (SQLSTATE 22P02)",
    )
    .await;
}
