//! Many pipelines in one process: they share one record of changes, which is decoded once, and none of them holds up another.
//!
//! ```text
//! slot ─▶ driver ─┬▶ queue of a ─▶ stream of a ─▶ its flow        a full queue holds up the others for a moment, then its
//!                 ├▶ queue of b ─▶ stream of b ─▶ its flow        pipeline goes on by itself:
//!                 └  nothing concerns c: it is told now and then how far the others are
//! copy of the slot ───────────────▶ stream of d ─▶ its flow       and joins the others again when it has caught up
//! ```
//!
//! Each pipeline confirms for itself; the slot is confirmed up to the smallest of them. Where one begins is decided by the same
//! comparison as with a slot of its own (`pipeline/start.rs`): a stream says up to where it is confirmed, and whoever has less
//! than that assembles everything again. So letting somebody in, parking and returning cannot lose anything; they can only cost
//! a pass.
//!
//! | a pipeline | what happens |
//! |---|---|
//! | comes while the others begin | begins with them, where the slot is confirmed |
//! | comes later, and misses nothing, or was never fed | is let in where the others are |
//! | comes later, and its tables are new, or it misses little | the slot is read again from where it is confirmed; the others skip what they had |
//! | misses more | catches up on a copy of the slot |
//! | has had a full queue for `detach_after` | goes on, on a copy of the slot, at its own pace |
//! | is on a copy and `join_within` behind | writes a marker; both streams bring it, and there it changes over |
//! | keeps more than `max_lag` | is parked: nothing is kept for it. When it can, it joins at the present and assembles everything again |

mod apart;
mod capture;
mod commands;
mod copies;
mod driver;
mod everyone;
mod joining;
mod options;
mod place;
mod pump;
mod stream;

pub use capture::SharedCapture;
pub use options::SharingOptions;
