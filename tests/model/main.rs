//! The delivery protocol as an executable model.

mod check;
mod flow;
mod list;
