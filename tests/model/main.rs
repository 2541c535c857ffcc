//! The delivery protocol as an executable model: the specification of what `src/pipeline` does, explored exhaustively
//! within small bounds. With all rules on, no end that can be reached differs from the rows; without any one of them
//! the shortest way to a wrong end is printed (`cargo test --test model -- --nocapture`).
//!
//! | file | about |
//! |---|---|
//! | `flow/` | one document: fence, label, one hand, late window, crash, change of builder, sweep |
//! | `order.rs` | transactions are published in commit order |
//! | `watermark.rs` | ends of transactions, contiguous prefix, confirmed position |
//! | `destinations.rs` | several destinations on one slot: checkpoint, comparison at a start |
//! | `owner.rs` | two processes on one destination: compare-and-set, proof of ownership |
//! | `passes.rs` | passes asked for again while they run |
//! | `history.rs` | positions that go back: fail-overs, a source that crashed and lost commits |
//! | `quarantine.rs` | records of refused documents |
//! | `resolve.rs` | which keys must be in the replica identity |
//!
//! `check.rs` explores with the crate `stateright`; `list.rs` is a list inside a state. A model is a
//! [`check::Protocol`]: states of few bytes, steps with their guards and effects, what is wrong, and each step in plain
//! words.

mod check;
mod destinations;
mod flow;
mod history;
mod list;
mod order;
mod owner;
mod passes;
mod quarantine;
mod resolve;
mod watermark;
