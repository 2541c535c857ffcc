//! The tests of docmill, by subject; against real servers that they start themselves. `tests/run` runs them with all they need.

mod pgoutput;
mod shop;
mod support;
mod tidy;
