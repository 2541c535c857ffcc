//! The answer to a bulk request, read item by item. Plain functions.

use serde_json::Value;

use super::condition;
use super::names::write_alias;
use crate::edges::{Failure, Write, WriteOutcome};
use crate::model::{Rejection, Version};

/// Errors that are a document's own: it is refused now and would be again. A status alone never says that.
const DOCUMENT_ERRORS: [&str; 10] = [
    "mapper_parsing_exception",
    "document_parsing_exception",
    "strict_dynamic_mapping_exception",
    "illegal_argument_exception",
    "x_content_parse_exception",
    "input_coercion_exception",
    "max_bytes_length_exceeded_exception",
    "parsing_exception",
    "parse_exception",
    "routing_missing_exception",
];

/// What an `illegal_argument_exception` says when it is the index's condition, the same for every document of it.
const CONDITIONS_OF_THE_INDEX: [&str; 3] =
    ["pipeline with id [", "number of documents in the index cannot exceed", "no write index is defined"];

/// Bytes of an engine's reason that are kept for a quarantine record.
const DETAIL_BYTES_MAX: usize = 4 << 10;

/// One outcome for each of `writes`, or why the whole answer cannot be used.
pub(super) fn outcomes(body: &Value, writes: &[Write]) -> Result<Vec<WriteOutcome>, Unusable> {
    let items = body["items"].as_array().filter(|items| items.len() == writes.len());
    let items = items.ok_or(Unusable::NotUnderstood)?;
    items.iter().zip(writes).map(|(item, write)| outcome(item, write)).collect()
}

/// Why an answer with items cannot be used.
#[derive(Debug)]
pub(super) enum Unusable {
    /// It does not say what became of the items.
    NotUnderstood,
    /// An index is not there (any more).
    Missing(Failure),
    /// An item was refused for a reason that is neither its own nor load.
    Refused(Failure),
}

fn outcome(item: &Value, write: &Write) -> Result<WriteOutcome, Unusable> {
    let (verb, item) = item.as_object().and_then(|item| item.iter().next()).ok_or(Unusable::NotUnderstood)?;
    let deletes = write.document.is_none();
    if verb != if deletes { "delete" } else { "index" } {
        return Err(Unusable::NotUnderstood);
    }
    let status = item["status"].as_u64().ok_or(Unusable::NotUnderstood)?;
    let error = &item["error"];
    let kind = error["type"].as_str().unwrap_or("");
    let reason = error["reason"].as_str().unwrap_or("");
    Ok(match status {
        200..=299 => WriteOutcome::Written,
        404 if deletes && error.is_null() => WriteOutcome::Written,
        409 => WriteOutcome::Stale { current: current_version(reason) },
        _ if condition::is_load(status, kind) => WriteOutcome::Overloaded(condition::why(kind, &write.generation)),
        400..=499 if is_of_the_document(kind, reason) => WriteOutcome::Rejected(Rejection {
            kind: kind.to_owned(),
            reason: match field(reason) {
                Some(field) => format!("the search engine refuses field {field}"),
                None => "the search engine refuses this document".to_owned(),
            },
            detail: Some(cut(&with_causes(error))),
        }),
        500..=599 => WriteOutcome::Unknown(format!("{status} {}", condition::why(kind, &write.generation))),
        _ => {
            let index = &write.generation;
            let failure = Failure::fatal(format!("write to index {index}: refused with {status}, {kind}"));
            return Err(match kind {
                // The second is what a deletion says: the engine would make an index, were it not for the name of our alias.
                "index_not_found_exception" | "invalid_index_name_exception" => Unusable::Missing(Failure::restart(
                    format!("write to index {index}: it was deleted, or its alias {}", write_alias(index)),
                )),
                _ if CONDITIONS_OF_THE_INDEX.iter().any(|condition| reason.contains(condition)) => {
                    Unusable::Refused(failure.with_advice(format!(
                        "it is the index and not one document: see its settings (default_pipeline, final_pipeline) \
                         and its number of documents, GET {index}"
                    )))
                }
                _ => Unusable::Refused(failure.with_advice("see the search engine's log")),
            });
        }
    })
}

fn is_of_the_document(kind: &str, reason: &str) -> bool {
    let condition = || CONDITIONS_OF_THE_INDEX.iter().any(|condition| reason.contains(condition));
    DOCUMENT_ERRORS.contains(&kind) && !(kind == "illegal_argument_exception" && condition())
}

/// `[7]: version conflict, current version [12] is higher than the one provided [7]`; what is in front of it is an id, and
/// may say anything.
fn current_version(reason: &str) -> Option<Version> {
    let (_, rest) = reason.rsplit_once("version conflict, current version [")?;
    Version::from_number(rest.split_once(']')?.0.parse().ok()?)
}

/// The field that a reason names. Only sentences whose bracket holds a path are read: in others it holds a value.
fn field(reason: &str) -> Option<String> {
    let until = |rest: &str, end: [char; 2]| rest.split_once(end).map(|(name, _)| name.to_owned());
    let field = if let Some((_, rest)) = reason.split_once("dynamic introduction of [") {
        let (new, rest) = rest.split_once("] within [")?;
        match rest.split_once(']')?.0 {
            "_doc" => new.to_owned(),
            outer => format!("{outer}.{new}"),
        }
    } else if let Some((_, rest)) = reason.split_once("immense term in field=\"") {
        until(rest, ['"', '"'])?
    } else {
        // Elasticsearch puts a place in front: `[1:10] failed to parse field […`.
        let said = match reason.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
            Some((place, said)) if place.bytes().all(|byte| byte.is_ascii_digit() || byte == b':') => said,
            _ => reason,
        };
        let opening = ["failed to parse field [", "object mapping for ["];
        until(opening.iter().find_map(|opening| said.strip_prefix(opening))?, [']', ']'])?
    };
    let is_path = field.len() <= 256 && field.chars().all(|letter| letter.is_alphanumeric() || "._-@".contains(letter));
    is_path.then_some(field)
}

