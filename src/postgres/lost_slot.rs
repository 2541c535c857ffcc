//! A slot that does not hold what it should, at opening: made anew where that is wanted, refused with advice otherwise, and
//! waited for while another process has it.
//!
//! | found | `rebuild` | `refuse` |
//! |---|---|---|
//! | in use by another process | waited for | waited for |
//! | not there, and nobody was fed from it yet | made | made |
//! | not there, and somebody was | made: everything is assembled again | refused |
//! | given up by the server | dropped and made | refused |
//! | there, but its publication is not | dropped, both made in their order | refused |

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::error::failed;
use super::quote;
use super::slot::SlotFacts;
use crate::edges::{Failure, OnLostSlot, OpenRequest, Waiting};

/// What is to be done about the slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// It is used as it is.
    Keep,
    /// A new one is made, once the publication is there.
    Make,
}

/// Decides, and drops a slot that is good for nothing.
///
/// # Errors
///
/// `Transient` while another process has the slot; `Fatal` where a person wants to be asked.
pub(super) async fn settle(
    client: &Client,
    name: &str,
    publication: &str,
    slot: Option<&SlotFacts>,
    published: bool,
    request: &OpenRequest<'_>,
) -> Result<Settled, Failure> {
    let Some(slot) = slot else {
        if request.known && request.on_lost == OnLostSlot::Refuse {
            return Err(refused(
                name,
                format!("slot {name} is gone, and with it the changes since the last checkpoint"),
                false,
            ));
        }
        return Ok(Settled::Make);
    };
    let found = match (&slot.lost, published) {
        (Some(reason), _) => format!("slot {name} has lost changes: the server gave it up ({reason})"),
        // Changes from before the publication was made are decoded without it: an error at every start, or silence.
        (None, false) => format!("slot {name} is there, and publication {publication}, which must be older, is not"),
        (None, true) => {
            return match slot.active_pid {
                Some(pid) => Err(in_use(name, Some(pid))),
                None => Ok(Settled::Keep),
            };
        }
    };
    if request.on_lost == OnLostSlot::Refuse {
        return Err(refused(name, found, true));
    }
    if let Some(pid) = slot.active_pid {
        return Err(in_use(name, Some(pid)));
    }
    tracing::warn!(slot = name, "{found}; it is dropped and made anew");
    match client.execute("select pg_drop_replication_slot($1)", &[&name]).await {
        Ok(_) => Ok(Settled::Make),
        // Somebody else was faster, with the one or the other.
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_OBJECT) => Ok(Settled::Make),
        Err(error) if error.code() == Some(&SqlState::OBJECT_IN_USE) => Err(in_use(name, None)),
        Err(error) => Err(failed(format!("drop slot {name}, which has lost changes"), error)),
    }
}

/// Another process has the slot: it is waited for.
pub(super) fn in_use(name: &str, pid: Option<i32>) -> Failure {
    let by = pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid} of the server"));
    Failure::transient(format!("slot {name} is in use by {by}"))
        .waiting_on(Waiting::SlotInUse)
        .with_advice("this one takes over when it is free; or give it another slot")
}

fn refused(name: &str, found: String, there: bool) -> Failure {
    let drop = match there {
        true => format!("select pg_drop_replication_slot({}); and then ", quote::literal(name)),
        false => String::new(),
    };
    Failure::fatal(found).with_advice(format!(
        "to go on: {drop}set on_lost_slot = \"rebuild\" for the pipeline, with which a new slot is made and every document \
         assembled again"
    ))
}
