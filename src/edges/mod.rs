//! The edges: the traits that the flow calls, and nothing else. It knows only [`crate::model`].
//!
//! ```text
//! ChangeCapture ──▶ front half ──▶ WorkQueue ──▶ back half ──▶ Sink
//!      │ RowReader ──▲    ▲                        ▲   ▲          │ IndexAdmin, State
//!      └─────────────┴────┼── DocumentBuilder ─────┘   └ RowReader┘
//!                         └── Observer: told of everything, asked for nothing
//! ```
//!
//! Methods take batches, so that calling through `dyn` costs nothing that can be measured. Every error is a
//! [`Failure`]; its class says what the flow does.

mod change_capture;
mod document_builder;
mod failure;
mod fair_share;
mod finding;
mod index_admin;
mod observer;
mod ownership;
mod row_reader;
mod sink;
mod state;
mod work_queue;

pub use change_capture::{
    CaptureEvent, CapturedTable, Catalog, ChangeCapture, ChangeStream, Lost, OnLostSlot, OpenRequest, SlotReport,
    StreamStart,
};
pub use document_builder::{AssembleRequest, DocumentBuilder};
pub use failure::{Failure, FailureClass};
pub use fair_share::{FairShare, Permit, Shares, Tenant};
pub use finding::{Finding, Severity};
pub use index_admin::{Generation, HeldId, IdPage, IndexAdmin};
pub use observer::{Observer, PassReport, Silent, Waiting, Written};
pub use ownership::{Ownership, SoleOwner};
pub use row_reader::{Chunk, IdCursor, QuerySet, RowReader, Snapshot};
pub use sink::{Sink, Write, WriteOutcome};
pub use state::{MemoryState, Revision, State};
pub use work_queue::{Lease, Settled, TaskReport, Ticket, WorkQueue};
