//! A `describe` that misbehaves: such a pipeline never starts.

use super::case::Case;

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_loop_in_describe_ends_with_the_cpu_budget() {
    let error = "builder of pipeline hostile, describe: … are over the limit cpu of 200ms…: it said: it logged nothing";
    Case::of("endless loop in describe").await.never_starts(error).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_describe_is_said() {
    let error = "…";
    Case::of("panic in describe").await.never_starts(error).await;
}
