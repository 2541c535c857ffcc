//! A search engine that fails on demand: a fake one, or a proxy before a real one, with faults by script and a log of every
//! request.
//!
//! ```text
//! docmill ── HTTP ──> FaultyServer ── first rule that matches: its fault ──> FakeIndex, or the real one
//!                          └── log: what came, when, for which ids, when it was done
//! ```

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::Response;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde_json::Value;
use tokio::task::JoinSet;

use super::bulk;
use super::cut::{CuttingListener, Switch};
use super::fake_index::FakeIndex;
pub use super::fault::{Answer, Call, Fault, Seen};

/// Larger requests are a bug of the test's.
const BODY_BYTES_MAX: usize = 256 * 1024 * 1024;

type Matches = Box<dyn Fn(&Call) -> bool + Send>;

struct Rule {
    matches: Matches,
    fault: Fault,
    /// How many more requests it is for; `None` for all.
    left: Option<u32>,
}

struct Shared {
    fake: FakeIndex,
    upstream: Option<String>,
    client: reqwest::Client,
    rules: Mutex<Vec<Rule>>,
    log: Mutex<Vec<Seen>>,
    /// Whether the log keeps the bodies; a long trial's would not fit into memory.
    keeps_bodies: AtomicBool,
    /// Work that outlives its connection.
    work: Mutex<JoinSet<()>>,
}

/// The server. Dropped, it ends with all that it does.
pub struct FaultyServer {
    pub url: String,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

impl FaultyServer {
    /// Keeps documents itself.
    pub async fn fake() -> Self {
        Self::start(None).await
    }

    /// Hands on to the search engine at this URL.
    pub async fn before(upstream: &str) -> Self {
        Self::start(Some(upstream.trim_end_matches('/').to_owned())).await
    }

    async fn start(upstream: Option<String>) -> Self {
        let shared = Arc::new(Shared {
            fake: FakeIndex::default(),
            upstream,
            client: super::http_client(),
            rules: Mutex::default(),
            log: Mutex::default(),
            keeps_bodies: AtomicBool::new(true),
            work: Mutex::default(),
        });
        let listener = CuttingListener::bind().await.expect("a free port on 127.0.0.1");
        let url = format!("http://{}", listener.address());
        let router = axum::Router::new().fallback(handle).with_state(Arc::clone(&shared));
        let service = router.into_make_service_with_connect_info::<Switch>();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, service).await.expect("the test's server serves") });
        Self { url, shared, _tasks: tasks }
    }

    /// The next `times` requests that match get this fault. Rules are tried in the order they were made.
    pub fn fail(&self, times: u32, matches: impl Fn(&Call) -> bool + Send + 'static, fault: Fault) {
        locked(&self.shared.rules).push(Rule { matches: Box::new(matches), fault, left: Some(times) });
    }

    /// Every request that matches gets this fault, until [`heal`](Self::heal).
    pub fn fail_always(&self, matches: impl Fn(&Call) -> bool + Send + 'static, fault: Fault) {
        locked(&self.shared.rules).push(Rule { matches: Box::new(matches), fault, left: None });
    }

    /// Forgets all rules; what a fault holds already is held on.
    pub fn heal(&self) {
        locked(&self.shared.rules).clear();
    }

    /// How many faults with a count were not met yet.
    pub fn faults_left(&self) -> u32 {
        locked(&self.shared.rules).iter().filter_map(|rule| rule.left).sum()
    }

    /// From now on the log keeps no bodies.
    pub fn forget_bodies(&self) {
        self.shared.keeps_bodies.store(false, Ordering::Relaxed);
    }

    /// Every request so far, in the order they came.
    pub fn log(&self) -> Vec<Seen> {
        locked(&self.shared.log).clone()
    }

    /// Every bulk request so far.
    pub fn bulks(&self) -> Vec<Seen> {
        self.log().into_iter().filter(|seen| seen.call.is_bulk()).collect()
    }

    /// The ids that were in two open bulk requests at once: index, id.
    pub fn ids_at_once(&self) -> Vec<(String, String)> {
        let bulks = self.bulks();
        let mut found = Vec::new();
        for (at, one) in bulks.iter().enumerate() {
            for other in &bulks[at + 1..] {
                // They are in order of arrival: the other came while this one was open.
                if one.done.is_none_or(|done| done > other.arrived) {
                    let ids = one.call.ids();
                    found.extend(other.call.ids().into_iter().filter(|id| ids.contains(id)));
                }
            }
        }
        found
    }

    /// What the fake holds; not for a proxy.
    pub fn index(&self) -> &FakeIndex {
        assert!(self.shared.upstream.is_none(), "a proxy holds no documents");
        &self.shared.fake
    }
}

