//! A real OpenSearch for tests: one node for the whole test process with an index prefix per test, and private nodes for
//! tests that freeze, kill or restart theirs. `DOCMILL_TEST_OPENSEARCH=URL` uses a running one instead of the shared node.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use docmill::embedded::{Child, Home};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::postgres::blocking;

/// A start takes about 10 s on two idle cores; the first one fetches 53 MB.
const START_TIMEOUT: Duration = Duration::from_secs(300);
/// Looks at an index whose shard does not answer yet.
const TRIES_MAX: usize = 50;
/// Documents a page when reading an index.
const PAGE: usize = 2_000;

static SHARED_URL: OnceCell<String> = OnceCell::const_new();
/// Apart from the cell, so that the process's end can take it.
static SHARED: Mutex<Option<Node>> = Mutex::new(None);

/// A node of the test's own. Dropped, or when the test process ends however it ends, it is killed and its files go.
#[derive(Debug)]
pub struct Node {
    child: Option<Child>,
    home: Home,
    settings: Vec<String>,
    port: u16,
}

impl Node {
    /// Starts a node on a free port; settings as `name=value`.
    pub async fn start(settings: &[&str]) -> Self {
        let settings: Vec<String> = settings.iter().map(|setting| (*setting).to_owned()).collect();
        blocking(move || {
            let home = Home::of("opensearch").expect("a directory for OpenSearch");
            let (child, port) = launch(home.path(), 0, &settings);
            Self { child: Some(child), home, settings, port }
        })
        .await
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the node runs").id()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child = None;
    }

    /// SIGTERM, and waits for the end.
    pub async fn stop(&mut self) {
        if let Some(child) = self.child.take() {
            blocking(move || {
                child.signal(libc::SIGTERM);
                child.wait(Duration::from_secs(60)).expect("OpenSearch stops when told to");
            })
            .await;
        }
    }

    /// Starts a stopped or killed node again on the same port and data.
    pub async fn resume(&mut self) {
        assert!(self.child.is_none(), "the node runs already");
        let (home, port, settings) = (self.home.path().to_path_buf(), self.port, self.settings.clone());
        self.child = Some(blocking(move || launch(&home, port, &settings).0).await);
    }

    /// Stops every thread of the node where it is: connections stay open, nothing answers.
    pub fn freeze(&self) {
        self.signal(libc::SIGSTOP);
    }

    /// Lets a frozen node go on.
    pub fn thaw(&self) {
        self.signal(libc::SIGCONT);
    }

    fn signal(&self, signal: i32) {
        self.child.as_ref().expect("the node runs").signal(signal);
    }
}

/// Indexes under a prefix that no other test uses, on some node.
#[derive(Debug, Clone)]
pub struct OpenSearch {
    pub url: String,
    /// Comes before the name of every index, alias and state index of the test.
    pub prefix: String,
    client: reqwest::Client,
}

impl OpenSearch {
    /// On the shared node, which the first call starts.
    pub async fn fresh() -> Self {
        Self::at(&shared_url().await)
    }

    /// On the node with this URL.
    pub fn at(url: &str) -> Self {
        let prefix = format!("t{:08x}-", rand::random::<u32>());
        Self { url: url.trim_end_matches('/').to_owned(), prefix, client: super::http_client() }
    }

