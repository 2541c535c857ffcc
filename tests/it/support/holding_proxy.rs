//! A proxy before a real search engine that can hold a request back and deliver it long after its client gave up or died, and
//! that keeps every bulk item it saw.
//!
//! ```text
//! docmill ── bulk with id 7 ──> HoldingProxy ──x  (the client gets silence, or a cut connection)
//!                                   └── gate opens, later ── the same bytes ──> OpenSearch
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::watch;

use super::http::{Call, Fault, FaultyServer};
use super::opensearch::OpenSearch;

/// How long a test waits for a request that must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// The proxy. Dropped, it ends with all that it holds.
pub struct HoldingProxy {
    server: FaultyServer,
    search: OpenSearch,
}

/// One item of a bulk request that came by.
#[derive(Debug, Clone, PartialEq)]
pub struct Sent {
    /// The physical index.
    pub index: String,
    pub id: String,
    /// `index` or `delete`.
    pub action: String,
    pub version: u64,
    /// When its request came, and when its client had an answer or had given up.
    pub began: Instant,
    pub ended: Option<Instant>,
}

impl HoldingProxy {
    /// Hands on to the node of `search`.
    pub async fn before(search: &OpenSearch) -> Self {
        let server = FaultyServer::before(&search.url).await;
        let mut search = search.clone();
        search.url.clone_from(&server.url);
        Self { server, search }
    }

    /// The same indexes, through the proxy.
    pub fn search(&self) -> &OpenSearch {
        &self.search
    }

    /// The failing server behind it, for every other fault.
    pub fn server(&self) -> &FaultyServer {
        &self.server
    }

    /// Holds the next bulk request with a document of this id; its client waits in vain.
    pub fn hold(&self, id: &str) -> Gate {
        self.hold_when(contains(id, "index"), false)
    }

    /// Holds the next bulk request with a document of this id; its client's connection is cut.
    pub fn hold_and_cut(&self, id: &str) -> Gate {
        self.hold_when(contains(id, "index"), true)
    }

    /// Holds the next request that matches.
    pub fn hold_when(&self, matches: impl Fn(&Call) -> bool + Send + 'static, cuts: bool) -> Gate {
        let gate = Gate::new(cuts);
        self.server.fail(1, matches, Fault::Hold(gate.clone()));
        gate
    }

    /// From now on the state of pipelines cannot be written.
    pub fn refuse_state(&self) {
        self.server.fail_always(writes_state, Fault::Answer(503, json!({"error": {"type": "by_the_test"}})));
    }

    /// Forgets every fault that was not met yet; what is held is held on.
    pub fn heal(&self) {
        self.server.heal();
    }

    /// Every item of every bulk request to an index of documents so far.
    pub fn sent(&self) -> Vec<Sent> {
        let mut sent = Vec::new();
        for seen in self.server.bulks() {
            for item in seen.call.items() {
                sent.push(Sent {
                    index: item.index,
                    id: item.id,
                    action: item.action,
                    version: item.version.unwrap_or_default(),
                    began: seen.arrived,
                    ended: seen.left,
                });
            }
        }
        sent
    }

    /// Waits for an item that comes after this was called, or `None` after `timeout`.
    pub async fn next_sent(&self, timeout: Duration, wanted: impl Fn(&Sent) -> bool) -> Option<Sent> {
        let begin = Instant::now();
        loop {
            if let Some(found) = self.sent().into_iter().find(|sent| sent.began >= begin && wanted(sent)) {
                return Some(found);
            }
            if begin.elapsed() > timeout {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The ids that were in two requests at once, for the clients that sent them.
    pub fn in_two_hands(&self) -> Vec<(String, String)> {
        let mut by_id: std::collections::BTreeMap<(String, String), Vec<Sent>> = Default::default();
        for sent in self.sent() {
            by_id.entry((sent.index.clone(), sent.id.clone())).or_default().push(sent);
        }
        let twice =
            |sent: &Vec<Sent>| sent.windows(2).any(|pair| pair[0].ended.is_none_or(|ended| ended > pair[1].began));
        by_id.into_iter().filter(|(_, sent)| twice(sent)).map(|(id, _)| id).collect()
    }
}

/// Bulk requests that do this to a document of that id.
pub fn contains(id: &str, action: &'static str) -> impl Fn(&Call) -> bool + Send + 'static {
    let id = id.to_owned();
    move |call| call.items().iter().any(|item| item.id == id && item.action == action)
}

/// Writes of a pipeline's state.
pub fn writes_state(call: &Call) -> bool {
    call.method == reqwest::Method::PUT && call.path.contains("docmill-state") && call.path.contains("/_doc/")
}

/// Where one request is held.
#[derive(Debug, Clone)]
pub struct Gate {
    /// Whether the client is cut off instead of left waiting.
    pub cuts: bool,
    stage: Arc<watch::Sender<Stage>>,
}

#[derive(Debug, Clone, Default)]
struct Stage {
    caught: bool,
    open: bool,
    answer: Option<Value>,
}

impl Gate {
    fn new(cuts: bool) -> Self {
        Self { cuts, stage: Arc::new(watch::Sender::new(Stage::default())) }
    }

    /// For the server: a request has come.
    pub(super) fn catch(&self) {
        self.stage.send_modify(|stage| stage.caught = true);
    }

    /// For the server: waits until the request may go on.
    pub(super) async fn opened(&self) {
        self.until(|stage| stage.open).await;
    }

    /// For the server: it was done, and this is what the search engine said.
    pub(super) fn deliver(&self, answer: Value) {
        self.stage.send_modify(|stage| stage.answer = Some(answer));
    }

    /// Whether a request is held, or was.
    pub fn has_caught(&self) -> bool {
        self.stage.borrow().caught
    }

    /// Waits until a request is held.
    pub async fn caught(&self) {
        let caught = tokio::time::timeout(PATIENCE, self.until(|stage| stage.caught)).await;
        caught.expect("a request that matches comes within a minute");
    }

    /// Delivers what is held, and waits until the search engine has done it; its answer.
    pub async fn release(&self) -> Value {
        self.caught().await;
        self.stage.send_modify(|stage| stage.open = true);
        let answered = tokio::time::timeout(PATIENCE, self.until(|stage| stage.answer.is_some())).await;
        answered.expect("the search engine answers within a minute").answer.unwrap_or_default()
    }

    async fn until(&self, wanted: impl Fn(&Stage) -> bool) -> Stage {
        let mut stages = self.stage.subscribe();
        let reached = stages.wait_for(|stage| wanted(stage)).await.expect("the gate holds its sender");
        reached.clone()
    }
}
