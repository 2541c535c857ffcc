//! Compiling in a child process: our own program again, with limits that the system holds it to.
//!
//! ```text
//! fork ─ limits, lower priority ─ exec with nothing in its environment
//!   stdin:  length, component; stays open: closed, the child ends, however we ended
//!   stdout: native code, or why not        stderr: what it says when it crashes
//! at the limit `compile`, or when nobody waits any more: killed, and reaped
//! ```

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use super::inside::REFUSED;
use super::refused;
use crate::edges::Failure;
use crate::wasm::failures::Cause;
use crate::wasm::limits::Limits;

/// Bytes of native code that a child may answer with.
const COMPILED_BYTES_MAX: u64 = 512 << 20;
/// Bytes that are kept of what a crashing child says.
const SAID_BYTES_MAX: u64 = 4 << 10;
/// Standard streams, and what its runtime opens for a moment.
const FILES_MAX: libc::rlim_t = 32;
/// Address space besides `compile_memory`: the program itself, and what allocators reserve for each thread without using it.
const ADDRESS_SPACE_BESIDES: u64 = 1 << 30;
const ADDRESS_SPACE_PER_THREAD: u64 = 160 << 20;
/// Below the guests, which are below everything else.
const NICE: i32 = 10;

/// Native code of a component, made by `program`.
///
/// # Errors
///
/// `Fatal`: refused by the compiler, over `compile` or `compile_memory`, crashed, or not to be started.
pub(super) async fn compile(
    program: &Path,
    arguments: &[OsString],
    what: &str,
    bytes: &[u8],
    limits: &Limits,
) -> Result<Vec<u8>, Failure> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    confine(&mut command, limits);
    let not_started = |error: io::Error| {
        Failure::fatal(format!("{what}: the compiler {} could not be started", program.display()))
            .with_advice("see that the program is there and that this process may start another one")
            .with_source(error)
    };
    let mut child = command.spawn().map_err(not_started)?;
    let streams = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(mut input), Some(output), Some(errors)) = streams else {
        return Err(not_started(io::Error::other("it has no standard streams")));
    };
    let work = async {
        let feed = async move {
            // One that ended before it has read everything says why by how it ended.
            let _ = input.write_all(&(bytes.len() as u64).to_le_bytes()).await;
            let _ = input.write_all(bytes).await;
            let _ = input.flush().await;
            input
        };
        let (_open, answer, said) = tokio::join!(feed, read(output, COMPILED_BYTES_MAX), read(errors, SAID_BYTES_MAX));
        let status = child.wait().await?;
        Ok::<_, io::Error>((status, answer?, said?))
    };
    match tokio::time::timeout(limits.compile, work).await {
        Ok(Ok((status, answer, said))) => answered(what, limits, status, answer, &said),
        Ok(Err(error)) => Err(Failure::fatal(format!("{what}: what the compiler answers could not be read"))
            .with_advice("load it again")
            .with_source(error)),
        Err(_) => {
            // Waits until it is gone.
            let _ = child.kill().await;
            Err(too_long(what, limits.compile))
        }
    }
}

/// Everything until its end, or a byte more than `bytes_max`.
async fn read(stream: impl AsyncRead + Unpin, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stream.take(bytes_max + 1).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

fn answered(what: &str, limits: &Limits, status: ExitStatus, answer: Vec<u8>, said: &[u8]) -> Result<Vec<u8>, Failure> {
    if answer.len() as u64 > COMPILED_BYTES_MAX {
        let message = format!("{what}: its native code is over {COMPILED_BYTES_MAX} bytes");
        return Err(Failure::fatal(message).with_advice("make the component smaller"));
    }
    if status.success() {
        return Ok(answer);
    }
    let refusal = match status.code() {
        Some(code) if code == i32::from(REFUSED) => Some(String::from_utf8_lossy(&answer).into_owned()),
        _ => None,
    };
    let said = String::from_utf8_lossy(said);
    if out_of_memory(refusal.as_deref().unwrap_or(&said)) {
        let limit = limits.compile_memory_bytes;
        return Err(Failure::fatal(format!(
            "{what}: compiling it needs more memory than the limit compile_memory_bytes of {limit}"
        ))
        .with_advice(SMALLER.replace("NAME", "compile_memory")));
    }
    match (refusal, status.signal()) {
        (Some(refusal), _) => Err(refused(what, Cause::said(&refusal))),
        (None, Some(libc::SIGXCPU)) => Err(too_long(what, limits.compile)),
        (None, Some(libc::SIGKILL)) => Err(Failure::fatal(format!("{what}: its compiler was killed from outside"))
            .with_advice("see whether the system ran out of memory; lower compile_memory if it did")
            .with_source(Cause::said(&said))),
        (None, _) => Err(Failure::fatal(format!("{what}: it crashes the compiler ({status})"))
            .with_advice("it may be hostile or damaged: do not run it where its author is not trusted")
            .with_source(Cause::said(&said))),
    }
}

const SMALLER: &str = "make the component or its largest functions smaller, or raise `NAME` in the pipeline's limits";

pub(super) fn too_long(what: &str, limit: Duration) -> Failure {
    Failure::fatal(format!("{what}: compiling it takes longer than the limit compile of {limit:?}"))
        .with_advice(SMALLER.replace("NAME", "compile"))
}

/// By the words of Rust's allocator and of the system: neither has anything better.
fn out_of_memory(said: &str) -> bool {
    ["memory allocation of", "Cannot allocate memory", "out of memory"].iter().any(|words| said.contains(words))
}

/// Limits that hold from before the first instruction of the child.
fn confine(command: &mut Command, limits: &Limits) {
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
    let memory = limits.compile_memory_bytes as u64;
    let address_space = memory + ADDRESS_SPACE_BESIDES + threads * ADDRESS_SPACE_PER_THREAD;
    // The clock ends it first, unless our process is stopped.
    let cpu_seconds = (limits.compile.as_secs() + 2) * threads;
    let wanted = [
        (libc::RLIMIT_AS, address_space as libc::rlim_t),
        (libc::RLIMIT_DATA, memory as libc::rlim_t),
        (libc::RLIMIT_CPU, cpu_seconds as libc::rlim_t),
        (libc::RLIMIT_CORE, 0),
        (libc::RLIMIT_FSIZE, 0),
        (libc::RLIMIT_NOFILE, FILES_MAX),
    ];
    let apply = move || {
        for (resource, limit) in wanted {
            let mut held = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            // SAFETY: both calls take a number and a struct that outlives them, and are async-signal-safe in practice: system calls.
            let code = unsafe {
                libc::getrlimit(resource, &mut held);
                let limit = limit.min(held.rlim_max);
                libc::setrlimit(resource, &libc::rlimit { rlim_cur: limit, rlim_max: limit })
            };
            if code != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        // SAFETY: takes plain numbers. A refusal changes nothing.
        unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
        Ok(())
    };
    // SAFETY: between fork and exec the closure makes system calls only and allocates nothing.
    unsafe { command.pre_exec(apply) };
}
