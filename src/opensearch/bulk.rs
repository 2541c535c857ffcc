//! Bulk bodies: action lines that only we write, documents copied once, split by bytes and count. Plain functions.

use std::io::Write as _;

use super::names::write_alias;
use super::options::OpenSearchOptions;
use crate::edges::{Write, WriteOutcome};
use crate::model::{Rejection, is_deeper};

/// Bytes of an action line without id and index, about.
const ACTION_BYTES: usize = 160;

/// Bytes of an `_id`, as engines have it. One that is longer would fail the whole request.
const ID_BYTES_MAX: usize = 512;

/// What one request takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    pub writes: usize,
    /// Whether more writes would have been more bytes than it may have.
    pub full: bool,
}

/// How many of the first of these writes make one request of at most about that many bytes and that many writes; a large document
/// stands alone.
pub(super) fn first(writes: &[Write], bytes_max: usize, writes_max: usize) -> Share {
    let mut bytes = 0;
    for (place, write) in writes.iter().enumerate() {
        bytes += size(write);
        if place > 0 && bytes > bytes_max {
            return Share { writes: place, full: true };
        }
        if place >= writes_max.max(1) {
            return Share { writes: place, full: false };
        }
    }
    Share { writes: writes.len(), full: false }
}

fn size(write: &Write) -> usize {
    ACTION_BYTES + write.id.len() + write.generation.len() + write.document.as_ref().map_or(0, |bytes| bytes.len())
}

/// What becomes of a write that cannot be sent at all, because the engine would refuse its neighbours with it.
pub(super) fn unsendable(write: &Write, options: &OpenSearchOptions) -> Option<WriteOutcome> {
    let (bytes_max, depth_max) = (options.document_bytes_max, options.document_depth_max);
    let rejected = |kind: &str, reason: String| {
        Some(WriteOutcome::Rejected(Rejection { kind: kind.to_owned(), reason, detail: None }))
    };
    let bad_id = write.id.is_empty() || write.id.len() > ID_BYTES_MAX;
    let Some(document) = &write.document else {
        // What cannot be there is deleted.
        return bad_id.then_some(WriteOutcome::Written);
    };
    if bad_id {
        return rejected(
            "document_id",
            format!("an id of {} bytes, where 1 to {ID_BYTES_MAX} are allowed", write.id.len()),
        );
    }
    if document.len() > bytes_max {
        let reason = format!("{} bytes are more than document_bytes_max of {bytes_max}", document.len());
        return rejected("document_too_large", reason);
    }
    if is_deeper(document, depth_max) {
        return rejected("document_too_deep", format!("nested deeper than document_depth_max of {depth_max}"));
    }
    // A line break would begin another action: with it a document could write to indexes of others.
    if document.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count() > 0 {
        return rejected("document_not_one_line", "the document has a line break between its tokens".to_owned());
    }
    None
}

/// The body of one request.
pub fn encode(writes: &[Write]) -> Vec<u8> {
    let mut body = Vec::with_capacity(writes.iter().map(size).sum());
    for write in writes {
        action(write, &mut body);
        if let Some(document) = &write.document {
            body.extend_from_slice(document);
            body.push(b'\n');
        }
    }
    body
}

fn action(write: &Write, body: &mut Vec<u8>) {
    let verb: &[u8] = if write.document.is_some() { b"{\"index\":{\"_index\":" } else { b"{\"delete\":{\"_index\":" };
    body.extend_from_slice(verb);
    string(&write_alias(&write.generation), body);
    body.extend_from_slice(b",\"_id\":");
    string(&write.id, body);
    if let Some(routing) = &write.routing {
        body.extend_from_slice(b",\"routing\":");
        string(routing, body);
    }
    // Writing to a Vec cannot fail.
    let version = write.version.number();
    let _ = writeln!(body, ",\"version\":{version},\"version_type\":\"external_gte\"}}}}");
}

fn string(text: &str, body: &mut Vec<u8>) {
    // Escapes quotes and control characters, so that no id can end the line. Text as JSON into a Vec cannot fail.
    let _ = serde_json::to_writer(body, text);
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::Value;

    use super::*;
    use crate::model::{History, Position, Version};

    fn write(id: &str, document: Option<&str>) -> Write {
        Write {
            generation: "users-1".into(),
            id: id.to_owned(),
            routing: None,
            version: Version::new(History::FIRST, Position::new(7)),
            document: document.map(|text| Bytes::copy_from_slice(text.as_bytes())),
        }
    }

    #[test]
    fn an_id_cannot_break_out_of_its_line() {
        let writes = [write("a\"}}\n{\"delete\":{}}", None), write("b", Some("{\"x\":1}"))];
        let body = String::from_utf8(encode(&writes)).unwrap();
        let lines: Vec<&str> = body.lines().collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(
            lines[1],
            r#"{"index":{"_index":"users-1.Write","_id":"b","version":7,"version_type":"external_gte"}}"#
        );
        let action: Value = serde_json::from_str(lines[0]).unwrap();
        assert_eq!(action["delete"]["_id"], "a\"}}\n{\"delete\":{}}");
    }

    #[test]
    fn requests_are_split_by_count_and_by_bytes_and_hold_every_write_once() {
        let writes: Vec<Write> = (0..10).map(|id| write(&id.to_string(), Some("{}"))).collect();
        let requests = |bytes_max, writes_max| {
            let (mut rest, mut requests) = (&writes[..], Vec::new());
            while !rest.is_empty() {
                let share = first(rest, bytes_max, writes_max);
                requests.push((share.writes, share.full));
                rest = &rest[share.writes..];
            }
            requests
        };
        assert_eq!(requests(usize::MAX, 4), [(4, false), (4, false), (2, false)]);
        assert_eq!(requests(3 * size(&writes[0]), 100), [(3, true), (3, true), (3, true), (1, false)]);
        assert_eq!(requests(1, 100), [[(1, true); 9].as_slice(), &[(1, false)]].concat());
        assert_eq!(requests(usize::MAX, 0).len(), 10);
    }

    #[test]
    fn what_would_fail_its_neighbours_is_refused_alone() {
        let options =
            OpenSearchOptions { document_bytes_max: 10, document_depth_max: 2, ..OpenSearchOptions::default() };
        let kind = |write: &Write| match unsendable(write, &options) {
            Some(WriteOutcome::Rejected(rejection)) => rejection.kind,
            Some(WriteOutcome::Written) => "written".to_owned(),
            _ => String::new(),
        };
        let long = "i".repeat(513);
        assert_eq!(kind(&write(&long, Some("{}"))), "document_id");
        assert_eq!(kind(&write("", Some("{}"))), "document_id");
        assert_eq!(kind(&write("", None)), "written");
        assert_eq!(kind(&write("a", Some("{\"a\":12345}"))), "document_too_large");
        assert_eq!(kind(&write("a", Some("{\n}"))), "document_not_one_line");
        assert_eq!(kind(&write("a", Some("[[[]]]"))), "document_too_deep");
        for flat in ["[[],[],[]]", r#"{"a":"[["}"#, r#"["\"[[",1]"#, "[]]]"] {
            assert_eq!(kind(&write("a", Some(flat))), "", "{flat}");
        }
        assert_eq!(kind(&write(&"i".repeat(512), Some("{\"a\":1234}"))), "");
    }
}
