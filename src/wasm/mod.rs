//! The user's builder as a sandboxed WebAssembly component. Rows come through a trait of the edges; generated types stay here.
//!
//! | lifetime | holds | file |
//! |---|---|---|
//! | process | the engine with its pool, the thread that ticks, the guests' own threads | `runtime` |
//! | builder version | the compiled component with its exports checked, its declaration, its limits | `component`, `builder` |
//! | call | a store with its limiter and meters; fresh for every call, dropped after it | `instance` |
//!
//! What crosses is converted in `convert`, what comes back is checked in `check`, what a guest may call is in `host`.

mod bindings;
mod builder;
mod check;
mod component;
mod convert;
mod descriptor;
mod host;
mod instance;
mod limits;
mod runtime;

pub use builder::WasmBuilder;
pub use limits::Limits;
pub use runtime::{Runtime, RuntimeOptions};
