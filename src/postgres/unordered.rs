//! What a stream without the rule of order does, for the test that shows what the rule is for: a transaction that is not
//! visible yet is put aside, and a later one goes out before it.

use std::collections::VecDeque;

use super::fence::Fence;
use crate::edges::{CaptureEvent, Failure};
use crate::model::Position;

/// Transactions that were put aside.
#[derive(Default)]
pub(super) struct Aside {
    whole: Vec<Transaction>,
    /// The one that is being received.
    open: Option<Transaction>,
    released: VecDeque<CaptureEvent>,
}

struct Transaction {
    xid: u32,
    commit: Position,
    events: Vec<CaptureEvent>,
}

impl Aside {
    pub fn is_empty(&self) -> bool {
        self.whole.is_empty() && self.released.is_empty()
    }

    /// Takes what is ready of a transaction that is not visible, and everything of it that comes later.
    pub async fn put(
        &mut self,
        fence: &mut Fence,
        to_pass: &mut Option<(u32, Position)>,
        ready: &mut VecDeque<CaptureEvent>,
    ) -> Result<(), Failure> {
        if let Some((xid, commit)) = *to_pass
            && self.open.is_none()
            && !fence.shows_now(xid, commit).await?
        {
            *to_pass = None;
            self.open = Some(Transaction { xid, commit, events: Vec::new() });
        }
        if let Some(mut open) = self.open.take() {
            open.events.extend(ready.drain(..));
            match open.events.iter().any(|event| matches!(event, CaptureEvent::End { .. })) {
                true => self.whole.push(open),
                false => self.open = Some(open),
            }
        }
        Ok(())
    }

    /// The next event of one that is visible by now.
    pub async fn next(&mut self, fence: &mut Fence) -> Result<Option<CaptureEvent>, Failure> {
        if self.released.is_empty() {
            for place in 0..self.whole.len() {
                let (xid, commit) = (self.whole[place].xid, self.whole[place].commit);
                if fence.shows_now(xid, commit).await? {
                    self.released.extend(self.whole.remove(place).events);
                    break;
                }
            }
        }
        Ok(self.released.pop_front())
    }
}
