//! docmill
pub mod edges;
mod engine;
pub mod model;
pub mod pipeline;
pub mod postgres;
pub mod embedded;
pub mod wasm;
pub use engine::Engine;
