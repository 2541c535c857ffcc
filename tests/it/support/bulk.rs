//! Bulk requests and answers as the search engine's API has them: taking them apart and putting them together.

use bytes::Bytes;
use serde_json::{Value, json};

/// One action of a bulk request.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// `index`, `create`, `update` or `delete`.
    pub action: String,
    pub index: String,
    pub id: String,
    pub version: Option<u64>,
    /// `external_gte` and the like.
    pub version_type: Option<String>,
    /// The document of any action but `delete`.
    pub document: Option<Value>,
    /// The item's bytes as they came, line ends included.
    pub bytes: Bytes,
}

/// The items of a bulk body; `index` is the one named in the path. Says what is wrong with a body that is none.
pub fn parse(index: Option<&str>, body: &Bytes) -> Result<Vec<Item>, String> {
    if body.last() != Some(&b'\n') {
        return Err("The bulk request must be terminated by a newline [\\n]".to_owned());
    }
    let mut items = Vec::new();
    let mut begin = 0;
    while begin < body.len() {
        let line_end = end_of_line(body, begin);
        let line: Value = serde_json::from_slice(&body[begin..line_end])
            .map_err(|error| format!("Malformed action/metadata line: {error}"))?;
        let object = line.as_object().filter(|object| object.len() == 1);
        let (action, meta) = object.and_then(|object| object.iter().next()).ok_or("expected one action a line")?;
        let mut end = line_end;
        let document = match action.as_str() {
            "delete" => None,
            "index" | "create" | "update" => {
                end = end_of_line(body, line_end);
                let document = serde_json::from_slice(&body[line_end..end]);
                Some(document.map_err(|error| format!("malformed document: {error}"))?)
            }
            other => return Err(format!("Unknown action [{other}]")),
        };
        let text = |name: &str| meta[name].as_str().map(str::to_owned);
        items.push(Item {
            action: action.clone(),
            index: text("_index").or(index.map(str::to_owned)).ok_or("an action without an index")?,
            id: text("_id").ok_or("an action without an id: docmill always names one")?,
            version: meta["version"].as_u64(),
            version_type: text("version_type"),
            document,
            bytes: body.slice(begin..end),
        });
        begin = end;
    }
    Ok(items)
}

impl Item {
    /// The item's part of the answer.
    pub fn answer(&self, status: u16, mut rest: Value) -> Value {
        rest["_index"] = json!(self.index);
        rest["_id"] = json!(self.id);
        rest["status"] = json!(status);
        json!({ self.action.clone(): rest })
    }

    /// The item's part of the answer when it failed.
    pub fn failed(&self, status: u16, kind: &str) -> Value {
        let reason = format!("[{}]: injected or computed by the test's server", self.id);
        self.answer(status, json!({"error": {"type": kind, "reason": reason, "index": self.index}}))
    }
}

/// The whole answer.
pub fn answer(items: Vec<Value>) -> Value {
    let failed = |item: &Value| {
        let outcome = item.as_object().and_then(|item| item.values().next());
        outcome.is_some_and(|outcome| !outcome["error"].is_null())
    };
    json!({"took": 1, "errors": items.iter().any(failed), "items": items})
}

fn end_of_line(body: &[u8], from: usize) -> usize {
    body[from..].iter().position(|byte| *byte == b'\n').map_or(body.len(), |position| from + position + 1)
}
