//! Who compiles: a child process that can be stopped, or this process.

use std::ffi::OsString;
use std::path::PathBuf;

/// The argument by which docmill's own program knows that it is to compile.
pub const COMPILE_COMMAND: &str = "compile-component";

/// Who compiles components.
///
/// Compiling cannot be interrupted, and what a hostile component makes the compiler use is not bounded by the engine. Where
/// components are not trusted, a child process compiles them: it is killed at the limit `compile`, and the system holds it to the
/// limit `compile_memory`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Compiler {
    /// A thread of this process. One that takes too long is given up, but goes on in the background, and nothing bounds its memory.
    #[default]
    InProcess,
    /// A child process for each component. The program must do with these arguments, and nothing else, what
    /// [`compile_component`](crate::wasm::compile_component) does, and it must be built with the same docmill: what it answers is run.
    Child {
        /// The program's absolute path.
        program: PathBuf,
        /// Its arguments.
        arguments: Vec<OsString>,
    },
}

impl Compiler {
    /// The running program again, called with the one argument `compile-component`, as docmill's own program has it.
    pub fn this_program() -> Self {
        // On Linux this is the very file that runs, also when an upgrade has replaced it by another one.
        let linux = PathBuf::from("/proc/self/exe");
        let program = match linux.exists() {
            true => linux,
            false => std::env::current_exe().unwrap_or_else(|_| PathBuf::from("docmill")),
        };
        Self::Child { program, arguments: vec![COMPILE_COMMAND.into()] }
    }
}
