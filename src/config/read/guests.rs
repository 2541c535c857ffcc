//! `[guests]`: what the builders of all pipelines have together.

use crate::config::GuestSettings;
use crate::config::table::Table;
use crate::wasm::CompiledCache;

/// More would need more address space than processors have.
const CALLS_AT_ONCE_MAX: u64 = 1_000;

pub(super) fn read(mut table: Table<'_, '_>) -> Option<GuestSettings> {
    let mut settings = defaults(&table);
    let mut fine = true;
    if let Some(entry) = table.get("calls_at_once") {
        match entry.count(1) {
            Some(calls) if calls <= CALLS_AT_ONCE_MAX => settings.calls_at_once = calls as usize,
            Some(_) => {
                entry.wrong(&format!("a number from 1 to {CALLS_AT_ONCE_MAX}"));
                fine = false;
            }
            None => fine = false,
        }
    }
    if let Some(entry) = table.get("compiled_cache") {
        match entry.text().as_deref() {
            Some("off") => settings.compiled_cache = None,
            Some(_) => match entry.path() {
                Some(directory) => settings.compiled_cache = Some(directory),
                None => fine = false,
            },
            None => fine = false,
        }
    }
    if let Some(entry) = table.get("compiled_cache_bytes") {
        match entry.size(0) {
            Some(bytes) => settings.compiled_cache_bytes = bytes,
            None => fine = false,
        }
    }
    table.finish();
    fine.then_some(settings)
}

/// Those of a file that says nothing.
pub(super) fn defaults(document: &Table<'_, '_>) -> GuestSettings {
    GuestSettings { compiled_cache: CompiledCache::of_user(document.reading.environment), ..GuestSettings::default() }
}
