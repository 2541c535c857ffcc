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
mod condition;
mod flight;
mod generations;
mod mapping;
mod mark;
mod names;
mod options;
mod own_index;
mod quarantine;
mod request_size;
mod settings;
mod sink;
mod state;
mod walk;

// For benches/parts.rs.
#[doc(hidden)]
pub use bulk::encode;
pub use options::{Auth, OpenSearchOptions};
pub use settings::is_never_allowed;
pub use sink::OpenSearch;

/// Which search engine it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Engine {
    OpenSearch,
    Elasticsearch,
}
