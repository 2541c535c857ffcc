//! An `assemble` that fails on one document: that one is quarantined, whoever shared its calls is written.

use std::time::Duration;

use super::case::Case;

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_loop() {
    Case::of("endless loop in assemble").await.quarantines("builder_time", "…").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn allocating_without_end() {
    Case::of("allocate in assemble").await.quarantines("builder_limit", "…").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_recursion() {
    Case::of("deep recursion").await.quarantines("builder_failed", "…").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_division_by_zero() {
    Case::of("divide by zero").await.quarantines("builder_failed", "…").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort() {
    Case::of("abort").await.quarantines("builder_failed", "…").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_whose_words_would_steer_a_terminal() {
    Case::of("panic in assemble").await.quarantines("builder_failed", "…").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_whose_words_would_steer_a_terminal() {
    Case::of("error in assemble").await.quarantines("builder_failed", "…").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_outcomes() {
    Case::of("too many outcomes").await.quarantines("builder_failed", "…").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_outcomes() {
    Case::of("too few outcomes").await.quarantines("builder_failed", "…").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_log_lines_and_a_panic() {
    Case::of("flood of log lines and panic").await.quarantines("builder_failed", "…").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_log_lines_does_no_harm() {
    Case::of("flood of log lines").await.does_no_harm().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn using_up_the_budget_does_no_harm() {
    let mut case = Case::of("use up the budget").await;
    case.limits.cpu = Duration::from_secs(5);
    case.limits.wall = Duration::from_secs(20);
    case.does_no_harm().await;
}
