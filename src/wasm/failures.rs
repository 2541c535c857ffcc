//! Why a call ended without an answer, in the words and classes of the edges.
//!
//! What is ours (names, limits, the guest's function names) is the message; what the guest itself wrote may quote a row
//! and is the cause: bounded, escaped, and kept where only the quarantine record and an author's terminal show it.

use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};

use super::host::CallState;
use super::limiter::Met;
use super::limits::Limits;
use super::meter::Meter;
use super::printable::printable;
use crate::edges::{Failure, FailureClass};

/// A limit that a smaller call may not meet.
pub(super) fn over(what: &str, limit: &str, found: usize, allowed: usize) -> Failure {
    Failure::new(FailureClass::Oversize, format!("{what}: {found} is over the limit {limit} of {allowed}"))
        .with_advice(format!("if one document needs that much, raise {limit}"))
}

/// The wall clock ran out.
pub(super) fn wall(what: &str, limit: std::time::Duration) -> Failure {
    Failure::new(
        FailureClass::Time,
        format!("{what}: not done within the limit wall of {limit:?}, waiting for the database included"),
    )
    .with_advice(LESS.replace("NAME", "wall"))
}

const LESS: &str = "do less for one document, or raise NAME";

/// The guest answered with an error of its own.
pub(super) fn said(state: CallState, text: &str) -> Failure {
    let failure = match state.limiter.met() {
        // A guest that catches its failed allocation has met the limit all the same.
        Some(Met { limit, wanted, allowed }) => over(&state.what, limit, *wanted, *allowed),
        None => Failure::deterministic(format!("{}: it answered with an error", state.what)),
    };
    failure.with_source(words(state, text))
}

/// The call ended in a trap, or the engine ended it.
pub(super) fn ended(error: wasmtime::Error, mut state: CallState, meter: &Meter) -> Failure {
    if let Some(failure) = state.ended.take() {
        return failure;
    }
    let what = &state.what;
    if let Some(Met { limit, wanted, allowed }) = state.limiter.met() {
        let failure = over(what, limit, *wanted, *allowed);
        return failure.with_source(words(state, ""));
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return Failure::transient(format!("{what}: no room for another guest right now"))
            .with_source(Cause(printable(&format!("{error:#}"), TRACE_BYTES_MAX)));
    }
    let trap = error.downcast_ref::<Trap>().copied();
    if trap == Some(Trap::Interrupt) {
        let message =
            format!("{what}: {:?} are over the limit cpu of {:?}{}", meter.used(), state.limits.cpu, place(&error));
        let failure = Failure::new(FailureClass::Time, message).with_advice(LESS.replace("NAME", "cpu"));
        return failure.with_source(words(state, ""));
    }
    // The engine has no public type for it; a test holds its words.
    let cause = error.root_cause().to_string();
    if cause.contains("fuel allocated for hostcalls has been exhausted") {
        let message =
            format!("{what}: it handed over more than the limit bytes_from_guest of {}", state.limits.bytes_from_guest);
        let failure = Failure::new(FailureClass::Oversize, message)
            .with_advice("if one document needs that much, raise bytes_from_guest");
        return failure.with_source(words(state, ""));
    }
    if let Some(message) = over_count(&cause, &state.limits) {
        let failure = Failure::deterministic(format!("{what}: {message}"));
        return failure.with_advice("build it of fewer parts, or raise the limit").with_source(words(state, ""));
    }
    let why = match trap {
        Some(trap) => format!("it trapped: {}", trap.to_string().trim_start_matches("wasm trap: ")),
        None => printable(&cause, CAUSE_BYTES_MAX),
    };
    Failure::deterministic(format!("{what}: {why}{}", place(&error))).with_source(words(state, ""))
}

/// Limits on numbers of things that the engine itself counts; tests hold its words.
fn over_count(cause: &str, limits: &Limits) -> Option<String> {
    if cause.contains("store handle limit exceeded") {
        return Some(format!("it has more handles open than the limit handles of {}", limits.handles));
    }
    let (kind, found) = cause.strip_prefix("resource limit exceeded: ")?.split_once(" count too high at ")?;
    let (name, allowed) = match kind {
        "instance" => ("instances", limits.instances),
        "memory" => ("memories", limits.memories),
        "table" => ("tables", limits.tables),
        _ => return None,
    };
    Some(format!("{found} is over the limit {name} of {allowed}"))
}

/// Bytes of an engine's own words that are shown.
const CAUSE_BYTES_MAX: usize = 300;
/// Bytes of a guest's words that are kept, and of the backtrace that is shown.
const WORDS_BYTES_MAX: usize = 4 << 10;
const TRACE_BYTES_MAX: usize = 600;
/// Innermost functions of a backtrace that are shown.
const FRAMES_MAX: usize = 8;

/// Where in the guest it happened, as far as the component carries names.
fn place(error: &wasmtime::Error) -> String {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else {
        return String::new();
    };
    let frames = frames(&backtrace.to_string());
    match frames.is_empty() {
        true => String::new(),
        false => format!(", in {}", printable(&frames, TRACE_BYTES_MAX)),
    }
}

/// The engine prints a line for each function (`  0:  0x1d - module!function`) and one for its place in the source,
/// where that is known (`  at src/lib.rs:7:1`). Its way of printing is the only one that makes mangled names readable.
fn frames(backtrace: &str) -> String {
    let mut frames: Vec<String> = Vec::new();
    for line in backtrace.lines() {
        if let Some((_, function)) = line.split_once(" - ") {
            if frames.len() == FRAMES_MAX {
                break;
            }
            frames.push(function.rsplit_once('!').map_or(function, |(_, name)| name).trim().to_owned());
        } else if let (Some(frame), Some(place)) = (frames.last_mut(), line.trim().strip_prefix("at ")) {
            frame.push_str(&format!(" ({place})"));
        }
    }
    frames.join(" < ")
}

/// The guest's answer and the last lines it logged.
fn words(state: CallState, answer: &str) -> Words {
    let mut text = printable(answer, WORDS_BYTES_MAX);
    for line in state.log.into_last_lines() {
        if !text.is_empty() {
            text.push_str(" | ");
        }
        text.push_str(&line);
    }
    Words(match text.is_empty() {
        true => "it logged nothing".to_owned(),
        false => text,
    })
}

/// A guest's own words.
#[derive(Debug, thiserror::Error)]
#[error("it said: {0}")]
struct Words(String);

/// The engine's words, with its causes.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Cause(String);

impl Cause {
    /// What the compiler said in another process.
    pub(super) fn said(words: &str) -> Self {
        Self(printable(words.trim(), WORDS_BYTES_MAX))
    }
}

impl From<wasmtime::Error> for Cause {
    fn from(error: wasmtime::Error) -> Self {
        Self(printable(&format!("{error:#}"), WORDS_BYTES_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::frames;

    #[test]
    fn a_backtrace_becomes_the_names_of_its_functions() {
        let text = "error while executing at wasm backtrace:\n    0:   0x1d - shop.wasm!shop::products::assemble\n\
                    \x20                   at src/products.rs:7:1\n    1:   0x2f - <unknown>!run\n";
        assert_eq!(frames(text), "shop::products::assemble (src/products.rs:7:1) < run");
    }
}
