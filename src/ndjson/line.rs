//! One line: written by us, read back to find out what a file holds. Plain functions.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use crate::edges::{Write, WriteOutcome};
use crate::model::{QuarantineRecord, Rejection, Version};

/// Bytes of a line without id, index and document, about.
const LINE_BYTES: usize = 80;

/// The lines of writes, and what becomes of each write once they are durable.
pub(super) fn encode(writes: &[Write]) -> (Vec<u8>, Vec<WriteOutcome>) {
    let bytes = |write: &Write| LINE_BYTES + write.id.len() + write.document.as_ref().map_or(0, |bytes| bytes.len());
    let mut lines = Vec::with_capacity(writes.iter().map(bytes).sum());
    let outcomes = writes.iter().map(|write| encode_one(write, &mut lines)).collect();
    (lines, outcomes)
}

fn encode_one(write: &Write, lines: &mut Vec<u8>) -> WriteOutcome {
    if write.document.as_ref().is_some_and(|document| document.contains(&b'\n') || document.contains(&b'\r')) {
        return WriteOutcome::Rejected(Rejection {
            kind: "document_not_one_line".to_owned(),
            reason: "the document has a line break between its tokens".to_owned(),
            detail: None,
        });
    }
    lines.extend_from_slice(b"{\"index\":");
    text(&write.generation, lines);
    lines.extend_from_slice(b",\"id\":");
    text(&write.id, lines);
    lines.extend_from_slice(format!(",\"version\":\"{}\",", write.version.number()).as_bytes());
    match &write.document {
        Some(document) => {
            lines.extend_from_slice(b"\"document\":");
            lines.extend_from_slice(document);
        }
        None => lines.extend_from_slice(b"\"deleted\":true"),
    }
    lines.extend_from_slice(b"}\n");
    WriteOutcome::Written
}

fn text(text: &str, lines: &mut Vec<u8>) {
    lines.extend_from_slice(Value::from(text).to_string().as_bytes());
}

/// Those of `writes` that are written: index, id, version.
pub(super) fn written(writes: &[Write], outcomes: &[WriteOutcome]) -> Vec<(String, String, Version)> {
    let good = writes.iter().zip(outcomes).filter(|(_, outcome)| **outcome == WriteOutcome::Written);
    good.map(|(write, _)| (write.generation.to_string(), write.id.clone(), write.version)).collect()
}

/// A line as it is read back. Other fields may stand in it.
#[derive(Debug, Deserialize)]
pub(super) struct Line<'a> {
    #[serde(borrow)]
    pub(super) index: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) id: Cow<'a, str>,
    #[serde(default)]
    pub(super) deleted: bool,
    pub(super) document: Option<IgnoredAny>,
}

/// Reads a line of documents; `None` when it is none of ours.
pub(super) fn read(line: &[u8]) -> Option<Line<'_>> {
    let line: Line<'_> = serde_json::from_slice(line).ok()?;
    (line.deleted != line.document.is_some()).then_some(line)
}

/// The line of a quarantine record.
pub(super) fn quarantined(record: &QuarantineRecord, lines: &mut Vec<u8>) {
    let line = json!({
        "index": &*record.generation,
        "id": record.document.id,
        "version": record.version.number().to_string(),
        "position": record.version.position(),
        "builder_version": record.builder_version,
        "kind": record.rejection.kind,
        "reason": record.rejection.reason,
        "detail": record.rejection.detail,
        "at": record.at_ms,
    });
    lines.extend_from_slice(line.to_string().as_bytes());
    lines.push(b'\n');
}

/// The line that takes a quarantine record back: a good write of that version was made.
pub(super) fn cleared(index: &str, id: &str, version: Version, lines: &mut Vec<u8>) {
    let line = json!({ "index": index, "id": id, "version": version.number().to_string(), "cleared": true });
    lines.extend_from_slice(line.to_string().as_bytes());
    lines.push(b'\n');
}

/// A line of the quarantine as it is read back.
#[derive(Debug, Deserialize)]
pub(super) struct QuarantineLine {
    pub(super) index: String,
    pub(super) id: String,
    version: String,
    #[serde(default)]
    pub(super) cleared: bool,
}

impl QuarantineLine {
    pub(super) fn read(line: &[u8]) -> Option<(Self, Version)> {
        let line: Self = serde_json::from_slice(line).ok()?;
        let version = Version::from_number(line.version.parse().ok()?)?;
        Some((line, version))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{History, Position};

    fn write(id: &str, document: Option<&'static str>) -> Write {
        Write {
            generation: "users".into(),
            id: id.to_owned(),
            routing: None,
            version: Version::new(History::FIRST, Position::new(7)),
            document: document.map(|text| text.as_bytes().into()),
        }
    }

    #[test]
    fn a_document_and_a_deletion_are_a_line_each_and_documents_are_copied_as_they_are() {
        let (lines, outcomes) = encode(&[write("a\"\n", Some(r#"{"x":1.50}"#)), write("2", None)]);
        assert_eq!(outcomes, [WriteOutcome::Written, WriteOutcome::Written]);
        let lines = String::from_utf8(lines).unwrap();
        assert_eq!(
            lines,
            "{\"index\":\"users\",\"id\":\"a\\\"\\n\",\"version\":\"7\",\"document\":{\"x\":1.50}}\n\
             {\"index\":\"users\",\"id\":\"2\",\"version\":\"7\",\"deleted\":true}\n"
        );
        let read: Vec<_> = lines.lines().filter_map(|line| read(line.as_bytes())).collect();
        assert_eq!((&*read[0].id, read[0].deleted, &*read[1].id, read[1].deleted), ("a\"\n", false, "2", true));
    }

    #[test]
    fn a_document_of_two_lines_is_refused_alone() {
        let (lines, outcomes) = encode(&[write("1", Some("{\n}")), write("2", Some("{}"))]);
        assert!(matches!(outcomes[..], [WriteOutcome::Rejected(_), WriteOutcome::Written]));
        assert_eq!(lines.iter().filter(|byte| **byte == b'\n').count(), 1);
    }

    #[test]
    fn what_is_no_line_of_ours_is_not_taken_for_one() {
        for other in ["", "{}", "7", r#"{"index":"a","id":"1"}"#, r#"{"index":"a","id":"1","document":{}"#] {
            assert!(read(other.as_bytes()).is_none(), "{other}");
        }
    }
}
