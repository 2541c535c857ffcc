//! What the machine can do at most, measured in the same run.

pub mod load;
pub mod perfect;
pub mod slot;
