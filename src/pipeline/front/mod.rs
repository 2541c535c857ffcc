//! The front half: from the stream of changes to tasks, and from finished tasks to the confirmed position.
//!
//! ```text
//! ChangeStream ─▶ capture ─▶ queue ─▶ batch ─▶ resolve ─▶ dispatch ─▶ WorkQueue
//!      ▲  confirm                                ▲            ▲            │ finished
//!      └──────────────── ack ◀── watermark ◀─────┼── done ────┴────────────┘
//!                                             passes (chunks of ids, beside the live changes)
//! ```
//!
//! The order is held by types: a [`Batch`](batch::Batch) is consumed by resolve, a [`Resolved`](resolve::Resolved) by
//! dispatch, and only what dispatch answers can move the watermark.

pub(super) mod ack;
pub(super) mod batch;
pub(super) mod capture;
pub(super) mod dispatch;
mod hands;
pub(super) mod index_watch;
mod late;
pub(super) mod passes;
pub(crate) mod queue;
pub(super) mod resolve;
pub(super) mod slot_watch;
pub(super) mod unresolved;
