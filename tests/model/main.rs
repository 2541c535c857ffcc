//! The delivery protocol as an executable model.

mod check;
mod flow;
mod destinations;
mod history;
mod list;
mod order;
mod owner;
mod passes;
mod quarantine;
mod watermark;
