//! docmill
pub mod edges;
pub mod embedded;
mod engine;
pub mod model;
pub mod ndjson;
pub mod opensearch;
pub mod pipeline;
pub mod postgres;
pub mod wasm;
pub use engine::Engine;
