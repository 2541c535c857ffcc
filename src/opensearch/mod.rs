//! OpenSearch and Elasticsearch as a sink: documents through `_bulk` with external versions, indexes behind aliases, state in
//! an index of its own. Types of HTTP stay here.
//!
//! ```text
//! Write ─▶ bulk (bodies, split by bytes and count) ─▶ client ─▶ answer (one outcome an item) ─▶ WriteOutcome
//! ```

mod answer;
mod bulk;
mod check;
mod client;
mod flight;
mod generations;
mod mapping;
mod options;
mod quarantine;
mod sink;
mod state;
mod walk;

pub use options::{Auth, OpenSearchOptions};
pub use sink::OpenSearch;
