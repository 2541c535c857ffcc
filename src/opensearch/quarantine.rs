//! Rejected documents, parked in an index of their own under the versions of the refused writes; a later good write clears
//! its record.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use reqwest::Method;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::answer::{self, Unusable};
use super::client::Client;
use super::{bulk, own_index};
use crate::edges::{Failure, Write, WriteOutcome};
use crate::model::{QuarantineRecord, Version};

/// Records whose ids are kept in memory; beyond them every good write looks for a record to clear.
const KNOWN_MAX: usize = 10_000;

/// Writes of one request.
const WRITES_MAX: usize = 1_000;

/// The records of one sink.
#[derive(Debug)]
pub(super) struct Quarantine {
    index: String,
    /// Whether the index is known to be there.
    made: AtomicBool,
    /// Record ids that are there, or `None` when they are too many to know.
    known: Mutex<Option<HashSet<String>>>,
}

impl Quarantine {
    pub(super) fn index(prefix: &str) -> String {
        format!("{prefix}docmill-quarantine")
    }

    /// Finds out which records are there.
    pub(super) async fn load(client: &Client, prefix: &str) -> Result<Self, Failure> {
        let index = Self::index(prefix);
        let what = "read the quarantine";
        // Where there is no index yet, the search says so too.
        client.call(Method::POST, &format!("{index}/_refresh"), None, what).await?;
        let body = json!({ "size": KNOWN_MAX, "_source": false, "track_total_hits": true });
        let path = format!("{index}/_search?filter_path=hits.total.value,hits.hits._id,_shards.failed,error.type");
        let answer = client.call(Method::POST, &path, Some(&body), what).await?;
        let known = match answer.status.as_u16() {
            404 => Some(HashSet::new()),
            _ if !answer.succeeded() => return Err(client.refused(what, &answer)),
            _ if answer.body["_shards"]["failed"] != 0 => {
                return Err(Failure::transient(format!("{what} on {}: not every shard answered", client.shown)));
            }
            _ => {
                let hits = answer.body["hits"]["hits"].as_array().map_or(&[][..], Vec::as_slice);
                let all = answer.body["hits"]["total"]["value"].as_u64() == Some(hits.len() as u64);
                all.then(|| hits.iter().filter_map(|hit| hit["_id"].as_str().map(str::to_owned)).collect())
            }
        };
        Ok(Self { index, made: AtomicBool::new(false), known: Mutex::new(known) })
    }

    /// Parks records; durable when it returns.
    pub(super) async fn put(&self, client: &Client, records: &[QuarantineRecord]) -> Result<(), Failure> {
        if records.is_empty() {
            return Ok(());
        }
        if !self.made.load(Ordering::Relaxed) {
            self.ensure(client).await?;
            self.made.store(true, Ordering::Relaxed);
        }
        let writes: Vec<Write> = records.iter().map(|record| self.write(record)).collect();
        {
            // Before they are sent: a good write must not miss one whose answer was lost.
            let mut known = self.lock();
            if let Some(ids) = known.as_mut() {
                ids.extend(writes.iter().map(|write| write.id.clone()));
                if ids.len() > KNOWN_MAX {
                    *known = None;
                }
            }
        }
        self.send(client, &writes).await.map(drop)
    }

    /// Clears the records of documents that were written well, at or below the version they were written with.
    pub(super) async fn clear(
        &self,
        client: &Client,
        writes: &[Write],
        outcomes: &[WriteOutcome],
    ) -> Result<(), Failure> {
        let deletes: Vec<Write> = {
            let known = self.lock();
            if known.as_ref().is_some_and(HashSet::is_empty) {
                return Ok(());
            }
            let good = writes.iter().zip(outcomes).filter(|(_, outcome)| **outcome == WriteOutcome::Written);
            good.map(|(write, _)| (record_id(&write.generation, &write.id), write.version))
                .filter(|(id, _)| known.as_ref().is_none_or(|known| known.contains(id)))
                .map(|(id, version)| self.delete(id, version))
                .collect()
        };
        if deletes.is_empty() {
            return Ok(());
        }
        let outcomes = self.send(client, &deletes).await?;
        if let Some(known) = self.lock().as_mut() {
            // A record of a later refusal stays, and stays known.
            let cleared = deletes.iter().zip(&outcomes).filter(|(_, outcome)| **outcome == WriteOutcome::Written);
            cleared.for_each(|(write, _)| {
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
        let keyword = || json!({ "type": "keyword", "ignore_above": 1024 });
        let mapping = json!({ "dynamic": "strict", "properties": {
            "index": keyword(), "id": keyword(), "generation": keyword(), "version": keyword(), "position": keyword(),
            "builder_version": keyword(), "kind": keyword(), "reason": { "type": "text" },
            "detail": { "type": "text", "index": false }, "at": { "type": "date", "format": "epoch_millis" },
        } });
        own_index::ensure(client, &self.index, mapping).await
    }

    /// What became of each, once nothing is open any more; those that a later version beat are `Stale`.
    async fn send(&self, client: &Client, writes: &[Write]) -> Result<Vec<WriteOutcome>, Failure> {
        let mut all = Vec::with_capacity(writes.len());
        for writes in writes.chunks(WRITES_MAX) {
            all.extend(self.send_some(client, writes).await?);
        }
        Ok(all)
    }

    async fn send_some(&self, client: &Client, writes: &[Write]) -> Result<Vec<WriteOutcome>, Failure> {
        let what = "write to the quarantine";
        let body = bulk::encode(writes);
        let path = format!("_bulk?timeout={}", client.shard_timeout);
        let answer = client.bulk(&path, body).await.map_err(|error| client.no_answer(what, error))?;
        if !answer.succeeded() {
            return Err(client.refused(what, &answer));
        }
        let outcomes = match answer::outcomes(&answer.body, writes) {
            Ok(outcomes) => outcomes,
            // The index was deleted, and with it every record.
            Err(Unusable::Missing(_)) if writes.iter().all(|write| write.document.is_none()) => {
                self.made.store(false, Ordering::Relaxed);
                return Ok(vec![WriteOutcome::Written; writes.len()]);
            }
            Err(Unusable::Missing(failure)) => {
                self.made.store(false, Ordering::Relaxed);
                return Err(Failure::transient(failure.message().to_owned()));
            }
            Err(Unusable::Refused(failure)) => return Err(failure),
            Err(Unusable::NotUnderstood) => {
                return Err(Failure::transient(format!("{what} on {}: the answer was not understood", client.shown)));
            }
        };
        let open = |outcome: &&WriteOutcome| !matches!(outcome, WriteOutcome::Written | WriteOutcome::Stale { .. });
        match outcomes.iter().find(open) {
            None => Ok(outcomes),
            Some(WriteOutcome::Rejected(rejection)) => {
                Err(Failure::fatal(format!("{what} on {}: {rejection}", client.shown)).with_advice(format!(
                    "index {} has another mapping than docmill gives it: delete it when its records are not needed",
                    self.index
                )))
            }
            Some(outcome) => Err(Failure::transient(format!("{what} on {}: {outcome:?}", client.shown))),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<HashSet<String>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One record a document, whatever its id looks like.
fn record_id(generation: &str, id: &str) -> String {
    // The alias's part of a generation's name, so that a record outlives a rebuild.
    let alias = generation.rsplit_once('.').map_or(generation, |(alias, _)| alias);
    let hash = Sha256::digest(format!("{}\n{alias}\n{id}", alias.len()));
    hash.iter().take(20).map(|byte| format!("{byte:02x}")).collect()
}
