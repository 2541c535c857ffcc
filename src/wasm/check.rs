//! Everything that a guest gives back is checked here before anyone else sees it.

use std::collections::HashSet;

use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::bindings::docmill::builder::types::Outcome as WitOutcome;
use super::limits::{ID_BYTES_MAX, Limits};
use crate::edges::{Failure, FailureClass};
use crate::model::{Affected, Declaration, Outcome, Query, Rejection};

/// Ids and queries of a resolve: names that exist, ids that a search engine takes, each once.
pub(super) fn affected(
    what: &str,
    declaration: &Declaration,
    limits: &Limits,
    mut affected: Affected,
) -> Result<Affected, Failure> {
    if affected.ids.len() > limits.resolved_ids {
        return Err(over(what, "resolved_ids", affected.ids.len(), limits.resolved_ids));
    }
    queries(what, declaration, limits, &affected.queries)?;
    for id in &affected.ids {
        if id.is_empty() || id.len() > ID_BYTES_MAX || id.chars().any(char::is_control) {
            return Err(Failure::deterministic(format!(
                "{what}: an id of {} bytes is empty, longer than {ID_BYTES_MAX} bytes, or holds a control character",
                id.len()
            )));
        }
    }
    let mut seen = HashSet::with_capacity(affected.ids.len());
    affected.ids.retain(|id| seen.insert(id.clone()));
    Ok(affected)
}

/// Queries that a guest wants to run: declared ones, not too many.
pub(super) fn queries(
    what: &str,
    declaration: &Declaration,
    limits: &Limits,
    queries: &[Query],
) -> Result<(), Failure> {
    if queries.len() > limits.queries {
        return Err(over(what, "queries", queries.len(), limits.queries));
    }
    match queries.iter().find(|query| !declaration.queries.contains_key(&query.name)) {
        Some(query) => Err(Failure::deterministic(format!(
            "{what}: query {:?} is not among the declared ones",
            query.name.chars().take(80).collect::<String>()
        ))),
        None => Ok(()),
    }
}

/// The outcomes of an assemble: as many as ids, each document one JSON object within the limits, on one line.
pub(super) fn outcomes(
    what: &str,
    limits: &Limits,
    ids: usize,
    outcomes: Vec<WitOutcome>,
) -> Result<Vec<Outcome>, Failure> {
    if outcomes.len() != ids {
        return Err(Failure::deterministic(format!("{what}: {} outcomes for {ids} ids", outcomes.len())));
    }
    outcomes
        .into_iter()
        .map(|outcome| match outcome {
            WitOutcome::Document(text) => document(what, limits, text).map(Outcome::Document),
            WitOutcome::Absent => Ok(Outcome::Absent),
            WitOutcome::Rejected(reason) => Ok(Outcome::Rejected(Rejection {
                kind: "builder".to_owned(),
                // Its words may quote a row: they belong into the quarantine record, not into a log.
                reason: "the builder rejected this document".to_owned(),
                detail: Some(printable(&reason, limits.log_line_bytes)),
            })),
        })
        .collect()
}

fn document(what: &str, limits: &Limits, text: String) -> Result<Bytes, Failure> {
    if text.len() > limits.document_bytes {
        return Err(over(what, "document", text.len(), limits.document_bytes));
    }
    let wrong = |why: String| Failure::deterministic(format!("{what}: a document is not one JSON object: {why}"));
    let mut json = serde_json::Deserializer::from_str(&text);
    Object(limits.document_depth).deserialize(&mut json).and_then(|()| json.end()).map_err(|error| {
        // The category and place only: the message may quote the document.
        wrong(format!("{:?} error at line {} column {}", error.classify(), error.line(), error.column()))
    })?;
    if !text.bytes().any(|byte| byte == b'\n' || byte == b'\r') {
        return Ok(Bytes::from(text));
    }
    // Legal between tokens, but in a bulk request a line break ends the document. Inside strings JSON has none.
    let one_line: Vec<u8> =
        text.into_bytes().into_iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }).collect();
    Ok(Bytes::from(one_line))
}

/// Accepts one JSON object nested at most that deep, and builds nothing.
struct Object(usize);

impl<'de> DeserializeSeed<'de> for Object {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_key::<IgnoredAny>()?.is_some() {
            map.next_value_seed(Nested(self.0))?;
        }
        Ok(())
    }
}

/// Any JSON value that still fits into the remaining depth.
struct Nested(usize);

impl Nested {
    fn deeper<E: serde::de::Error>(&self) -> Result<usize, E> {
        self.0.checked_sub(1).ok_or_else(|| E::custom("nested too deep"))
    }
}

impl<'de> DeserializeSeed<'de> for Nested {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Nested {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let depth = self.deeper()?;
        while map.next_key::<IgnoredAny>()?.is_some() {
            map.next_value_seed(Nested(depth))?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let depth = self.deeper()?;
        while items.next_element_seed(Nested(depth))?.is_some() {}
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// A limit that a smaller call may not meet.
pub(super) fn over(what: &str, limit: &str, found: usize, allowed: usize) -> Failure {
    Failure::new(FailureClass::Oversize, format!("{what}: limit {limit} of {allowed} met with {found}"))
        .with_advice(format!("a single document that needs more needs a higher limits.{limit}"))
}

/// Text of a guest, cut and without control characters, so that it cannot steer a terminal or forge a line.
pub(super) fn printable(text: &str, bytes_max: usize) -> String {
    let mut shown = String::new();
    for character in text.chars() {
        let escaped = character.is_control() || matches!(character, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}');
        let before = shown.len();
        if escaped {
            shown.extend(character.escape_unicode())
        } else {
            shown.push(character)
        }
        if shown.len() > bytes_max {
            shown.truncate(before);
            shown.push('…');
            break;
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<Bytes, Failure> {
        document("b", &Limits { document_depth: 2, document_bytes: 60, ..Limits::default() }, text.to_owned())
    }

    #[test]
    fn only_one_json_object_is_a_document() {
        for good in ["{}", r#"{"a":[1,2.5,"x",null,true],"b":{"c":[]}}"#, " {} "] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in
            ["", "[]", "1", "{", "{}{}", "{} {\"index\":{}}", r#"{"a":}"#, r#"{"a":"b"#, "{\"a\":\"\n\"}", "{a:1}"]
        {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_line_break_between_tokens_cannot_smuggle_a_second_line() {
        assert_eq!(check("{\n\"a\":\r\n1}").unwrap(), Bytes::from("{ \"a\":  1}"));
    }

    #[test]
    fn depth_and_size_have_limits() {
        assert!(check(r#"{"a":[[1]]}"#).is_ok());
        assert!(check(r#"{"a":[[[1]]]}"#).is_err());
        assert_eq!(check(&format!("{{\"a\":\"{}\"}}", "x".repeat(60))).unwrap_err().class, FailureClass::Oversize);
    }

    #[test]
    fn text_of_a_guest_cannot_steer_a_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\n", 100), "a\\u{1b}[2Jb\\u{a}");
        assert_eq!(printable("äöü", 4), "äö…");
    }
}
