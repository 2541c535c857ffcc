//! docmill
pub mod edges;
pub mod model;
