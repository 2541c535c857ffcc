//! The state of pipelines, in a small index of its own, by compare-and-set on sequence number and term.

use async_trait::async_trait;
use reqwest::Method;
use serde_json::{Value, json};

use super::client::{NoAnswer, error_type};
use super::names::write_alias;
use super::own_index;
use super::settings::loses_writes;
use super::sink::OpenSearch;
use crate::edges::{Failure, Revision, State};
use crate::model::StateDocument;

impl OpenSearch {
    pub(super) fn state_index(&self) -> String {
        format!("{}docmill-state", self.options.index_prefix)
    }

    /// Refuses a state index that can lose what it confirms.
    pub(super) async fn check_own_durability(&self) -> Result<(), Failure> {
        let index = self.state_index();
        let what = format!("look how durable index {index} is");
        let path = format!("{index}/_settings/index.translog.durability");
        let answer = self.client.call(Method::GET, &path, None, &what).await?;
        if answer.not_found() {
            return Ok(());
        }
        if !answer.succeeded() {
            return Err(self.client.refused(&what, &answer));
        }
        let durability = answer.body[&index]["settings"]["index"]["translog"]["durability"].as_str();
        loses_writes(&index, durability).map_or(Ok(()), Err)
    }

    /// The revision under which exactly this document is there, if it is: then an earlier try of ours was applied, for
    /// a document carries its owner's random token.
    async fn applied(&self, pipeline: &str, document: &StateDocument) -> Result<Option<Revision>, Failure> {
        let found = self.load(pipeline).await?;
        Ok(found.filter(|(found, _)| found == document).map(|(_, revision)| revision))
    }
}

#[async_trait]
impl State for OpenSearch {
    async fn load(&self, pipeline: &str) -> Result<Option<(StateDocument, Revision)>, Failure> {
        let what = format!("read the state of pipeline {pipeline}");
        let path = format!("{}/_doc/{}", self.state_index(), segment(pipeline));
        let answer = self.client.call(Method::GET, &path, None, &what).await?;
        let no_index = error_type(&answer.body) == "index_not_found_exception";
        if answer.not_found() && (no_index || answer.body["found"] == false) {
            return Ok(None);
        }
        if !answer.succeeded() {
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
                let mapping = json!({
                    "dynamic": "strict", "properties": { "state": { "type": "object", "enabled": false } },
                });
                own_index::ensure(&self.client, &self.state_index(), mapping).await?;
                "op_type=create".to_owned()
            }
            Some(Some((number, term))) => format!("if_seq_no={number}&if_primary_term={term}"),
            Some(None) => return Err(Failure::fatal(format!("{what}: a revision that this sink did not give"))),
        };
        let index = write_alias(&self.state_index());
        let timeout = &self.client.shard_timeout;
        let path = format!("{index}/_doc/{}?{condition}&require_alias=true&timeout={timeout}", segment(pipeline));
        let state = serde_json::to_value(document)
            .map_err(|error| Failure::fatal(format!("{what}: it is no JSON")).with_source(error))?;
        let answer = match self.client.request(Method::PUT, &path, Some(&json!({ "state": state }))).await {
            Ok(answer) => answer,
            Err(error @ NoAnswer::NotSent(_)) => return Err(self.client.no_answer(&what, error)),
            Err(error) => {
                let applied = self.applied(pipeline, document).await.ok().flatten();
                return applied.ok_or_else(|| self.client.no_answer(&what, error));
            }
        };
        if answer.status.as_u16() == 409 {
            if let Some(revision) = self.applied(pipeline, document).await? {
                return Ok(revision);
            }
            return Err(Failure::fatal(format!("{what} on {}: it was written by another process", self.client.shown))
                .with_advice("another process owns this destination: see that only one runs the pipeline"));
        }
        if error_type(&answer.body) == "index_not_found_exception" {
            return Err(Failure::fatal(format!("{what}: index {} was deleted", self.state_index()))
                .with_advice("start again; indexes that hold documents already must be deleted first"));
        }
        if !answer.succeeded() {
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
