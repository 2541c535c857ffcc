//! `limits = { … }` of a pipeline: what one call of its builder may use.

use std::time::Duration;

use crate::config::table::Table;
use crate::wasm::Limits;

/// One page of WebAssembly memory; no component does with less.
const MEMORY_MIN: u64 = 64 << 10;
/// The host looks at the clock every 10 ms.
const CPU_MIN: Duration = Duration::from_millis(10);
const BYTES_MIN: u64 = 1 << 10;
/// With less the compiler does not even start.
const COMPILE_MEMORY_MIN: u64 = 64 << 20;

pub(super) fn read(mut table: Table<'_, '_>) -> Limits {
    let mut limits = Limits::default();
    if let Some(bytes) = size(&mut table, "memory", MEMORY_MIN) {
        // Whoever says a number means it, whatever form the rows have.
        (limits.memory_bytes, limits.json_memory_bytes) = (bytes, bytes);
    }
    let sizes: [(&'static str, u64, &mut usize); 8] = [
        ("bytes_from_guest", BYTES_MIN, &mut limits.bytes_from_guest),
        ("bytes_to_guest", BYTES_MIN, &mut limits.bytes_to_guest),
        ("document", BYTES_MIN, &mut limits.document_bytes),
        ("log", 0, &mut limits.log_bytes),
        ("log_line", 0, &mut limits.log_line_bytes),
        ("log_per_second", 0, &mut limits.log_bytes_per_second),
        ("component", BYTES_MIN, &mut limits.component_bytes),
        ("compile_memory", COMPILE_MEMORY_MIN, &mut limits.compile_memory_bytes),
    ];
    for (key, least, limit) in sizes {
        if let Some(bytes) = size(&mut table, key, least) {
            *limit = bytes;
        }
    }
    let counts: [(&'static str, u64, &mut usize); 9] = [
        ("table_elements", 1, &mut limits.table_elements),
        ("tables", 1, &mut limits.tables),
        ("memories", 1, &mut limits.memories),
        ("instances", 1, &mut limits.instances),
        ("handles", 0, &mut limits.handles),
        ("document_depth", 1, &mut limits.document_depth),
        ("queries", 0, &mut limits.queries),
        ("rows", 1, &mut limits.rows),
        ("resolved_ids", 1, &mut limits.resolved_ids),
    ];
    for (key, least, limit) in counts {
        if let Some(count) = table.get(key).and_then(|entry| entry.count(least)) {
            *limit = count as usize;
        }
    }
    let times = [("cpu", &mut limits.cpu), ("wall", &mut limits.wall), ("compile", &mut limits.compile)];
    for (key, limit) in times {
        if let Some(time) = table.get(key).and_then(|entry| entry.duration(CPU_MIN)) {
            *limit = time;
        }
    }
    table.finish();
    limits
}

fn size(table: &mut Table<'_, '_>, key: &'static str, least: u64) -> Option<usize> {
    let bytes = table.get(key)?.size(least)?;
    Some(usize::try_from(bytes).unwrap_or(usize::MAX))
}
