//! The sink itself: connects, writes, and says of every write what became of it. It never sends a write again by itself: the
//! flow knows whether bytes are still fresh.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::answer::{self, Unusable};
use super::bulk;
use super::client::{Answer, Client, NoAnswer};
use super::flight::Flight;
use super::options::OpenSearchOptions;
use super::quarantine::Quarantine;
use crate::edges::{Failure, IndexAdmin, Sink, State, Write, WriteOutcome};
use crate::model::{QuarantineRecord, Rejection};

/// Which search engine it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Engine {
    OpenSearch,
    Elasticsearch,
}

/// An OpenSearch (2 or 3) or Elasticsearch (8 or 9) as a sink.
pub struct OpenSearch {
    pub(super) client: Client,
    pub(super) options: OpenSearchOptions,
    pub(super) engine: Engine,
    pub(super) version: String,
    flight: Flight,
    quarantine: Quarantine,
    this: std::sync::Weak<OpenSearch>,
}

/// A bulk answer needs no more than this: errors and versions of items that failed.
const BULK_PATH: &str = "_bulk?timeout=30s&filter_path=items.*.status,items.*._index,items.*.error.type,items.*.error.reason,\
                         items.*.error.caused_by.reason,error.type,error.reason";

impl OpenSearch {
    /// Connects, and finds out what answers.
    ///
    /// # Errors
    ///
    /// `Transient` when nothing answers; `Fatal` for wrong credentials and for something that is no search engine that
    /// docmill writes to.
    pub async fn connect(options: OpenSearchOptions) -> Result<Arc<Self>, Failure> {
        let client = Client::new(&options)?;
        let what = "look at the sink";
        let answer = client.request(Method::GET, "", None).await.map_err(|error| {
            client
                .no_answer(what, error)
                .with_advice("see that the search engine runs and that the sink's url is right")
        })?;
        if !answer.status.is_success() {
            return Err(client.refused(what, &answer));
        }
        let (engine, version) = identify(&client.shown, &answer.body)?;
        let quarantine = Quarantine::load(&client, &options.index_prefix).await?;
        let flight = Flight::new(options.bulk_in_flight, options.bulk_in_flight_max);
        Ok(Arc::new_cyclic(|this| Self { client, options, engine, version, flight, quarantine, this: this.clone() }))
    }

    fn shared(&self) -> Arc<Self> {
        self.this.upgrade().expect("whoever calls holds the sink")
    }

    /// Sends one request and reads what became of its writes.
    async fn send(&self, writes: &[Write]) -> Result<Vec<WriteOutcome>, Failure> {
        let Some(permit) = self.flight.enter().await else {
            return Err(Failure::transient("the sink is being dropped"));
        };
        let body = bulk::encode(writes);
        let answer = match self.client.bulk(BULK_PATH, body).await {
            Ok(answer) => answer,
            Err(NoAnswer::NotSent(_)) => {
                return Ok(vec![WriteOutcome::Overloaded("no connection".to_owned()); writes.len()]);
            }
            Err(NoAnswer::Unknown(why)) => return Ok(vec![WriteOutcome::Unknown(why); writes.len()]),
        };
        match answer.status {
            status if status.is_success() => self.read(writes, &answer, permit),
            StatusCode::TOO_MANY_REQUESTS => {
                self.flight.too_much(permit);
                Ok(vec![WriteOutcome::Overloaded("429 for the whole request".to_owned()); writes.len()])
            }
            StatusCode::PAYLOAD_TOO_LARGE if writes.len() == 1 => {
                Ok(vec![too_large("the search engine takes no request that large")])
            }
            StatusCode::PAYLOAD_TOO_LARGE => {
                drop(permit);
                let (one, other) = writes.split_at(writes.len() / 2);
                let mut outcomes = Box::pin(self.send(one)).await?;
                outcomes.extend(Box::pin(self.send(other)).await?);
                Ok(outcomes)
            }
            status if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT => {
                Ok(vec![WriteOutcome::Unknown(status.to_string()); writes.len()])
            }
            _ => Err(self.client.refused("write documents", &answer)),
        }
    }

