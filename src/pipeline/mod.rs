//! The flow: from changes to durable documents, read top to bottom in `run`.
//!
//! ```text
//!            front                                             back
//! capture ─▶ queue ─▶ batch ─▶ resolve ─▶ dispatch ─▶ │ ─▶ take ─▶ read ─▶ build ─▶ write ─▶ finish
//!    ▲                            ▲ passes ──┘        WorkQueue                                │
//!    └────────── ack ◀────────────┴───────────────────── │ ◀───────────────────────────────────┘
//! ```
//!
//! The two halves meet only at the [`WorkQueue`](crate::edges::WorkQueue); neither imports the other. The one thing that
//! flows back is the number of the last finished task, and to the source one position. [`ledger`] holds the
//! destination's state, which is all that a restart needs besides the slot.

pub mod back;
mod backoff;
mod failing;
mod front;
mod in_process;
pub mod ledger;
mod moment;
mod owner;
mod policy;
pub mod record;
mod run;
mod start;
mod tables;
mod tally;

// For benches/parts.rs.
pub use failing::{Failing, Side};
#[doc(hidden)]
pub use front::{ack::Watermark, batch::End};
// Between a shared stream and its pipelines it is the same queue.
pub(crate) use front::queue;
pub use in_process::InProcessQueue;
pub use owner::Owner;
pub use policy::{BatchPolicy, FailurePolicies, FlowLimits, OnRejected};
pub use run::Flow;
pub use tables::captured_tables;
pub use tally::Summary;
