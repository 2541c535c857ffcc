//! Walking the ids of an index, in pages of a scroll.

use reqwest::Method;
use serde_json::json;

use super::client::{Answer, error_type};
use super::sink::OpenSearch;
use super::state::segment;
use crate::edges::{Failure, HeldId, IdPage};
use crate::model::Version;

/// For how long the engine keeps the walk open between two pages.
const KEEP_ALIVE: &str = "5m";

/// Ids of one page at most, as engines have it.
const PAGE_MAX: usize = 10_000;

/// The parts of an answer that are read; empty ones are left out.
const PARTS: &str = "filter_path=_scroll_id,timed_out,_shards.failed,hits.hits._id,hits.hits._version,error.type";

impl OpenSearch {
    /// The next page of a walk; the first one sees everything that was written before it. The cursor is the scroll's id.
    pub(super) async fn walk(&self, generation: &str, cursor: Option<String>, limit: usize) -> Result<IdPage, Failure> {
        let what = format!("walk the ids of index {generation}");
        let answer = match cursor {
            Some(cursor) => {
                let body = json!({ "scroll": KEEP_ALIVE, "scroll_id": cursor });
                self.client.call(Method::POST, &format!("_search/scroll?{PARTS}"), Some(&body), &what).await?
            }
            None => {
                let index = segment(generation);
                let refreshed = self.client.call(Method::POST, &format!("{index}/_refresh"), None, &what).await?;
                if !refreshed.succeeded() {
                    return Err(self.cannot_walk(&what, &refreshed));
                }
                // A shard that did not refresh would hide ids that are there.
                if refreshed.body["_shards"]["failed"] != 0 {
                    return Err(Failure::transient(format!(
                        "{what} on {}: not every shard refreshed",
                        self.client.shown
                    )));
                }
                let body =
                    json!({ "size": limit.clamp(1, PAGE_MAX), "_source": false, "version": true, "sort": ["_doc"] });
                let path = format!("{index}/_search?scroll={KEEP_ALIVE}&{PARTS}");
                self.client.call(Method::POST, &path, Some(&body), &what).await?
            }
        };
        if !answer.succeeded() {
            return Err(self.cannot_walk(&what, &answer));
        }
        let incomplete = |why: &str| Err(Failure::transient(format!("{what} on {}: {why}", self.client.shown)));
        let body = &answer.body;
        if body["timed_out"] != false || body["_shards"]["failed"] != 0 {
            return incomplete("not every shard answered");
        }
        let Some(cursor) = body["_scroll_id"].as_str() else { return incomplete("an answer without a scroll") };
        let hits = body["hits"]["hits"].as_array().map_or(&[][..], Vec::as_slice);
        let held = |hit: &serde_json::Value| {
            let version = hit["_version"].as_u64().and_then(Version::from_number);
            Some(HeldId { id: hit["_id"].as_str()?.to_owned(), version })
        };
        let ids: Option<Vec<HeldId>> = hits.iter().map(held).collect();
        let Some(ids) = ids else { return incomplete("an answer without ids") };
        if ids.is_empty() {
            // It would close by itself; a failure here costs nothing but the engine's memory.
            let scroll = json!({ "scroll_id": cursor });
            let _ = self.client.call(Method::DELETE, "_search/scroll", Some(&scroll), &what).await;
            return Ok(IdPage::default());
        }
        Ok(IdPage { ids, cursor: Some(cursor.to_owned()) })
    }

    fn cannot_walk(&self, what: &str, answer: &Answer) -> Failure {
        match answer.status.as_u16() {
            404 if error_type(&answer.body) == "index_not_found_exception" => {
                Failure::restart(format!("{what} on {}: it was deleted", self.client.shown))
            }
            // The walk was closed for age: whoever walks begins again.
            404 => Failure::transient(format!("{what} on {}: the walk was closed", self.client.shown)),
            _ => self.client.refused(what, answer),
        }
    }
}
