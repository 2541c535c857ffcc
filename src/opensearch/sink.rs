//! The sink itself: connects, writes, and says of every write what became of it. It never sends a write again by itself: the
//! flow knows whether bytes are still fresh.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::Engine;
use super::answer::{self, Unusable};
use super::bulk;
use super::client::{Answer, Client, NoAnswer};
use super::flight::{Flight, Went};
use super::names::check_prefix;
use super::options::OpenSearchOptions;
use super::quarantine::Quarantine;
use super::request_size::RequestSize;
use crate::edges::{Failure, IndexAdmin, Ownership, Sink, State, Tenant, Write, WriteOutcome};
use crate::model::{QuarantineRecord, Rejection};

/// An OpenSearch (2 or 3) or Elasticsearch (8 or 9) as a sink.
pub struct OpenSearch {
    pub(super) client: Arc<Client>,
    pub(super) options: OpenSearchOptions,
    pub(super) engine: Engine,
    pub(super) version: String,
    pressure: Arc<Pressure>,
    requests: Tenant,
    quarantine: Quarantine,
    this: Weak<OpenSearch>,
}

/// What is learned from answers, by all that write to one search engine.
struct Pressure {
    flight: Flight,
    size: RequestSize,
}

/// Requests of one call that are under way, or wait for room, at the same time: a call with many of them is not to stand before
/// everybody else's.
const REQUESTS_AT_ONCE: usize = 2;

/// A bulk answer needs no more than this: a status for each item, and what is wrong with those that failed.
const BULK_PARTS: &str = "filter_path=items.*.status,items.*.error.type,items.*.error.reason,\
                          items.*.error.caused_by,error.type,error.reason,error.index";

impl OpenSearch {
    /// Connects, and finds out what answers.
    ///
    /// # Errors
    ///
    /// `Transient` when nothing answers; `Fatal` for wrong credentials and for something that is no search engine that
    /// docmill writes to.
    pub async fn connect(mut options: OpenSearchOptions) -> Result<Arc<Self>, Failure> {
        check_prefix(&options.index_prefix)?;
        let client = Arc::new(Client::new(&options)?);
        // The client has them; what is kept here is shown.
        options.auth = Default::default();
        options.url.clone_from(&client.shown);
        let what = "look at the sink";
        let answer = client.request(Method::GET, "", None).await.map_err(|error| {
            client
                .no_answer(what, error)
                .with_advice("see that the search engine runs and that the sink's url is right")
        })?;
        if !answer.succeeded() {
            return Err(client.refused(what, &answer));
        }
        let (engine, version) = identify(&client.shown, &answer.body)?;
        let flight = Flight::new(options.bulk_in_flight, options.bulk_in_flight_max);
        let pressure = Arc::new(Pressure { flight, size: RequestSize::new(&options) });
        Self::new(client, options, engine, version, pressure).await
    }

    /// The same search engine under another prefix: connections and the bounds on bulk requests are shared.
    ///
    /// # Errors
    ///
    /// `Fatal` for a prefix that no index may begin with; `Transient` when nothing answers.
    pub async fn with_index_prefix(&self, index_prefix: &str) -> Result<Arc<Self>, Failure> {
        self.for_builder(index_prefix, &self.options.allow_settings).await
    }

    /// The same, and with other settings that its builder may ask for.
    ///
    /// # Errors
    ///
    /// As [`with_index_prefix`](Self::with_index_prefix).
    pub async fn for_builder(&self, index_prefix: &str, allow_settings: &[String]) -> Result<Arc<Self>, Failure> {
        check_prefix(index_prefix)?;
        if self.options.index_prefix == index_prefix && self.options.allow_settings == allow_settings {
            return Ok(self.shared());
        }
        let (index_prefix, allow_settings) = (index_prefix.to_owned(), allow_settings.to_vec());
        let options = OpenSearchOptions { index_prefix, allow_settings, ..self.options.clone() };
        let (client, pressure) = (Arc::clone(&self.client), Arc::clone(&self.pressure));
        Self::new(client, options, self.engine, self.version.clone(), pressure).await
    }

    async fn new(
        client: Arc<Client>,
        options: OpenSearchOptions,
        engine: Engine,
        version: String,
        pressure: Arc<Pressure>,
    ) -> Result<Arc<Self>, Failure> {
        let quarantine = Quarantine::load(&client, &options.index_prefix).await?;
        let requests = pressure.flight.tenant(&options.index_prefix);
        Ok(Arc::new_cyclic(|this| {
            let this = this.clone();
            Self { client, options, engine, version, pressure, requests, quarantine, this }
        }))
    }

    /// For how long indexes remember the versions of deletions.
    pub(super) fn gc_deletes(&self) -> String {
        self.client.gc_deletes.clone()
    }

    fn shared(&self) -> Arc<Self> {
        self.this.upgrade().expect("whoever calls holds the sink")
    }

