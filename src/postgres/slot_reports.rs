//! [`SlotReports`]: how the slot stands, asked every few seconds on one connection that is kept.

use tokio::sync::Mutex;

use super::connect::Connection;
use super::slot::{self, SlotFacts};
use super::source::Source;
use crate::edges::{Failure, SlotReport};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct SlotReports {
    /// With the epoch of capture in which it was opened: another may be about another server.
    kept: Mutex<Option<(u64, Connection)>>,
}

impl SlotReports {
    /// How it stands now; `None` when there is none. One that fails is asked on a new connection the next time.
    pub async fn ask(&self, source: &Source) -> Result<Option<SlotReport>, Failure> {
        let mut kept = self.kept.lock().await;
        let epoch = source.link.epoch();
        // Put back when it has answered: a caller that gave up leaves nothing half read.
        let connection = match kept.take() {
            Some((of, connection)) if of == epoch && !connection.client.is_closed() => connection,
            _ => source.connect_control().await?,
        };
        let facts = slot::facts(&connection.client, &source.options.slot).await?;
        *kept = Some((epoch, connection));
        Ok(facts.map(SlotFacts::report))
    }
}
