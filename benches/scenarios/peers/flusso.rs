//! flusso, from the same tables as docmill, or from orders that carry their totals already (`benches/peers/flusso`).

use async_trait::async_trait;

use super::Process;
use crate::ground::Place;
use crate::support::postgres::until_true;
use crate::system::Running;

pub const PEER: &str = "flusso";
const DOCUMENTS: &str = include_str!("../../peers/flusso/documents.sql");

struct Started(Process);

/// `stored` is whether orders carry their totals.
pub async fn start(place: &Place, stored: bool) -> Box<dyn Running> {
    let environment = [
        ("PREFIX", place.search.prefix.as_str()),
        ("SLOT", place.database.name.as_str()),
        ("SCHEMA", if stored { "users-stored" } else { "users" }),
    ];
    Box::new(Started(Process::start(PEER, place, &environment).await))
}

/// What its documents must be, in SQL.
pub fn documents(stored: bool) -> String {
    const SPENT: &str = "coalesce(o.total_spent, 0)";
    let statement = DOCUMENTS.trim_end().trim_end_matches(';');
    assert!(statement.contains(SPENT), "documents.sql has another form");
    // Its sum of no stored totals is null.
    if stored { statement.replace(SPENT, "o.total_spent") } else { statement.to_owned() }
}

#[async_trait]
impl Running for Started {
    fn pids(&self) -> Vec<u32> {
        vec![self.0.pid()]
    }

    fn must_run(&self) {
        self.0.must_run();
    }

    /// It makes a note of a finished backfill and then opens its slot: told to end before, it would begin anew.
    async fn await_live(&mut self, place: &Place) {
        let client = place.database.connect().await;
        let name = &place.database.name;
        until_true(&client, &format!("select active from pg_replication_slots where slot_name = '{name}'")).await;
    }

    async fn end(self: Box<Self>, _: &Place) {
        self.0.end();
    }
}
