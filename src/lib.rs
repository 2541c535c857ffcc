//! docmill
pub mod model;
pub mod edges;
pub mod pipeline;
mod engine;
pub mod wasm;
pub use engine::Engine;