    fn read(
        &self,
        writes: &[Write],
        answer: &Answer,
        permit: tokio::sync::OwnedSemaphorePermit,
    ) -> Result<Vec<WriteOutcome>, Failure> {
        match answer::outcomes(&answer.body, writes.len()) {
            Ok(outcomes) => {
                if outcomes.iter().any(|outcome| matches!(outcome, WriteOutcome::Overloaded(_))) {
                    self.flight.too_much(permit);
                } else {
                    self.flight.went_well();
                }
                Ok(outcomes)
            }
            Err(Unusable::NotUnderstood) => {
                let why = "an answer that does not say what became of the documents".to_owned();
                Ok(vec![WriteOutcome::Unknown(why); writes.len()])
            }
            Err(Unusable::Refused(failure)) => Err(failure),
        }
    }
}

fn too_large(reason: &str) -> WriteOutcome {
    WriteOutcome::Rejected(Rejection { kind: "document_too_large".to_owned(), reason: reason.to_owned(), detail: None })
}

fn identify(shown: &str, body: &Value) -> Result<(Engine, String), Failure> {
    let number = body["version"]["number"].as_str().unwrap_or("");
    let major: u32 = number.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0);
    let engine = match body["version"]["distribution"].as_str() {
        Some("opensearch") if (2..=3).contains(&major) => Some(Engine::OpenSearch),
        None if (8..=9).contains(&major) && body["tagline"].is_string() => Some(Engine::Elasticsearch),
        _ => None,
    };
    engine.map(|engine| (engine, number.to_owned())).ok_or_else(|| {
        let found = match (number, body["version"]["distribution"].as_str()) {
            ("", _) => "something that is no search engine".to_owned(),
            (number, Some(distribution)) => format!("{distribution} {number}"),
            (number, None) => format!("version {number}"),
        };
        Failure::fatal(format!("sink {shown}: found {found}"))
            .with_advice("docmill writes to OpenSearch 2 and 3 and to Elasticsearch 8 and 9")
    })
}

#[async_trait]
impl Sink for OpenSearch {
    async fn write(&self, writes: &[Write]) -> Result<Vec<WriteOutcome>, Failure> {
        let most = self.options.document_bytes_max;
        let large = |write: &Write| write.document.as_ref().is_some_and(|document| document.len() > most);
        if writes.iter().any(large) {
            // Rejected alone; what is left is written as ever.
            let rest: Vec<Write> = writes.iter().filter(|write| !large(write)).cloned().collect();
            let mut outcomes = Box::pin(self.write(&rest)).await?.into_iter();
            let reason = format!("larger than document_bytes_max of {most} bytes");
            let outcome = |write: &Write| if large(write) { Some(too_large(&reason)) } else { outcomes.next() };
            return Ok(writes.iter().filter_map(outcome).collect());
        }
        let ranges = bulk::plan(writes, self.options.bulk_bytes_max, self.options.bulk_writes_max);
        let sent = join_all(ranges.into_iter().map(|range| self.send(&writes[range]))).await;
        let mut outcomes = Vec::with_capacity(writes.len());
        for part in sent {
            outcomes.extend(part?);
        }
        self.quarantine.clear(&self.client, writes, &outcomes).await?;
        Ok(outcomes)
    }

    async fn quarantine(&self, records: &[QuarantineRecord]) -> Result<(), Failure> {
        self.quarantine.put(&self.client, records).await
    }

    fn indexes(&self) -> Arc<dyn IndexAdmin> {
        self.shared()
    }

    fn state(&self) -> Arc<dyn State> {
        self.shared()
    }
}

impl fmt::Debug for OpenSearch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenSearch")
            .field("url", &self.client.shown)
            .field("engine", &self.engine)
            .field("version", &self.version)
            .field("index_prefix", &self.options.index_prefix)
            .finish()
    }
}
