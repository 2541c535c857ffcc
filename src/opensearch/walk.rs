//! Walking the ids of an index, in pages of a scroll.

use reqwest::Method;
use serde_json::json;

use super::sink::OpenSearch;
use crate::edges::{Failure, IdPage};

/// For how long the engine keeps the walk open between two pages.
const KEEP_ALIVE: &str = "5m";

/// Ids of one page at most, as engines have it.
const PAGE_MAX: usize = 10_000;

impl OpenSearch {
    /// The next page of a walk; the first one sees everything that was written before it.
    pub(super) async fn walk(&self, generation: &str, cursor: Option<String>, limit: usize) -> Result<IdPage, Failure> {
        let what = format!("walk the ids of index {generation}");
        let answer = match cursor {
            Some(cursor) => {
                let body = json!({ "scroll": KEEP_ALIVE, "scroll_id": cursor });
                self.call(Method::POST, "_search/scroll", Some(&body), &what).await?
            }
            None => {
                let refreshed = self.call(Method::POST, &format!("{generation}/_refresh"), None, &what).await?;
                if !refreshed.status.is_success() {
                    return Err(self.client.refused(&what, &refreshed));
                }
                let body = json!({ "size": limit.clamp(1, PAGE_MAX), "_source": false, "sort": ["_doc"] });
                let path = format!("{generation}/_search?scroll={KEEP_ALIVE}");
                self.call(Method::POST, &path, Some(&body), &what).await?
            }
        };
        if answer.status.as_u16() == 404 {
            // The walk was closed for age, or the index is gone: whoever walks begins again.
            return Err(Failure::transient(format!("{what} on {}: the walk was closed", self.client.shown)));
        }
        if !answer.status.is_success() {
            return Err(self.client.refused(&what, &answer));
        }
        if answer.body["timed_out"] == true || answer.body["_shards"]["failed"].as_u64().unwrap_or(0) > 0 {
            return Err(Failure::transient(format!("{what} on {}: not every shard answered", self.client.shown)));
        }
        let hits = answer.body["hits"]["hits"].as_array();
        let ids: Option<Vec<String>> =
            hits.and_then(|hits| hits.iter().map(|hit| hit["_id"].as_str().map(str::to_owned)).collect());
        let (Some(ids), Some(cursor)) = (ids, answer.body["_scroll_id"].as_str()) else {
            return Err(Failure::transient(format!("{what} on {}: an answer without ids", self.client.shown)));
        };
        if ids.is_empty() {
            // It would close by itself; a failure here costs nothing but the engine's memory.
            let _ = self.call(Method::DELETE, "_search/scroll", Some(&json!({ "scroll_id": cursor })), &what).await;
            return Ok(IdPage::default());
        }
        Ok(IdPage { ids, cursor: Some(cursor.to_owned()) })
    }
}
