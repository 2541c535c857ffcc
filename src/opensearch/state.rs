//! The state of pipelines, in a small index of its own, by compare-and-set on sequence number and term.

use async_trait::async_trait;
use reqwest::Method;
use serde_json::{Value, json};

use super::client::Answer;
use super::sink::OpenSearch;
use crate::edges::{Failure, Revision, State};
use crate::model::StateDocument;

impl OpenSearch {
    fn state_index(&self) -> String {
        format!("{}docmill-state", self.options.index_prefix)
    }

    fn state_path(&self, pipeline: &str, rest: &str) -> String {
        format!("{}/_doc/{}{rest}", self.state_index(), segment(pipeline))
    }

    /// Makes the state's index, if it is not there. Its documents are kept as they are, and nothing of them is indexed.
    async fn ensure_state_index(&self) -> Result<(), Failure> {
        let what = "make the index of docmill's state";
        let body = json!({
            "settings": { "number_of_shards": 1, "auto_expand_replicas": "0-1", "hidden": true },
            "mappings": { "dynamic": "strict", "properties": { "state": { "type": "object", "enabled": false } } },
        });
        let answer = self
            .client
            .request(Method::PUT, &self.state_index(), Some(&body))
            .await
            .map_err(|error| self.client.no_answer(what, error))?;
        let exists = answer.body["error"]["type"] == "resource_already_exists_exception";
        if answer.status.is_success() || exists { Ok(()) } else { Err(self.client.refused(what, &answer)) }
    }
}

#[async_trait]
impl State for OpenSearch {
    async fn load(&self, pipeline: &str) -> Result<Option<(StateDocument, Revision)>, Failure> {
        let what = format!("read the state of pipeline {pipeline}");
        let answer = self
            .client
            .request(Method::GET, &self.state_path(pipeline, ""), None)
            .await
            .map_err(|error| self.client.no_answer(&what, error))?;
        if answer.status.as_u16() == 404 {
            return Ok(None);
        }
        if !answer.status.is_success() {
            return Err(self.client.refused(&what, &answer));
        }
        let unreadable = |why: String| {
            Failure::fatal(format!("{what} on {}: it cannot be read: {why}", self.client.shown))
                .with_advice("run the docmill that wrote it, or begin with another index prefix")
        };
        let document = serde_json::from_value(answer.body["_source"]["state"].clone())
            .map_err(|error| unreadable(error.to_string()))?;
        let revision = revision(&answer.body).ok_or_else(|| unreadable("no sequence number".to_owned()))?;
        Ok(Some((document, revision)))
    }

    async fn store(
        &self,
        pipeline: &str,
        document: &StateDocument,
        expected: Option<&Revision>,
    ) -> Result<Revision, Failure> {
        let what = format!("write the state of pipeline {pipeline}");
        let condition = match expected.map(|revision| revision.0.split_once(':')) {
            None => {
                self.ensure_state_index().await?;
                "?op_type=create".to_owned()
            }
            Some(Some((number, term))) => format!("?if_seq_no={number}&if_primary_term={term}"),
            Some(None) => return Err(Failure::fatal(format!("{what}: a revision that this sink did not give"))),
        };
        let state = serde_json::to_value(document)
            .map_err(|error| Failure::fatal(format!("{what}: it is no JSON")).with_source(error))?;
        let answer: Answer = self
            .client
            .request(Method::PUT, &self.state_path(pipeline, &condition), Some(&json!({ "state": state })))
            .await
            .map_err(|error| self.client.no_answer(&what, error))?;
        if answer.status.as_u16() == 409 {
            return Err(Failure::fatal(format!("{what} on {}: it was written by another process", self.client.shown))
                .with_advice("an index has one pipeline: see that only one process runs it"));
        }
        if !answer.status.is_success() {
            return Err(self.client.refused(&what, &answer));
        }
        // Applied, but by which writing is not known: as good as no answer.
        revision(&answer.body)
            .ok_or_else(|| Failure::transient(format!("{what} on {}: no sequence number came back", self.client.shown)))
    }
}

fn revision(body: &Value) -> Option<Revision> {
    Some(Revision(format!("{}:{}", body["_seq_no"].as_u64()?, body["_primary_term"].as_u64()?)))
}

/// A text as one segment of a path.
pub(super) fn segment(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
