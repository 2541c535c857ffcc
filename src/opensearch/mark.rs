//! The mark of an index: what changes when confirmed writes may be gone.
//!
//! | what happened | uuid of the index | `history_uuid` of its shards |
//! |---|---|---|
//! | close and open, restart, kill -9 of the node, relocation | same | same |
//! | restored from a snapshot into the closed index, a stale or empty copy made the primary | same | other |
//! | deleted and made anew, deleted and restored | other | other |
//!
//! (Shown on OpenSearch 2.19 and 3.8.)

use reqwest::Method;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::settings::loses_writes;
use super::sink::OpenSearch;
use super::state::segment;
use crate::edges::Failure;

impl OpenSearch {
    /// The mark of an index; `None` when there is no such index.
    pub(super) async fn mark(&self, generation: &str) -> Result<Option<String>, Failure> {
        let what = format!("look whether index {generation} is the one it was");
        let index = segment(generation);
        // First, because a search engine that has just started and not read its own state yet says so here, and calls every
        // index missing where it is asked for settings.
        let answer = self.client.call(Method::GET, &format!("{index}/_stats/docs?level=shards"), None, &what).await?;
        if answer.not_found() {
            return Ok(None);
        }
        if !answer.succeeded() {
            return Err(self.client.refused(&what, &answer));
        }
        let stats = answer.body;
        let names = "index.uuid,index.number_of_shards,index.translog.durability";
        let answer = self.client.call(Method::GET, &format!("{index}/_settings/{names}"), None, &what).await?;
        if answer.not_found() {
            return Err(Failure::transient(format!("{what} on {}: it has just gone", self.client.shown)));
        }
        if !answer.succeeded() {
            return Err(self.client.refused(&what, &answer));
        }
        let settings = &answer.body[generation]["settings"]["index"];
        let shards = settings["number_of_shards"].as_str().and_then(|number| number.parse::<usize>().ok());
        let (Some(uuid), Some(shards)) = (settings["uuid"].as_str(), shards) else {
            return Err(Failure::transient(format!("{what} on {}: it has no uuid", self.client.shown)));
        };
        if let Some(refused) = loses_writes(generation, settings["translog"]["durability"].as_str()) {
            return Err(refused);
        }
        if stats["indices"][generation]["uuid"].as_str().is_some_and(|seen| seen != uuid) {
            return Err(Failure::transient(format!("{what} on {}: it was just made anew", self.client.shown)));
        }
        let histories = histories(&stats["indices"][generation]["shards"]);
        if histories.len() != shards {
            return Err(Failure::transient(format!(
                "{what} on {}: {} of {shards} shards answered",
                self.client.shown,
                histories.len()
            ))
            .with_advice("see why the others are not started: GET _cluster/allocation/explain"));
        }
        let digest = Sha256::digest(histories.join("\n"));
        let digits: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Ok(Some(format!("{uuid}-{digits}")))
    }
}

/// `history_uuid` of each started primary with its shard's number, in order.
fn histories(shards: &Value) -> Vec<String> {
    let shards = shards.as_object().into_iter().flatten();
    let mut histories: Vec<String> = shards
        .filter_map(|(number, copies)| {
            let copies = copies.as_array()?;
            let primary = copies.iter().find(|copy| copy["routing"]["primary"] == true)?;
            Some(format!("{number} {}", primary["commit"]["user_data"]["history_uuid"].as_str()?))
        })
        .collect();
    histories.sort_unstable();
    histories
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_primaries_that_have_started_say_which_history_it_is() {
        let copy = |primary: bool, history: Value| json!({ "routing": { "primary": primary }, "commit": { "user_data": history } });
        let shards = json!({
            "0": [copy(false, json!({ "history_uuid": "x" })), copy(true, json!({ "history_uuid": "a" }))],
            "1": [copy(true, json!({}))],
            "2": [copy(false, json!({ "history_uuid": "y" }))],
            "10": [copy(true, json!({ "history_uuid": "b" }))],
        });
        assert_eq!(histories(&shards), ["0 a", "10 b"]);
        assert!(histories(&Value::Null).is_empty());
    }
}
