//! The answer to a bulk request, read item by item. Plain functions.

use serde_json::Value;

use crate::edges::{Failure, WriteOutcome};
use crate::model::{Rejection, Version};

/// Errors that are a document's own: it is refused now and would be again. A status alone never says that.
const DOCUMENT_ERRORS: [&str; 9] = [
    "mapper_parsing_exception",
    "document_parsing_exception",
    "strict_dynamic_mapping_exception",
    "illegal_argument_exception",
    "x_content_parse_exception",
    "input_coercion_exception",
    "max_bytes_length_exceeded_exception",
    "parsing_exception",
    "routing_missing_exception",
];

/// Errors that are load or the cluster's condition: nothing was applied, and the same bytes may be sent again.
const LOAD_ERRORS: [&str; 6] = [
    "es_rejected_execution_exception",
    "rejected_execution_exception",
    "opensearch_rejected_execution_exception",
    "circuit_breaking_exception",
    "cluster_block_exception",
    "no_shard_available_action_exception",
];

/// Bytes of an engine's reason that are kept for a quarantine record.
const DETAIL_BYTES_MAX: usize = 4 << 10;

/// One outcome for each of `count` items, or why the whole answer cannot be used.
pub(super) fn outcomes(body: &Value, count: usize) -> Result<Vec<WriteOutcome>, Unusable> {
    let items = body["items"].as_array().filter(|items| items.len() == count);
    let items = items.ok_or(Unusable::NotUnderstood)?;
    items.iter().map(item).collect()
}

/// Why an answer with items cannot be used.
#[derive(Debug)]
pub(super) enum Unusable {
    /// It does not say what became of the items.
    NotUnderstood,
    /// An item was refused for a reason that is neither its own nor load.
    Refused(Failure),
}

fn item(item: &Value) -> Result<WriteOutcome, Unusable> {
    let (verb, item) = item.as_object().and_then(|item| item.iter().next()).ok_or(Unusable::NotUnderstood)?;
    let status = item["status"].as_u64().ok_or(Unusable::NotUnderstood)?;
    let error = &item["error"];
    let kind = error["type"].as_str().unwrap_or("");
    let reason = error["reason"].as_str().unwrap_or("");
    Ok(match status {
        200..=299 => WriteOutcome::Written,
        404 if verb == "delete" && error.is_null() => WriteOutcome::Written,
        409 => WriteOutcome::Stale { current: current_version(reason) },
        _ if LOAD_ERRORS.contains(&kind) || status == 429 || kind.ends_with("rejected_execution_exception") => {
            WriteOutcome::Overloaded(kind.to_owned())
        }
        400..=499 if DOCUMENT_ERRORS.contains(&kind) => WriteOutcome::Rejected(Rejection {
            kind: kind.to_owned(),
            reason: match field(reason) {
                Some(field) => format!("the search engine refuses field {field}"),
                None => "the search engine refuses this document".to_owned(),
            },
            detail: Some(cut(&with_cause(error))),
        }),
        500..=599 => WriteOutcome::Unknown(format!("{status} {kind}")),
        _ => {
            let advice = match kind {
                "index_not_found_exception" => {
                    "the index was deleted while docmill writes it: start again to make it anew"
                }
                _ => "see the search engine's log",
            };
            let index = item["_index"].as_str().unwrap_or("?");
            let message = format!("write to index {index}: refused with {status}, {kind}");
            return Err(Unusable::Refused(Failure::fatal(message).with_advice(advice)));
        }
    })
}

/// `[7]: version conflict, current version [12] is higher than the one provided [7]`
fn current_version(reason: &str) -> Option<Version> {
    let (_, rest) = reason.split_once("current version [")?;
    Version::from_number(rest.split_once(']')?.0.parse().ok()?)
}

/// The field that a reason names: `failed to parse field [a.b] of type …`, or `mapping set to strict, dynamic introduction of [c]
/// within [a]`.
fn field(reason: &str) -> Option<String> {
    let named = |marker: &str| {
        let (_, rest) = reason.split_once(marker)?;
        Some(rest.split_once([']', '"'])?.0)
    };
    let field = match named("dynamic introduction of [") {
        Some(new) => match named("] within [").filter(|outer| *outer != "_doc") {
            Some(outer) => format!("{outer}.{new}"),
            None => new.to_owned(),
        },
        None => named("field [").or_else(|| named("field=\""))?.to_owned(),
    };
    let is_path = field.len() <= 256 && field.chars().all(|letter| letter.is_alphanumeric() || "._-@".contains(letter));
    is_path.then_some(field)
}

fn with_cause(error: &Value) -> String {
    let text = |error: &Value| error["reason"].as_str().unwrap_or("").to_owned();
    match &error["caused_by"] {
        Value::Null => text(error),
        cause => format!("{}: {}", text(error), text(cause)),
    }
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

    fn one(item: Value) -> WriteOutcome {
        outcomes(&json!({ "items": [item] }), 1).unwrap().remove(0)
    }

    #[test]
    fn a_conflict_names_the_version_that_is_there() {
        let version = Version::new(History::FIRST, Position::new(12));
        let reason = "[1]: version conflict, current version [12] is higher than the one provided [7]";
        let found = one(
            json!({ "index": { "status": 409, "error": { "type": "version_conflict_engine_exception", "reason": reason } } }),
        );
        assert_eq!(found, WriteOutcome::Stale { current: Some(version) });
    }

    #[test]
    fn deleting_what_is_not_there_is_done() {
        assert_eq!(one(json!({ "delete": { "status": 404, "result": "not_found" } })), WriteOutcome::Written);
    }

    #[test]
    fn a_rejection_names_the_field_and_not_the_value() {
        for (reason, field) in [
            ("failed to parse field [price] of type [double] in document with id '1'. Preview: 'secret'", "price"),
            ("mapping set to strict, dynamic introduction of [c] within [a.b] is not allowed", "a.b.c"),
            ("mapping set to strict, dynamic introduction of [c] within [_doc] is not allowed", "c"),
            ("Document contains at least one immense term in field=\"country\" (whose UTF8 …)", "country"),
        ] {
            let error = json!({ "type": "mapper_parsing_exception", "reason": reason });
            let WriteOutcome::Rejected(rejection) = one(json!({ "index": { "status": 400, "error": error } })) else {
                panic!("{reason}");
            };
            assert_eq!(rejection.reason, format!("the search engine refuses field {field}"));
            assert!(rejection.detail.unwrap().contains(reason));
        }
    }

    #[test]
    fn load_is_not_poison_and_a_server_error_says_nothing() {
        let error = |status: u16, kind: &str| one(json!({ "index": { "status": status, "error": { "type": kind } } }));
        assert!(matches!(error(429, "circuit_breaking_exception"), WriteOutcome::Overloaded(_)));
        assert!(matches!(error(403, "cluster_block_exception"), WriteOutcome::Overloaded(_)));
        assert!(matches!(error(503, "unavailable_shards_exception"), WriteOutcome::Unknown(_)));
    }

    #[test]
    fn an_answer_of_another_shape_is_not_guessed_at() {
        for body in [json!({}), json!({ "items": [] }), json!({ "items": [{}] }), json!({ "items": [{ "index": {} }] })]
        {
            assert!(matches!(outcomes(&body, 1), Err(Unusable::NotUnderstood)));
        }
        let refused =
            json!({ "items": [{ "index": { "status": 404, "error": { "type": "index_not_found_exception" } } }] });
        assert!(matches!(outcomes(&refused, 1), Err(Unusable::Refused(_))));
    }
}