    /// Sends one request and reads what became of its writes.
    async fn send(
        &self,
        writes: &[Write],
        full: bool,
        ownership: &dyn Ownership,
    ) -> Result<Vec<WriteOutcome>, Failure> {
        let Pressure { flight, size } = &*self.pressure;
        let mut slot = Flight::enter(&self.requests).await;
        let body = bulk::encode(writes);
        let all = |outcome: WriteOutcome| Ok(vec![outcome; writes.len()]);
        // Not before there was room, for which it may have waited long.
        ownership.prove().await?;
        let begun = slot.begins();
        size.sent(body.len());
        let path = format!("_bulk?timeout={}&{BULK_PARTS}", self.client.shard_timeout);
        let answer = match self.client.bulk(&path, body).await {
            Ok(answer) => answer,
            Err(NoAnswer::NotSent(_)) => {
                flight.leave(slot, Went::TooMuch);
                return all(WriteOutcome::Overloaded("no connection".to_owned()));
            }
            Err(NoAnswer::Unknown(why)) => {
                flight.leave(slot, Went::TooMuch);
                size.unanswered(begun);
                return all(WriteOutcome::Unknown(why));
            }
        };
        let took = begun.elapsed();
        match answer.status {
            status if status.is_success() => {
                let (outcomes, went) = read(writes, &answer)?;
                // Larger ones first, then more of them.
                let grew = went == Went::Well && size.answered(full, took);
                flight.leave(slot, if grew { Went::Otherwise } else { went });
                Ok(outcomes)
            }
            StatusCode::TOO_MANY_REQUESTS => {
                flight.leave(slot, Went::TooMuch);
                all(WriteOutcome::Overloaded("429 for the whole request".to_owned()))
            }
            StatusCode::PAYLOAD_TOO_LARGE => {
                flight.leave(slot, Went::Otherwise);
                if writes.len() <= 1 {
                    return all(WriteOutcome::Rejected(Rejection {
                        kind: "request_too_large".to_owned(),
                        reason: "the search engine takes no request as large as this document".to_owned(),
                        detail: None,
                    }));
                }
                let (one, other) = writes.split_at(writes.len() / 2);
                let mut outcomes = Box::pin(self.send(one, false, ownership)).await?;
                outcomes.extend(Box::pin(self.send(other, false, ownership)).await?);
                Ok(outcomes)
            }
            status if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT => {
                flight.leave(slot, Went::TooMuch);
                if matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT) {
                    size.unanswered(begun);
                }
                all(WriteOutcome::Unknown(status.to_string()))
            }
            _ => Err(self.client.refused("write documents", &answer)),
        }
    }
}

/// What became of the writes of a request that succeeded, and what that says of load.
fn read(writes: &[Write], answer: &Answer) -> Result<(Vec<WriteOutcome>, Went), Failure> {
    let outcomes = match answer::outcomes(&answer.body, writes) {
        Ok(outcomes) => outcomes,
        Err(Unusable::NotUnderstood) => {
            let why = "an answer that does not say what became of the documents".to_owned();
            return Ok((vec![WriteOutcome::Unknown(why); writes.len()], Went::Otherwise));
        }
        Err(Unusable::Missing(failure) | Unusable::Refused(failure)) => return Err(failure),
    };
    let load = |outcome: &WriteOutcome| matches!(outcome, WriteOutcome::Overloaded(_) | WriteOutcome::Unknown(_));
    let went = if outcomes.iter().any(load) { Went::TooMuch } else { Went::Well };
    Ok((outcomes, went))
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
    async fn write(&self, writes: &[Write], ownership: &dyn Ownership) -> Result<Vec<WriteOutcome>, Failure> {
        let unsendable: Vec<Option<WriteOutcome>> =
            writes.iter().map(|write| bulk::unsendable(write, &self.options)).collect();
        if unsendable.iter().any(Option::is_some) {
            let open = writes.iter().zip(&unsendable).filter(|(_, outcome)| outcome.is_none());
            let rest: Vec<Write> = open.map(|(write, _)| write.clone()).collect();
            let mut outcomes = Box::pin(self.write(&rest, ownership)).await?.into_iter();
            return Ok(unsendable.into_iter().filter_map(|outcome| outcome.or_else(|| outcomes.next())).collect());
        }
        let (mut rest, mut sending, mut sent) = (writes, FuturesOrdered::new(), Vec::new());
        loop {
            while sending.len() < REQUESTS_AT_ONCE && !rest.is_empty() {
                // As large as is well now: while others were under way it may have become less.
                let share = bulk::first(rest, self.pressure.size.bytes_max(), self.options.bulk_writes_max);
                let (those, later) = rest.split_at(share.writes);
                sending.push_back(self.send(those, share.full, ownership));
                rest = later;
            }
            match sending.next().await {
                Some(part) => sent.push(part),
                None => break,
            }
        }
        // Not before all are answered: a request that is dropped may still be applied.
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

    fn late_for(&self) -> Duration {
        self.options.late_for()
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
