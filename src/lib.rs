//! docmill
pub mod edges;
mod engine;
pub mod pipeline;
pub use engine::Engine;
pub mod model;
