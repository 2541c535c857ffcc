//! The small indexes that docmill keeps for itself beside the documents: its state, and the quarantine.

use reqwest::Method;
use serde_json::{Value, json};

use super::client::{Client, error_type};
use super::names::write_alias;
use crate::edges::Failure;

/// Makes an index of our own with that mapping, if it is not there. Its alias for writing keeps the engine from making it
/// by guess after it was deleted.
pub(super) async fn ensure(client: &Client, index: &str, mapping: Value) -> Result<(), Failure> {
    let gc_deletes = &client.gc_deletes;
    let what = format!("make index {index}");
    let alias = write_alias(index);
    let body = json!({
        "settings": { "index": {
            "number_of_shards": 1, "auto_expand_replicas": "0-1", "hidden": true, "gc_deletes": gc_deletes,
            "translog": { "durability": "request" },
        } },
        "mappings": mapping,
        "aliases": { alias.as_str(): { "is_hidden": true } },
    });
    let answer = client.call(Method::PUT, index, Some(&body), &what).await?;
    if answer.succeeded() {
        return Ok(());
    }
    if error_type(&answer.body) != "resource_already_exists_exception" {
        return Err(client.refused(&what, &answer));
    }
    let alias = format!("{index}/_alias/{alias}");
    client.must(Method::PUT, &alias, Some(&json!({ "is_hidden": true })), &what).await.map(drop)
}