fn with_causes(error: &Value) -> String {
    let mut text = error["reason"].as_str().unwrap_or("").to_owned();
    let mut cause = &error["caused_by"];
    while let Some(reason) = cause["reason"].as_str().filter(|_| text.len() < DETAIL_BYTES_MAX) {
        text = format!("{text}: {reason}");
        cause = &cause["caused_by"];
    }
    text
}

fn cut(text: &str) -> String {
    let mut end = text.len().min(DETAIL_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::{History, Position};

    fn write(document: Option<&'static str>) -> Write {
        Write {
            generation: "users-1".into(),
            id: "1".to_owned(),
            routing: None,
            version: Version::new(History::FIRST, Position::new(7)),
            document: document.map(|text| text.as_bytes().into()),
        }
    }

    fn read(item: Value) -> Result<WriteOutcome, Unusable> {
        let write = write(item["index"].is_object().then_some("{}"));
        outcomes(&json!({ "items": [item] }), &[write]).map(|mut outcomes| outcomes.remove(0))
    }

    fn one(item: Value) -> WriteOutcome {
        read(item).unwrap()
    }

    fn refused(status: u16, kind: &str, reason: &str) -> Result<WriteOutcome, Unusable> {
        read(json!({ "index": { "status": status, "error": { "type": kind, "reason": reason } } }))
    }

    #[test]
    fn a_conflict_names_the_version_that_is_there() {
        let version = Version::new(History::FIRST, Position::new(12));
        for id in ["1", "a version conflict, current version [3] is higher"] {
            let reason = format!("[{id}]: version conflict, current version [12] is higher than the one provided [7]");
            let found = refused(409, "version_conflict_engine_exception", &reason).unwrap();
            assert_eq!(found, WriteOutcome::Stale { current: Some(version) });
        }
        let other = refused(409, "version_conflict_engine_exception", "another sentence").unwrap();
        assert_eq!(other, WriteOutcome::Stale { current: None });
    }

    #[test]
    fn deleting_what_is_not_there_is_done() {
        assert_eq!(one(json!({ "delete": { "status": 404, "result": "not_found" } })), WriteOutcome::Written);
    }

    #[test]
    fn a_rejection_names_the_field_and_not_the_value() {
        for (reason, field) in [
            (
                "failed to parse field [price] of type [double] in document with id '1'. Preview: 'secret'",
                Some("price"),
            ),
            ("[1:10] failed to parse field [a.b] of type [long] in document with id '1'", Some("a.b")),
            ("mapping set to strict, dynamic introduction of [c] within [a.b] is not allowed", Some("a.b.c")),
            ("[1:2] mapping set to strict, dynamic introduction of [c] within [_doc] is not allowed", Some("c")),
            ("object mapping for [ne] tried to parse field [ne] as object, but found a concrete value", Some("ne")),
            ("Document contains at least one immense term in field=\"country\" (whose UTF8 …)", Some("country")),
            ("failed to parse date field [secret] with format [x]", None),
            ("failed to parse", None),
        ] {
            let Ok(WriteOutcome::Rejected(rejection)) = refused(400, "mapper_parsing_exception", reason) else {
                panic!("{reason}");
            };
            let expected = match field {
                Some(field) => format!("the search engine refuses field {field}"),
                None => "the search engine refuses this document".to_owned(),
            };
            assert_eq!(rejection.reason, expected);
            assert!(rejection.detail.unwrap().contains(reason));
        }
    }

    #[test]
    fn load_is_not_poison_and_a_server_error_says_nothing() {
        for (status, kind) in [
            (429, "circuit_breaking_exception"),
            (429, "es_rejected_execution_exception"),
            (503, "opensearch_rejected_execution_exception"),
            (403, "cluster_block_exception"),
            (429, "cluster_block_exception"),
            (400, "index_closed_exception"),
        ] {
            let found = refused(status, kind, "").unwrap();
            assert!(matches!(&found, WriteOutcome::Overloaded(why) if why.starts_with(kind)), "{found:?}");
        }
        for (status, kind) in [(503, "unavailable_shards_exception"), (500, "whatever"), (502, "")] {
            assert!(matches!(refused(status, kind, ""), Ok(WriteOutcome::Unknown(_))), "{kind}");
        }
    }

    #[test]
    fn the_condition_of_an_index_is_no_fault_of_its_documents() {
        assert!(matches!(refused(404, "index_not_found_exception", ""), Err(Unusable::Missing(_))));
        assert!(matches!(refused(400, "invalid_index_name_exception", ""), Err(Unusable::Missing(_))));
        for (kind, reason) in
            [("illegal_argument_exception", "pipeline with id [x] does not exist"), ("something_new_exception", "")]
        {
            assert!(matches!(refused(400, kind, reason), Err(Unusable::Refused(_))), "{kind}");
        }
    }

    #[test]
    fn an_answer_of_another_shape_is_not_guessed_at() {
        let write = write(Some("{}"));
        for body in [
            json!({}),
            json!({ "items": [] }),
            json!({ "items": [{}] }),
            json!({ "items": [{ "index": {} }] }),
            json!({ "items": [{ "delete": { "status": 200 } }] }),
        ] {
            let found = outcomes(&body, std::slice::from_ref(&write));
            assert!(matches!(found, Err(Unusable::NotUnderstood)), "{body}");
        }
    }
}
