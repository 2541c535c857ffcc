//! The user's builder as a sandboxed WebAssembly component. Rows come through a trait of the edges; generated types
//! stay here.
//!
//! | lifetime | holds | files |
//! |---|---|---|
//! | process | the engine with its pool, the thread that ticks, the guests' own threads | `runtime`, `engine`, `compile` |
//! | builder version | the compiled component, its declaration, its limits | `component`, `descriptor`, `builder` |
//! | call | a store with its limiter and meters; fresh for every call, dropped after it | `call`, `lane`, `host`, `reading` |
//!
//! What crosses is converted in `convert`; what comes back is checked in `check`, `document` and `descriptor` before
//! anyone else sees it; why a call ended is put into words and classes in `failures`.

mod bindings;
mod builder;
mod call;
mod check;
mod compile;
mod component;
mod convert;
mod declaration_check;
mod descriptor;
mod document;
mod engine;
mod failures;
mod guest;
mod guest_log;
mod host;
mod json_rows;
mod lane;
mod limiter;
mod limits;
mod limits_met;
mod meter;
mod printable;
mod reading;
mod runtime;
mod version;
mod waiting;

pub use builder::WasmBuilder;
pub use compile::{COMPILE_COMMAND, CompiledCache, Compiler, compile_component};
pub use limits::Limits;
pub use runtime::{Runtime, RuntimeOptions};