    /// The full name of this test's index or alias.
    pub fn index(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Any request; the status, and the answer as JSON (`null` if it is none). Panics if there is no answer.
    pub async fn request(&self, method: Method, path: &str, body: Option<&Value>) -> (u16, Value) {
        let mut request = self.client.request(method.clone(), format!("{}/{path}", self.url));
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.unwrap_or_else(|error| panic!("{method} {path}: {error:?}"));
        let status = response.status().as_u16();
        let text = response.bytes().await.unwrap_or_else(|error| panic!("{method} {path}: {error:?}"));
        (status, serde_json::from_slice(&text).unwrap_or(Value::Null))
    }

    /// A request that has to succeed.
    pub async fn must(&self, method: Method, path: &str, body: Option<&Value>) -> Value {
        let (status, answer) = self.request(method.clone(), path, body).await;
        assert!((200..300).contains(&status), "{method} {path} answered {status}: {answer}");
        answer
    }

    /// Makes everything written so far visible to searches. An index that does not exist is no error.
    pub async fn refresh(&self, name: &str) {
        let path = format!("{}/_refresh?ignore_unavailable=true", self.index(name));
        self.must(Method::POST, &path, None).await;
    }

    /// Every document of an index or alias by id, after a refresh; `None` if there is no such index.
    pub async fn documents(&self, name: &str) -> Option<BTreeMap<String, Value>> {
        let hits = self.hits(name).await?;
        Some(hits.into_iter().map(|(id, mut hit)| (id, hit["_source"].take())).collect())
    }

    /// The version of every document of an index or alias by id; `None` if there is no such index.
    pub async fn versions(&self, name: &str) -> Option<BTreeMap<String, u64>> {
        let hits = self.hits(name).await?;
        Some(hits.into_iter().filter_map(|(id, hit)| Some((id, hit["_version"].as_u64()?))).collect())
    }

    /// One document by id, as the index has it at this moment, refreshed or not.
    pub async fn document(&self, name: &str, id: &str) -> Option<Value> {
        let mut path = url::Url::parse("http://x/").expect("a URL");
        path.path_segments_mut().expect("a path").extend([&self.index(name), "_doc", id]);
        let (status, mut answer) = self.request(Method::GET, path.path().trim_start_matches('/'), None).await;
        (status == 200).then(|| answer["_source"].take())
    }

    /// Deletes every index of this test.
    pub async fn remove_all(&self) {
        let path = format!("{}*?expand_wildcards=all&ignore_unavailable=true", self.prefix);
        self.must(Method::DELETE, &path, None).await;
    }

    async fn hits(&self, name: &str) -> Option<BTreeMap<String, Value>> {
        self.refresh(name).await;
        let query = json!({"size": PAGE, "sort": ["_doc"], "version": true, "query": {"match_all": {}}});
        let path = format!("{}/_search?scroll=1m", self.index(name));
        let mut tries = 0;
        let mut page = loop {
            match self.request(Method::POST, &path, Some(&query)).await {
                (404, _) => return None,
                // The shard of an index that was made just now may not have started.
                (503, _) if tries < TRIES_MAX => tries += 1,
                (_, page) => break page,
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        let mut found = BTreeMap::new();
        loop {
            assert_eq!(page["_shards"]["failed"], json!(0), "reading {name} answered {page}");
            let hits = page["hits"]["hits"].take();
            let hits = hits.as_array().expect("a search answers with hits");
            for hit in hits {
                let id = hit["_id"].as_str().expect("a hit has an id").to_owned();
                let twice = found.insert(id, hit.clone());
                assert!(twice.is_none(), "{name} has a document twice: {hit}");
            }
            let scroll = json!({"scroll_id": page["_scroll_id"]});
            if hits.is_empty() {
                self.must(Method::DELETE, "_search/scroll", Some(&scroll)).await;
                return Some(found);
            }
            let next = json!({"scroll": "1m", "scroll_id": page["_scroll_id"]});
            page = self.must(Method::POST, "_search/scroll", Some(&next)).await;
        }
    }
}

/// The URL of the shared node.
pub async fn shared_url() -> String {
    let start = || async {
        if let Ok(url) = std::env::var("DOCMILL_TEST_OPENSEARCH") {
            return url;
        }
        let node = Node::start(&["cluster.max_shards_per_node=5000"]).await;
        let url = node.url();
        *SHARED.lock().unwrap_or_else(PoisonError::into_inner) = Some(node);
        // Nothing drops a static. SAFETY: the handler is a plain function that lives as long as the program.
        unsafe { libc::atexit(remove_shared) };
        url
    };
    SHARED_URL.get_or_init(start).await.clone()
}

extern "C" fn remove_shared() {
    drop(SHARED.lock().unwrap_or_else(PoisonError::into_inner).take());
}

/// Starts `tests/tools/opensearch/start` and waits until the node answers; port 0 takes a free one.
fn launch(home: &Path, port: u16, settings: &[String]) -> (Child, u16) {
    let log_path = home.join("node.log");
    let log = File::create(&log_path).expect("a log file");
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tools/opensearch/start"));
    command.arg(home.join("node")).arg(port.to_string()).args(settings).stdin(Stdio::null());
    command.stdout(log.try_clone().expect("the same file")).stderr(log);
    // Its files are removed with it: nothing is worth an orderly end.
    let child = Child::spawn(command, libc::SIGKILL).expect("tests/tools/opensearch/start can be run");
    let until = Instant::now() + START_TIMEOUT;
    loop {
        let text = fs::read_to_string(&log_path).unwrap_or_default();
        // The whole line with its end, so that half a number is not taken for one.
        let started = text.split_inclusive('\n').find_map(|line| line.strip_suffix('\n')?.strip_prefix("started "));
        if let Some(port) = started.and_then(|port| port.parse().ok()) {
            return (child, port);
        }
        let ended = child.wait(Duration::from_millis(100));
        assert!(ended.is_none(), "OpenSearch ended while starting ({ended:?}):\n{text}");
        assert!(Instant::now() < until, "OpenSearch did not start within {START_TIMEOUT:?}:\n{text}");
    }
}
