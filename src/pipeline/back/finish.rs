//! Finish: the end of a task, which needs the proof that everything it asked for is durable.

use super::write::Durable;
use crate::edges::Lease;

/// Consumes both: there is no other way to finish a lease here.
pub(super) fn finish(lease: Lease, durable: Durable) {
    lease.finish(durable.consume());
}
