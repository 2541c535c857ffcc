//! An `assemble` that fails on one document: that one is quarantined, whoever shared its calls is written.

use std::time::Duration;

use super::case::{Case, blamed};
use super::wording::assert_reads;

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_loop() {
    blamed("endless loop in assemble", "builder_time", "… are over the limit cpu of 200ms, in …").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn allocating_without_end() {
    let mut case = Case::of("allocate in assemble").await;
    // Every page that a guest touches is one that the kernel makes for this process: what that costs neighbours grows with the limit.
    case.limits.memory_bytes = 16 << 20;
    let reason = "builder of pipeline hostile, assemble of 1 documents of index evil: … is over the limit memory_bytes of 16777216";
    case.quarantines("builder_limit", reason).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_recursion() {
    blamed("deep recursion", "builder_failed", "it trapped: call stack exhausted, in …").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_division_by_zero() {
    let why = "it trapped: wasm `unreachable` instruction executed, in …";
    let detail = blamed("divide by zero", "builder_failed", why).await;
    assert_reads(&detail, "…: it said: panicked at evil/src/assemble.rs:…:…:\\nattempt to divide by zero");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort() {
    blamed("abort", "builder_failed", "it trapped: wasm `unreachable` instruction executed, in …").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_whose_words_would_steer_a_terminal() {
    let why = "it trapped: wasm `unreachable` instruction executed, in …";
    let detail = blamed("panic in assemble", "builder_failed", why).await;
    assert_reads(&detail, "…: it said: panicked at evil/src/assemble.rs:…:…:\\nas asked\\u{1b}[2J");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_whose_words_would_steer_a_terminal() {
    let detail = blamed("error in assemble", "builder_failed", "it answered with an error").await;
    assert_reads(&detail, "…: it said: as asked\\u{1b}[2J");
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_outcomes() {
    blamed("too many outcomes", "builder_failed", "it answered 2 outcomes for 1 ids").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_outcomes() {
    blamed("too few outcomes", "builder_failed", "it answered 0 outcomes for 1 ids").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_log_lines_and_a_panic() {
    let why = "it trapped: wasm `unreachable` instruction executed, in …";
    let detail = blamed("flood of log lines and panic", "builder_failed", why).await;
    // The flood has used up what a call may log, so its last words are of the flood.
    assert_reads(&detail, "…: it said: …\\u{1b}[2J…all is lost…");
    assert!(detail.len() < 8 << 10 && !detail.contains(char::is_control), "{detail}");
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
