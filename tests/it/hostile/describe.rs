//! A `describe` that misbehaves: such a pipeline never starts.

use std::time::Duration;

use serde_json::json;

use super::case::Case;
use crate::wasm::handmade::harmless;

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_loop_in_describe_ends_with_the_cpu_budget() {
    let error = "builder of pipeline hostile, describe: … are over the limit cpu of 200ms…: it said: nothing; …";
    Case::of("endless loop in describe").await.never_starts(error).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_describe_is_said_with_its_place() {
    Case::of("panic in describe").await.never_starts("builder of pipeline hostile, describe: it trapped: wasm `unreachable` instruction executed, in …: it said: panicked at evil/src/describe.rs:…:…:\\nas asked").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_describe_that_allocates_without_end_meets_the_memory_limit() {
    let mut case = Case::of("allocate in describe").await;
    case.limits.cpu = Duration::from_secs(2);
    case.never_starts("builder of pipeline hostile, describe: … is over the limit json_memory_bytes of 134217728: it said: nothing; …").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_describe_may_not_read_the_database() {
    Case::of("read in describe")
        .await
        .never_starts("builder of pipeline hostile, describe: it called source.run, which only assemble may")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_descriptor_of_a_hundred_thousand_tables_is_refused() {
    let mut case = Case::of("describe 100,000 tables").await;
    case.limits.cpu = Duration::from_secs(2);
    case.never_starts("builder of pipeline hostile: its descriptor cannot be used: it has … bytes, at most 1048576 are possible; wit/v1/descriptor.schema.json says what a descriptor may hold").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_descriptor_that_is_no_json_is_refused() {
    let mut guest = harmless();
    guest.descriptor = "{\"contract\":\"0.1\",".to_owned();
    Case::made("no JSON in describe", guest.wasm()).await.never_starts("builder of pipeline hostile: its descriptor cannot be used: it is no JSON: EOF while parsing a value at line 1 column 18; wit/v1/descriptor.schema.json says what a descriptor may hold").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_the_builder_does_not_know_is_refused_in_its_words() {
    let mut case = Case::of("none").await;
    case.config = json!({ "misdeed": "be kind" });
    case.never_starts("builder of pipeline hostile, describe: it answered with an error: it said: the builder's configuration: unknown variant `be kind`, expected one of `none`, …").await;
}
