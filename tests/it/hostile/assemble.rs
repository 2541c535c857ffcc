//! An `assemble` that fails on one document: that one is quarantined, whoever shared its calls is written.

use super::case::Case;

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_loop_for_one_document() {
    let reason = "…";
    Case::of("endless loop in assemble").await.quarantines("builder_time", reason).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_for_one_document() {
    let reason = "…";
    Case::of("abort").await.quarantines("builder_failed", reason).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing() {
    let mut case = Case::of("none").await;
    case.start().await;
    case.await_all().await;
    case.beside_neighbour(async |_| tokio::time::sleep(std::time::Duration::from_millis(500)).await).await;
    case.beside_neighbour(async |_| tokio::time::sleep(std::time::Duration::from_millis(500)).await).await;
}
