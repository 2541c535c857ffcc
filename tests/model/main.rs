//! The delivery protocol as an executable model.

mod check;
mod flow;
mod history;
mod list;
mod order;
mod passes;
mod quarantine;
mod watermark;
