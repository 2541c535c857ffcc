//! docmill
pub mod edges;
mod engine;
pub mod model;
pub mod pipeline;
pub mod wasm;
pub use engine::Engine;
