//! Why a call ended without an answer, in the words and classes of the edges.
//!
//! What is ours (names, limits, the guest's function names) is the message; what the guest itself wrote may quote a row
//! and stands beside it: bounded, escaped, and kept where only the quarantine record and an author's terminal show it.

use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};

use super::host::CallState;
use super::limiter::Met;
use super::limits::{Limits, setting};
use super::meter::Meter;
use super::printable::printable;
use crate::edges::{Failure, FailureClass, GuestEnd};

/// A limit that a smaller call may not meet.
pub(super) fn over(what: &str, limit: &'static str, found: usize, allowed: usize) -> Failure {
    Failure::new(FailureClass::Oversize, format!("{what}: {found} is over the limit {limit} of {allowed}"))
        .of_guest(GuestEnd::Limit(limit))
        .with_advice(raise(limit))
}

/// What to do about a limit that was met.
fn raise(limit: &str) -> String {
    let setting = setting(limit);
    format!("if one document or row needs that much, raise `{setting}` in the pipeline's `limits`")
}

/// It stood in line for a processor for too long, which is nobody's fault in there.
pub(super) fn starved(what: &str, limit: std::time::Duration) -> Failure {
    Failure::transient(format!("{what}: not done in {limit:?}, most of which it waited for a processor"))
        .with_advice("the machine has more to do than it can; long calls are the last to run")
}

/// The wall clock ran out.
pub(super) fn wall(what: &str, limit: std::time::Duration) -> Failure {
    Failure::new(
        FailureClass::Time,
        format!("{what}: not done within the limit wall of {limit:?}, waiting for the database included"),
    )
    .of_guest(GuestEnd::Limit("wall"))
    .with_advice(format!("see whether its queries are slow or wait for a lock; {}", raise("wall")))
}

/// The guest answered with an error of its own.
pub(super) fn said(state: CallState, text: &str) -> Failure {
    let failure = match state.limiter.met() {
        // A guest that catches its failed allocation has met the limit all the same.
        Some(Met { limit, wanted, allowed }) => over(&state.what, limit, *wanted, *allowed),
        None => Failure::deterministic(format!("{}: it answered with an error", state.what)).of_guest(GuestEnd::Error),
    };
    failure.with_words(words(state, text))
}

/// The call ended in a trap, or the engine ended it.
pub(super) fn ended(error: wasmtime::Error, mut state: CallState, meter: &Meter) -> Failure {
    if let Some(failure) = state.ended.take() {
        return failure;
    }
    let what = &state.what;
    if let Some(Met { limit, wanted, allowed }) = state.limiter.met() {
        let failure = over(what, limit, *wanted, *allowed);
        return failure.with_words(words(state, ""));
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return Failure::transient(format!("{what}: no room for another guest right now"))
            .with_source(Cause(printable(&format!("{error:#}"), TRACE_BYTES_MAX)));
    }
    let trap = error.downcast_ref::<Trap>().copied();
    if trap == Some(Trap::Interrupt) {
        let message =
            format!("{what}: {:?} are over the limit cpu of {:?}{}", meter.used(), state.limits.cpu, place(&error));
        let failure = Failure::new(FailureClass::Time, message).of_guest(GuestEnd::Limit("cpu"));
        return failure.with_advice(raise("cpu")).with_words(words(state, ""));
    }
    // The engine has no public type for it; a test holds its words.
    let cause = error.root_cause().to_string();
    if cause.contains("fuel allocated for hostcalls has been exhausted") {
        let message =
            format!("{what}: it handed over more than the limit bytes_from_guest of {}", state.limits.bytes_from_guest);
        let failure = Failure::new(FailureClass::Oversize, message).of_guest(GuestEnd::Limit("bytes_from_guest"));
        return failure.with_advice(raise("bytes_from_guest")).with_words(words(state, ""));
    }
    if let Some((limit, message)) = over_count(&cause, &state.limits) {
        let failure = Failure::deterministic(format!("{what}: {message}")).of_guest(GuestEnd::Limit(limit));
        let advice = format!("build it of fewer parts, or raise `{}` in the pipeline's `limits`", setting(limit));
        return failure.with_advice(advice).with_words(words(state, ""));
    }
    let (why, end) = match trap {
        Some(trap) => {
            let why = format!("it trapped: {}", trap.to_string().trim_start_matches("wasm trap: "));
            (why, GuestEnd::Trap(trap_name(trap)))
        }
        // What it handed over is no value of the contract's types.
        None => (printable(&cause, CAUSE_BYTES_MAX), GuestEnd::Answer),
    };
    Failure::deterministic(format!("{what}: {why}{}", place(&error))).of_guest(end).with_words(words(state, ""))
}

/// The word that a trap is counted by.
fn trap_name(trap: Trap) -> &'static str {
    match trap {
        Trap::UnreachableCodeReached => "unreachable",
        Trap::StackOverflow => "stack_overflow",
        Trap::MemoryOutOfBounds => "memory_out_of_bounds",
        Trap::TableOutOfBounds => "table_out_of_bounds",
        Trap::IndirectCallToNull => "null_call",
        Trap::BadSignature => "bad_signature",
        Trap::IntegerOverflow => "integer_overflow",
        Trap::IntegerDivisionByZero => "division_by_zero",
        Trap::BadConversionToInteger => "bad_conversion",
        _ => "other",
    }
}

/// Limits on numbers of things that the engine itself counts; tests hold its words.
fn over_count(cause: &str, limits: &Limits) -> Option<(&'static str, String)> {
    if cause.contains("store handle limit exceeded") {
        return Some(("handles", format!("it has more handles open than the limit handles of {}", limits.handles)));
    }
    let (kind, found) = cause.strip_prefix("resource limit exceeded: ")?.split_once(" count too high at ")?;
    let (name, allowed) = match kind {
        "instance" => ("instances", limits.instances),
        "memory" => ("memories", limits.memories),
        "table" => ("tables", limits.tables),
        _ => return None,
    };
    Some((name, format!("{found} is over the limit {name} of {allowed}")))
}

/// Bytes of an engine's own words that are shown.
const CAUSE_BYTES_MAX: usize = 300;
/// Bytes of a guest's words that are kept, and of the backtrace that is shown.
const WORDS_BYTES_MAX: usize = 4 << 10;
const TRACE_BYTES_MAX: usize = 600;
/// Bytes of a guest's words and log lines together that go with a failure, whatever the limits on lines are.
const SAID_BYTES_MAX: usize = 8 << 10;
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
fn words(state: CallState, answer: &str) -> String {
    let mut text = printable(answer, WORDS_BYTES_MAX);
    for line in state.log.into_last_lines() {
        if !text.is_empty() {
            text.push_str(" | ");
        }
        text.push_str(&line);
    }
    if text.len() > SAID_BYTES_MAX {
        let end = (0..=SAID_BYTES_MAX).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    match text.is_empty() {
        true => "nothing".to_owned(),
        false => text,
    }
}

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
