//! The words of docmill as plain types: no I/O, no async, and no other module of this crate.
//!
//! | word | type |
//! |---|---|
//! | position: a WAL location | [`Position`] |
//! | change: one row inserted, updated, deleted, or a table truncated | [`Change`] |
//! | what the builder declares | [`Declaration`] |
//! | rows as columns | [`Rows`] |
//! | resolve: changes to ids | [`Affected`] |
//! | assemble: ids to documents | [`Outcome`] |
//! | the order in which one document's writes win | [`Version`] |
//! | the work of the back half, as data | [`Task`] |
//! | documents that are assembled again in the background | [`Pass`] |
//! | what a destination remembers in its own sink | [`StateDocument`] |

mod change;
mod declaration;
mod document;
mod pass;
mod position;
mod query;
mod rows;
mod state;
mod task;
mod value;
mod version;

pub use change::{Change, ChangeKind, OldRow, Relation, RelationColumn, TableName};
pub use declaration::{BuilderVersion, Columns, Declaration, IndexDeclaration, Routing, RowForm, TableDeclaration};
pub use document::{DocumentId, Outcome, QuarantineRecord, Rejection, is_deeper};
pub use pass::{Pass, PassProgress, PassReason, PassSet};
pub use position::{ParsePositionError, Position};
pub use query::{Affected, Query};
pub use rows::{Cells, Column, ColumnBuilder, RowCountMismatch, Rows, Texts};
pub use state::{GenerationState, SourceIdentity, StateDocument};
pub use task::{Origin, Task};
pub use value::{CellKind, Row, Value};
pub use version::{History, Version};
