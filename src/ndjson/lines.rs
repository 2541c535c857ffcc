//! The lines themselves: making them, and reading a file of them back. Plain functions.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::edges::Write;
use crate::model::QuarantineRecord;

/// Appends the line of one write.
pub(super) fn push(write: &Write, lines: &mut Vec<u8>) {
    let text = |text: &str| Value::from(text).to_string();
    let head = format!(
        "{{\"index\":{},\"id\":{},\"version\":\"{}\",",
        text(&write.generation),
        text(&write.id),
        write.version.number()
    );
    lines.extend_from_slice(head.as_bytes());
    match &write.document {
        Some(document) => {
            lines.extend_from_slice(b"\"document\":");
            lines.extend_from_slice(document);
        }
        None => lines.extend_from_slice(b"\"deleted\":true"),
    }
    lines.extend_from_slice(b"}\n");
}

/// The line of a rejected document.
pub(super) fn quarantined(record: &QuarantineRecord) -> String {
    let line = json!({
        "index": record.document.index,
        "id": record.document.id,
        "version": record.version.number().to_string(),
        "builder_version": record.builder_version,
        "kind": record.rejection.kind,
        "reason": record.rejection.reason,
        "detail": record.rejection.detail,
        "at_ms": record.at_ms,
    });
    format!("{line}\n")
}

/// Where the last whole line of a file ends: behind it there is what a crash left of a line.
pub(super) fn whole_lines_end(file: &mut File) -> io::Result<u64> {
    const PIECE: u64 = 64 << 10;
    let mut end = file.seek(SeekFrom::End(0))?;
    let mut buffer = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(PIECE);
        file.seek(SeekFrom::Start(start))?;
        buffer.clear();
        file.by_ref().take(end - start).read_to_end(&mut buffer)?;
        if let Some(place) = buffer.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + place as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// The ids of an index whose last line is a document, in order.
pub(super) fn live_ids(file: File, index: &str) -> io::Result<BTreeSet<String>> {
    #[derive(Deserialize)]
    struct Line {
        index: String,
        id: String,
        #[serde(default)]
        deleted: bool,
    }
    let mut ids = BTreeSet::new();
    for line in BufReader::new(file).split(b'\n') {
        let line: Line = serde_json::from_slice(&line?).map_err(io::Error::from)?;
        if line.index != index {
            continue;
        }
        if line.deleted {
            ids.remove(&line.id);
        } else {
            ids.insert(line.id);
        }
    }
    Ok(ids)
}
