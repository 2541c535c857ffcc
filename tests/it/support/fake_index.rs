//! What a fake search engine holds: documents by index and id with external versions, deletes remembered.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::bulk::{self, Item};
use super::fault::{Answer, Call};

/// All indexes of the fake. An index is made by the first document, as the real one does by default.
#[derive(Debug, Default)]
pub struct FakeIndex {
    indexes: Mutex<BTreeMap<String, BTreeMap<String, Stored>>>,
}

#[derive(Debug, Clone)]
struct Stored {
    version: u64,
    /// `None`: deleted; the version stays, so that an older write is refused.
    document: Option<Value>,
}

impl FakeIndex {
    /// The documents of one index by id.
    pub fn documents(&self, index: &str) -> BTreeMap<String, Value> {
        let indexes = self.locked();
        let all = indexes.get(index).into_iter().flatten();
        all.filter_map(|(id, stored)| Some((id.clone(), stored.document.clone()?))).collect()
    }

    /// What the search engine would answer; 501 for what the fake does not know.
    pub fn answer(&self, call: &Call) -> Answer {
        let segments: Vec<&str> = call.path.split('/').filter(|segment| !segment.is_empty()).collect();
        match (call.method.as_str(), segments.as_slice()) {
            ("GET", []) => Answer::json(
                200,
                &json!({"version": {"distribution": "opensearch", "number": "3.8.0"}, "cluster_uuid": "fake", "name": "fake"}),
            ),
            ("POST" | "PUT", ["_bulk"]) => self.bulk(None, call),
            ("POST" | "PUT", [index, "_bulk"]) => self.bulk(Some(index), call),
            ("POST" | "GET", [.., "_refresh"]) => Answer::json(200, &json!({"_shards": {"failed": 0}})),
            ("GET", [index, "_doc", id]) => self.get(index, id),
            ("HEAD", [index]) => Answer::json(if self.locked().contains_key(*index) { 200 } else { 404 }, &Value::Null),
            ("PUT", [index]) => self.create(index),
            ("DELETE", [index]) => match self.locked().remove(*index) {
                Some(_) => Answer::json(200, &json!({"acknowledged": true})),
                None => Answer::error(404, "index_not_found_exception"),
            },
            _ => Answer::error(501, "the_fake_does_not_know_this_request"),
        }
    }

    fn create(&self, index: &str) -> Answer {
        let mut indexes = self.locked();
        if indexes.contains_key(index) {
            return Answer::error(400, "resource_already_exists_exception");
        }
        indexes.insert(index.to_owned(), BTreeMap::new());
        Answer::json(200, &json!({"acknowledged": true, "index": index}))
    }

    fn get(&self, index: &str, id: &str) -> Answer {
        let indexes = self.locked();
        match indexes.get(index).and_then(|documents| documents.get(id)) {
            Some(Stored { version, document: Some(document) }) => {
                let found = json!({"_id": id, "_version": version, "found": true, "_source": document});
                Answer::json(200, &found)
            }
            _ => Answer::json(404, &json!({"_id": id, "found": false})),
        }
    }

    fn bulk(&self, index: Option<&str>, call: &Call) -> Answer {
        let items = match bulk::parse(index, &call.body) {
            Ok(items) => items,
            Err(_) => return Answer::error(400, "illegal_argument_exception"),
        };
        let mut indexes = self.locked();
        let answers = items.iter().map(|item| apply(indexes.entry(item.index.clone()).or_default(), item)).collect();
        Answer::json(200, &bulk::answer(answers))
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<String, BTreeMap<String, Stored>>> {
        self.indexes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn apply(documents: &mut BTreeMap<String, Stored>, item: &Item) -> Value {
    let before = documents.get(&item.id);
    let lives = before.is_some_and(|stored| stored.document.is_some());
    let version_before = before.map(|stored| stored.version);
    let version = match (item.version, item.version_type.as_deref(), version_before) {
        (Some(new), Some("external_gte"), Some(old)) if new < old => None,
        (Some(new), Some("external"), Some(old)) if new <= old => None,
        (Some(new), Some("external" | "external_gte"), _) => Some(new),
        (Some(_), ..) => return item.failed(400, "action_request_validation_exception"),
        (None, _, old) => Some(old.unwrap_or(0) + 1),
    };
    let conflict = version.is_none() || (item.action == "create" && lives);
    let (Some(version), false) = (version, conflict) else {
        return item.failed(409, "version_conflict_engine_exception");
    };
    let result = match (item.action.as_str(), lives) {
        ("delete", false) => (404, "not_found"),
        ("delete", true) => (200, "deleted"),
        ("update", _) => return item.failed(400, "illegal_argument_exception"),
        (_, true) => (200, "updated"),
        (_, false) => (201, "created"),
    };
    documents.insert(item.id.clone(), Stored { version, document: item.document.clone() });
    item.answer(result.0, json!({"_version": version, "result": result.1}))
}
