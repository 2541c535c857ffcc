//! What goes through the failing search engine: requests, answers, the faults between them, and what the log keeps.

use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Value, json};

use super::bulk;
use super::holding_proxy::Gate;

/// One request.
#[derive(Debug, Clone)]
pub struct Call {
    pub method: reqwest::Method,
    pub path: String,
    pub query: Option<String>,
    pub headers: reqwest::header::HeaderMap,
    pub body: Bytes,
}

impl Call {
    pub fn is_bulk(&self) -> bool {
        self.path.ends_with("/_bulk")
    }

    /// Index and id of every item of a bulk request.
    pub fn ids(&self) -> Vec<(String, String)> {
        self.items().into_iter().map(|item| (item.index, item.id)).collect()
    }

    /// The items of a bulk request; none of anything else.
    pub fn items(&self) -> Vec<bulk::Item> {
        if !self.is_bulk() {
            return Vec::new();
        }
        let index = self.path.trim_start_matches('/').strip_suffix("/_bulk").filter(|index| !index.is_empty());
        bulk::parse(index, &self.body).unwrap_or_default()
    }
}

/// One answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub body: Bytes,
}

impl Answer {
    pub fn json(status: u16, body: &Value) -> Self {
        Self { status, body: body.to_string().into() }
    }

    /// In the form the search engine gives errors.
    pub fn error(status: u16, kind: &str) -> Self {
        let cause = json!({"type": kind, "reason": "by the test's server"});
        Self::json(status, &json!({"error": {"root_cause": [cause], "type": kind, "reason": ""}, "status": status}))
    }
}

/// What happens to a request instead of what should.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Nothing is done; this is answered.
    Answer(u16, Value),
    /// Done after this time, even if the client has given up by then; answered afterwards.
    DoLate(Duration),
    /// Done at once, answered after this time.
    AnswerLate(Duration),
    /// Nothing is done, and no answer comes.
    Silence,
    /// The connection is cut without an answer, before or after the request was done.
    Cut { done: bool },
    /// Done, and cut in the middle of the answer's body.
    HalfAnswer,
    /// Done, and the answer is 200 with something that is no JSON.
    Garbage,
    /// Held until its gate opens, and done then, though the client has long given up or is dead.
    Hold(Gate),
    /// These items of a bulk (all whose id is listed; empty: all) are not done and answered with this status and error type.
    Items { ids: Vec<String>, status: u16, kind: &'static str },
}

/// What the log keeps of a request.
#[derive(Debug, Clone)]
pub struct Seen {
    pub call: Call,
    pub arrived: Instant,
    /// When it was done, or refused by a fault; `None` while it is open.
    pub done: Option<Instant>,
    /// When its client had the answer, or had gone; `None` while the client waits.
    pub left: Option<Instant>,
    /// What was answered, if anything.
    pub status: Option<u16>,
}
