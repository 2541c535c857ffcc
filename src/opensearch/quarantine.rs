//! Rejected documents, parked in an index of their own under the versions of the refused writes; a later good write clears
//! its record.

use std::collections::HashSet;
use std::sync::Mutex;

use bytes::Bytes;
use reqwest::Method;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::answer;
use super::bulk;
use super::client::Client;
use crate::edges::{Failure, Write, WriteOutcome};
use crate::model::{QuarantineRecord, Version};

/// Records whose ids are kept in memory; beyond them every good write looks for a record to clear.
const KNOWN_MAX: usize = 10_000;

/// The records of one sink.
#[derive(Debug)]
pub(super) struct Quarantine {
    index: String,
    /// Record ids that are there, or `None` when they are too many to know.
    known: Mutex<Option<HashSet<String>>>,
}

impl Quarantine {
    /// Finds out which records are there.
    pub(super) async fn load(client: &Client, prefix: &str) -> Result<Self, Failure> {
        let index = format!("{prefix}docmill-quarantine");
        let what = "read the quarantine";
        let body = json!({ "size": KNOWN_MAX, "_source": false, "track_total_hits": true });
        let refreshed = client.request(Method::POST, &format!("{index}/_refresh"), None).await;
        refreshed.map_err(|error| client.no_answer(what, error))?;
        let answer = client
            .request(Method::POST, &format!("{index}/_search"), Some(&body))
            .await
            .map_err(|error| client.no_answer(what, error))?;
        let known = match answer.status.as_u16() {
            404 => Some(HashSet::new()),
            _ if !answer.status.is_success() => return Err(client.refused(what, &answer)),
            _ => {
                let hits = answer.body["hits"]["hits"].as_array().cloned().unwrap_or_default();
                let all = answer.body["hits"]["total"]["value"].as_u64() == Some(hits.len() as u64);
                all.then(|| hits.iter().filter_map(|hit| hit["_id"].as_str().map(str::to_owned)).collect())
            }
        };
        Ok(Self { index, known: Mutex::new(known) })
    }

    /// Parks records; durable when it returns.
    pub(super) async fn put(&self, client: &Client, records: &[QuarantineRecord]) -> Result<(), Failure> {
        self.ensure(client).await?;
        let writes: Vec<Write> = records.iter().map(|record| self.write(record)).collect();
        {
            let mut known = self.lock();
            if let Some(ids) = known.as_mut() {
                ids.extend(writes.iter().map(|write| write.id.clone()));
                if ids.len() > KNOWN_MAX {
                    *known = None;
                }
            }
        }
        self.send(client, &writes).await
    }

    /// Clears the records of documents that were written well, at or below the version they were written with.
    pub(super) async fn clear(
        &self,
        client: &Client,
        writes: &[Write],
        outcomes: &[WriteOutcome],
    ) -> Result<(), Failure> {
        let good = writes.iter().zip(outcomes).filter(|(_, outcome)| **outcome == WriteOutcome::Written);
        let deletes: Vec<Write> = {
            let known = self.lock();
            if known.as_ref().is_some_and(HashSet::is_empty) {
                return Ok(());
            }
            good.map(|(write, _)| (record_id(&write.generation, &write.id), write.version))
                .filter(|(id, _)| known.as_ref().is_none_or(|known| known.contains(id)))
                .map(|(id, version)| self.delete(id, version))
                .collect()
        };
        if deletes.is_empty() {
            return Ok(());
        }
        self.send(client, &deletes).await?;
        if let Some(known) = self.lock().as_mut() {
            deletes.iter().for_each(|write| {
                known.remove(&write.id);
            });
        }
        Ok(())
    }

    fn write(&self, record: &QuarantineRecord) -> Write {
        let document = json!({
            "index": record.document.index,
            "id": record.document.id,
            "generation": record.generation,
            "version": record.version.number().to_string(),
            "position": record.version.position(),
            "builder_version": record.builder_version,
            "kind": record.rejection.kind,
            "reason": record.rejection.reason,
            "detail": record.rejection.detail,
            "at": record.at_ms,
        });
        Write {
            generation: self.index.as_str().into(),
            id: record_id(&record.generation, &record.document.id),
            routing: None,
            version: record.version,
            document: Some(Bytes::from(document.to_string())),
        }
    }

    fn delete(&self, id: String, version: Version) -> Write {
        Write { generation: self.index.as_str().into(), id, routing: None, version, document: None }
    }

    /// Makes the index, if it is not there.
    async fn ensure(&self, client: &Client) -> Result<(), Failure> {
        let what = "make the index of quarantined documents";
        let keyword = || json!({ "type": "keyword", "ignore_above": 1024 });
        let body = json!({
            "settings": { "number_of_shards": 1, "auto_expand_replicas": "0-1" },
            "mappings": { "dynamic": "strict", "properties": {
                "index": keyword(), "id": keyword(), "generation": keyword(), "version": keyword(), "position": keyword(),
                "builder_version": keyword(), "kind": keyword(), "reason": { "type": "text" },
                "detail": { "type": "text", "index": false }, "at": { "type": "date", "format": "epoch_millis" },
            } },
        });
        let answer = client
            .request(Method::PUT, &self.index, Some(&body))
            .await
            .map_err(|error| client.no_answer(what, error))?;
        let exists = answer.body["error"]["type"] == "resource_already_exists_exception";
        if answer.status.is_success() || exists { Ok(()) } else { Err(client.refused(what, &answer)) }
    }

    async fn send(&self, client: &Client, writes: &[Write]) -> Result<(), Failure> {
        let what = "write to the quarantine";
        let body = bulk::encode(writes);
        let answer = client.bulk("_bulk?timeout=30s", body).await.map_err(|error| client.no_answer(what, error))?;
        if !answer.status.is_success() {
            return Err(client.refused(what, &answer));
        }
        let outcomes = answer::outcomes(&answer.body, writes.len())
            .map_err(|_| Failure::transient(format!("{what} on {}: the answer was not understood", client.shown)))?;
        let open = |outcome: &&WriteOutcome| !matches!(outcome, WriteOutcome::Written | WriteOutcome::Stale { .. });
        match outcomes.iter().find(open) {
            None => Ok(()),
            Some(WriteOutcome::Rejected(rejection)) => {
                Err(Failure::fatal(format!("{what} on {}: {rejection}", client.shown)))
            }
            Some(outcome) => Err(Failure::transient(format!("{what} on {}: {outcome:?}", client.shown))),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<HashSet<String>>> {
        self.known.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// One record a document, whatever its id looks like.
fn record_id(generation: &str, id: &str) -> String {
    // The alias's part of a generation's name, so that a record outlives a rebuild.
    let alias = generation.rsplit_once('.').map_or(generation, |(alias, _)| alias);
    let hash = Sha256::digest(format!("{}\n{alias}\n{id}", alias.len()));
    hash.iter().take(20).map(|byte| format!("{byte:02x}")).collect()
}
