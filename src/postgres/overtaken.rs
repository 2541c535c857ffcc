//! Only for tests that show what commit order is for (`order-off`): a transaction that no snapshot shows yet is set aside,
//! and what comes behind it goes out before it. Nothing is ever in here otherwise.

use std::collections::VecDeque;
use std::time::Duration;

use super::fence::Fence;
use crate::edges::{CaptureEvent, Failure};
use crate::fail_points::{self, Rule};
use crate::model::Position;

/// Between two looks at what was set aside.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What was set aside.
#[derive(Debug, Default)]
pub(super) struct Overtaken {
    transactions: VecDeque<(u32, Position, Vec<CaptureEvent>)>,
    /// The last one is still being received.
    open: bool,
}

impl Overtaken {
    /// Sets the transaction that begins to be given out aside, when the test wants that and no snapshot shows it.
    pub async fn begin(&mut self, fence: &mut Fence, xid: u32, commit: Position) -> Result<bool, Failure> {
        if fail_points::off(Rule::Order) && !fence.shows(xid, commit).await? {
            self.transactions.push_back((xid, commit, Vec::new()));
            self.open = true;
        }
        Ok(self.open)
    }

    /// Takes an event of the transaction that is being set aside; gives back any other.
    pub fn take(&mut self, event: CaptureEvent) -> Option<CaptureEvent> {
        match (self.open, self.transactions.back_mut()) {
            (true, Some((_, _, events))) => {
                self.open = !matches!(event, CaptureEvent::End { .. });
                events.push(event);
                None
            }
            _ => Some(event),
        }
    }

    /// The events of one that a snapshot shows by now.
    pub async fn shown(&mut self, fence: &mut Fence) -> Result<Vec<CaptureEvent>, Failure> {
        let complete = self.transactions.len() - usize::from(self.open);
        for place in 0..complete {
            let (xid, commit, _) = self.transactions[place];
            if fence.shows(xid, commit).await?
                && let Some((_, _, events)) = self.transactions.remove(place)
            {
                return Ok(events);
            }
        }
        Ok(Vec::new())
    }

    /// Waits until it is worth looking at them again; for ever when there are none.
    pub async fn look(&self) {
        match self.transactions.is_empty() {
            true => std::future::pending().await,
            false => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}
