//! What the compiling child does: a component in, native code out, and nothing else.

use std::io::{Read, Write};
use std::process::ExitCode;

use wasmtime::Engine;

use crate::wasm::engine;

/// The exit code with which a component is refused; standard output then holds why.
pub(super) const REFUSED: u8 = 3;
/// Its parent is gone, or did not hand over what it said.
const ABANDONED: u8 = 4;

/// Bytes of a refusal that are said.
const REFUSAL_BYTES_MAX: usize = 8 << 10;

/// Compiles the component on standard input (eight bytes of its length, least first, and its bytes) and writes the native code to
/// standard output. Ends when standard input ends before that: then whoever asked is gone.
///
/// For a program that says [`Compiler::Child`](crate::wasm::Compiler::Child) with itself.
pub fn compile_component() -> ExitCode {
    let mut input = std::io::stdin();
    let mut length = [0; 8];
    let mut bytes = Vec::new();
    let handed_over = input.read_exact(&mut length).and_then(|()| {
        let length = u64::from_le_bytes(length);
        (&mut input).take(length).read_to_end(&mut bytes).map(|read| read as u64 == length)
    });
    if !matches!(handed_over, Ok(true)) {
        return ExitCode::from(ABANDONED);
    }
    // However the parent ends, its end of the pipe is closed with it.
    let watching = std::thread::Builder::new().name("docmill-parent".to_owned()).spawn(move || {
        let _ = input.read(&mut [0]);
        std::process::exit(i32::from(ABANDONED));
    });
    if watching.is_err() {
        return ExitCode::from(ABANDONED);
    }
    let compiled = Engine::new(&engine::code()).and_then(|engine| engine.precompile_component(&bytes));
    let (code, mut answer) = match compiled {
        Ok(native) => (0, native),
        Err(error) => (REFUSED, format!("{error:#}").into_bytes()),
    };
    if code == REFUSED {
        answer.truncate(REFUSAL_BYTES_MAX);
    }
    let mut output = std::io::stdout();
    match output.write_all(&answer).and_then(|()| output.flush()) {
        Ok(()) => ExitCode::from(code),
        Err(_) => ExitCode::from(ABANDONED),
    }
}