async fn handle(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(switch): ConnectInfo<Switch>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, BODY_BYTES_MAX).await else {
        // The client went away in the middle of its request.
        return respond(Answer::error(400, "half_a_request"));
    };
    let (path, query) = (head.uri.path().to_owned(), head.uri.query().map(str::to_owned));
    let call = Call { method: head.method, path, query, headers: head.headers, body };
    let number = {
        let mut log = locked(&shared.log);
        let mut kept = call.clone();
        if !shared.keeps_bodies.load(Ordering::Relaxed) {
            kept.body = Bytes::new();
        }
        log.push(Seen { call: kept, arrived: Instant::now(), done: None, left: None, status: None });
        log.len() - 1
    };
    // Dropped when the client has its answer, and when it goes away.
    let _leaving = Leaving { shared: Arc::clone(&shared), number };
    let fault = shared.fault_for(&call);

    // In a task of its own: what was begun is finished though the client has given up, as a real server does.
    let (answer, answered) = tokio::sync::oneshot::channel();
    let worker = Arc::clone(&shared);
    locked(&shared.work).spawn(async move {
        let mut answer = Some(answer);
        if let Some(Fault::Hold(gate)) = &fault {
            gate.catch();
            if gate.cuts {
                answer.take().map(|answer| answer.send(Outcome::Cut));
            }
            gate.opened().await;
        }
        let outcome = worker.outcome(&call, fault.as_ref()).await;
        if let Outcome::Answer(given) | Outcome::Half(given) = &outcome {
            locked(&worker.log)[number].status = Some(given.status);
        }
        locked(&worker.log)[number].done = Some(Instant::now());
        if let Some(Fault::AnswerLate(time)) = fault {
            tokio::time::sleep(time).await;
        }
        if let (Some(Fault::Hold(gate)), Outcome::Answer(given)) = (&fault, &outcome) {
            gate.deliver(serde_json::from_slice(&given.body).unwrap_or_default());
        }
        // Nobody waits when the client has gone.
        answer.map(|answer| answer.send(outcome));
    });
    match answered.await {
        Ok(Outcome::Answer(answer)) => respond(answer),
        Ok(Outcome::Half(answer)) => respond_half(answer),
        Ok(Outcome::Cut) | Err(_) => {
            switch.cut();
            respond(Answer::error(500, "never_seen"))
        }
    }
}

/// Says in the log when a request's client does not wait for it any more.
struct Leaving {
    shared: Arc<Shared>,
    number: usize,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        locked(&self.shared.log)[self.number].left = Some(Instant::now());
    }
}

enum Outcome {
    Answer(Answer),
    Half(Answer),
    Cut,
}

impl Shared {
    fn fault_for(&self, call: &Call) -> Option<Fault> {
        let mut rules = locked(&self.rules);
        let at = rules.iter().position(|rule| (rule.matches)(call))?;
        let fault = rules[at].fault.clone();
        if let Some(left) = &mut rules[at].left {
            *left = left.saturating_sub(1);
            if *left == 0 {
                rules.remove(at);
            }
        }
        Some(fault)
    }

    async fn outcome(&self, call: &Call, fault: Option<&Fault>) -> Outcome {
        match fault {
            Some(Fault::Answer(status, body)) => return Outcome::Answer(Answer::json(*status, body)),
            Some(Fault::Silence) => std::future::pending().await,
            Some(Fault::Cut { done: false }) => return Outcome::Cut,
            Some(Fault::DoLate(time)) => tokio::time::sleep(*time).await,
            Some(Fault::Items { ids, status, kind }) => {
                return Outcome::Answer(self.without_items(call, ids, *status, kind).await);
            }
            _ => {}
        }
        let answer = self.perform(call).await;
        match fault {
            Some(Fault::Cut { .. }) => Outcome::Cut,
            Some(Fault::HalfAnswer) => Outcome::Half(answer),
            Some(Fault::Garbage) => Outcome::Answer(Answer { status: 200, body: Bytes::from_static(b"<html>oops") }),
            _ => Outcome::Answer(answer),
        }
    }

    /// Does what the request asks for.
    async fn perform(&self, call: &Call) -> Answer {
        let Some(upstream) = &self.upstream else {
            return self.fake.answer(call);
        };
        let query = call.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
        let mut request = self.client.request(call.method.clone(), format!("{upstream}{}{query}", call.path));
        for name in ["content-type", "content-encoding", "authorization"] {
            if let Some(value) = call.headers.get(name) {
                request = request.header(name, value);
            }
        }
        match request.body(call.body.clone()).send().await {
            Ok(response) => {
                let status = response.status().as_u16();
                Answer { status, body: response.bytes().await.unwrap_or_default() }
            }
            Err(_) => Answer::error(502, "the_upstream_did_not_answer"),
        }
    }

    /// Does all items of a bulk but some, and answers for these as told.
    async fn without_items(&self, call: &Call, ids: &[String], status: u16, kind: &str) -> Answer {
        let (items, fails) = (call.items(), |item: &bulk::Item| ids.is_empty() || ids.contains(&item.id));
        let rest: Vec<u8> = items.iter().filter(|item| !fails(item)).flat_map(|item| item.bytes.to_vec()).collect();
        let mut answers = Vec::new();
        if !rest.is_empty() {
            let answer = self.perform(&Call { body: rest.into(), ..call.clone() }).await;
            let Ok(mut parsed) = serde_json::from_slice::<Value>(&answer.body) else {
                return answer;
            };
            let Value::Array(done) = parsed["items"].take() else {
                return answer;
            };
            answers = done;
        }
        let mut answers = answers.into_iter();
        let all =
            items.iter().filter_map(|item| if fails(item) { Some(item.failed(status, kind)) } else { answers.next() });
        Answer::json(200, &bulk::answer(all.collect()))
    }
}

fn respond(answer: Answer) -> Response {
    let builder = Response::builder().status(answer.status).header("content-type", "application/json; charset=UTF-8");
    builder.body(Body::from(answer.body)).expect("a response of known parts")
}

/// Announces the whole body, sends the first half, and breaks.
fn respond_half(answer: Answer) -> Response {
    let (length, half) = (answer.body.len(), answer.body.slice(..answer.body.len() / 2));
    let broken = async {
        // The first half has to be on its way before the connection breaks.
        tokio::time::sleep(Duration::from_millis(50)).await;
        Err(io::Error::from(io::ErrorKind::ConnectionReset))
    };
    let body = Body::from_stream(stream::iter([Ok::<_, io::Error>(half)]).chain(stream::once(broken)));
    let builder = Response::builder().status(answer.status).header("content-type", "application/json");
    builder.header("content-length", length).body(body).expect("a response of known parts")
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
