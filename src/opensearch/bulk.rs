//! Bulk bodies: action lines that only we write, documents copied once, split by bytes and count. Plain functions.

use std::ops::Range;

use serde_json::Value;

use crate::edges::Write;

/// Bytes of an action line without id and index, about.
const ACTION_BYTES: usize = 160;

/// Cuts writes into requests of at most about that many bytes and that many writes; a large document stands alone.
pub(super) fn plan(writes: &[Write], bytes_max: usize, writes_max: usize) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (place, write) in writes.iter().enumerate() {
        let size = size(write);
        if place > start && (bytes + size > bytes_max || place - start >= writes_max.max(1)) {
            ranges.push(start..place);
            (start, bytes) = (place, 0);
        }
        bytes += size;
    }
    if start < writes.len() {
        ranges.push(start..writes.len());
    }
    ranges
}

fn size(write: &Write) -> usize {
    ACTION_BYTES + write.id.len() + write.generation.len() + write.document.as_ref().map_or(0, |bytes| bytes.len())
}

/// The body of one request.
pub(super) fn encode(writes: &[Write]) -> Vec<u8> {
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
    let verb = if write.document.is_some() { "index" } else { "delete" };
    body.extend_from_slice(format!("{{\"{verb}\":{{\"_index\":").as_bytes());
    string(&write.generation, body);
    body.extend_from_slice(b",\"_id\":");
    string(&write.id, body);
    if let Some(routing) = &write.routing {
        body.extend_from_slice(b",\"routing\":");
        string(routing, body);
    }
    let version = write.version.number();
    body.extend_from_slice(format!(",\"version\":{version},\"version_type\":\"external_gte\"}}}}\n").as_bytes());
}

fn string(text: &str, body: &mut Vec<u8>) {
    // Escapes quotes and control characters, so that no id can end the line.
    body.extend_from_slice(Value::from(text).to_string().as_bytes());
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

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
        assert_eq!(lines[1], r#"{"index":{"_index":"users-1","_id":"b","version":7,"version_type":"external_gte"}}"#);
        let action: Value = serde_json::from_str(lines[0]).unwrap();
        assert_eq!(action["delete"]["_id"], "a\"}}\n{\"delete\":{}}");
    }

    #[test]
    fn requests_are_split_by_count_and_by_bytes_and_hold_every_write_once() {
        let writes: Vec<Write> = (0..10).map(|id| write(&id.to_string(), Some("{}"))).collect();
        assert_eq!(plan(&writes, usize::MAX, 4), [0..4, 4..8, 8..10]);
        assert_eq!(plan(&writes, 1, 100).len(), 10);
        assert!(plan(&[], 1, 1).is_empty());
    }
}
