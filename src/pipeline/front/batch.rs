//! Batch: as many changes as are there, and no waiting when nothing else is going on.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::time::{Instant, timeout_at};

use super::queue::{QueueReceiver, Queued};
use crate::edges::{CaptureEvent, Catalog, Failure};
use crate::fail_points::{Rule, off};
use crate::model::{Change, Position};
use crate::pipeline::policy::BatchPolicy;

/// Changes in commit order. It may cut a transaction anywhere; only the batch that holds its end mark can complete it.
#[derive(Debug)]
pub struct Batch {
    changes: Vec<Change>,
    end: Option<End>,
    catalog: Catalog,
    in_flight: InFlight,
    // The changes stay counted in the queue's bound until the batch was resolved.
    _room: Option<OwnedSemaphorePermit>,
}

impl Batch {
    /// Its changes.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// The tables whose definition changed, with their new fingerprints.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Gives up the changes and keeps what the ack needs: what may be confirmed when it and everything before it is durable
    /// (`None` inside a transaction), and its place among the batches in flight.
    pub fn into_ack(self) -> (Option<End>, InFlight) {
        (self.end, self.in_flight)
    }
}

/// What a batch completes: everything at or before a position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// The position.
    pub position: Position,
    /// The source's next transaction id, as it was seen last before; 0 where it was not.
    pub next_xid: u64,
}

impl End {
    /// Both of them: what one does not know the other may.
    pub fn and(self, other: End) -> End {
        End { position: self.position.max(other.position), next_xid: self.next_xid.max(other.next_xid) }
    }
}

/// Counts batches between here and the ack; a batch counts until this is dropped.
#[derive(Debug)]
pub struct InFlight(Arc<watch::Sender<usize>>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// How long the first change of a batch waits for the one batch that is in flight, or for company: two small batches cost twice as
/// much as one and, where the sink answers within that time, are not durable sooner.
const COMPANY_WAIT: Duration = Duration::from_millis(10);

/// A pipeline whose changes were sent that long after their commits is catching up.
const CATCHING_UP_FROM: Duration = Duration::from_secs(1);

/// What has waited for long may wait a quarter longer for company, up to that: capture goes on meanwhile, and fewer and larger
/// batches are how one that is behind, beside many others, comes to see the end of it.
const CATCHING_UP_SHARE: u32 = 4;
const CATCHING_UP_WAIT_MAX: Duration = Duration::from_secs(4);

/// Where fewer are there already they do not wait with no other batch in flight: what a source has by replication carries the time of
/// its first commit, and is late for ever.
const CATCHING_UP_CHANGES_MIN: usize = 8;

/// ... nor for longer than that after the last of them came: then there is no company.
const CATCHING_UP_QUIET: Duration = Duration::from_millis(200);

/// Makes batches of what `queue` holds until it ends.
pub async fn run(
    mut queue: QueueReceiver,
    batches: mpsc::Sender<Batch>,
    policy: BatchPolicy,
    in_flight_max: usize,
) -> Result<(), Failure> {
    let count = Arc::new(watch::Sender::new(0usize));
    let mut in_flight = count.subscribe();
    while let Some(first) = queue.recv().await {
        let began = Instant::now();
        let mut last = began;
        let mut gathering = Gathering::default();
        gathering.add(first);
        let mut ended = false;
        while !gathering.full(&policy) {
            if let Some(queued) = queue.try_recv() {
                gathering.add(queued);
                continue;
            }
            let flying = *in_flight.borrow_and_update();
            let until = match (flying, gathering.catching_up()) {
                (0, Some(wait)) if gathering.changes.len() >= CATCHING_UP_CHANGES_MIN => {
                    (began + wait).min(last + CATCHING_UP_QUIET)
                }
                (0, _) => break,
                (1, wait) => began + policy.max_delay.min(COMPANY_WAIT).max(wait.unwrap_or_default()),
                (_, wait) => began + policy.max_delay.max(wait.unwrap_or_default()),
            };
            // Something is being worked on: company may come, or the work may end.
            let wake = async {
                tokio::select! {
                    queued = queue.recv() => Some(queued),
                    _ = in_flight.changed() => None,
                }
            };
            match timeout_at(until, wake).await {
                Ok(Some(Some(queued))) => {
                    last = Instant::now();
                    gathering.add(queued);
                }
                Ok(Some(None)) => {
                    ended = true;
                    break;
                }
                Ok(None) => {}
                Err(_) if flying < in_flight_max.max(1) => break,
                // The age is reached, but there is no room for another batch: gather on until there is.
                Err(_) => {
                    if in_flight.changed().await.is_err() {
                        break;
                    }
                }
            }
        }
        if in_flight.wait_for(|flying| *flying < in_flight_max.max(1)).await.is_err() {
            return Ok(());
        }
        count.send_modify(|count| *count += 1);
        queue.tell_depth();
        let batch = gathering.close(InFlight(Arc::clone(&count)));
        if batches.send(batch).await.is_err() || ended {
            break;
        }
    }
    Ok(())
}

#[derive(Default)]
struct Gathering {
    changes: Vec<Change>,
    bytes: usize,
    /// The longest that one of them was sent after its commit.
    sent_after: Duration,
    end: Option<End>,
    catalog: Catalog,
    room: Option<OwnedSemaphorePermit>,
}

impl Gathering {
    fn add(&mut self, queued: Queued) {
        self.bytes += queued.bytes;
        match &mut self.room {
            Some(room) => room.merge(queued.room),
            None => self.room = Some(queued.room),
        }
        match queued.event {
            CaptureEvent::Change(change) => {
                if off(Rule::EndMark) {
                    let position = Position::new(change.position.bytes() + 1);
                    self.end_at(End { position, next_xid: 0 });
                }
                self.sent_after = self.sent_after.max(change.sent_after);
                self.changes.push(change);
            }
            // A keepalive that was on its way may name an earlier position than the transaction before it.
            CaptureEvent::End { position, next_xid, .. } => self.end_at(End { position, next_xid }),
            CaptureEvent::Idle { position } => self.end_at(End { position, next_xid: 0 }),
            CaptureEvent::Catalog { tables } => self.catalog.extend(tables),
            CaptureEvent::Marker { .. } => {}
        }
    }

    fn end_at(&mut self, end: End) {
        self.end = Some(self.end.unwrap_or_default().and(end));
    }

    /// How long it may wait for company when these changes are late already.
    fn catching_up(&self) -> Option<Duration> {
        let late = self.sent_after >= CATCHING_UP_FROM;
        late.then(|| (self.sent_after / CATCHING_UP_SHARE).min(CATCHING_UP_WAIT_MAX))
    }

    fn full(&self, policy: &BatchPolicy) -> bool {
        self.changes.len() >= policy.max_changes.max(1) || self.bytes >= policy.max_bytes
    }

    fn close(self, in_flight: InFlight) -> Batch {
        Batch { changes: self.changes, end: self.end, catalog: self.catalog, in_flight, _room: self.room }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edges::Observer;
    use crate::model::{ChangeKind, Relation, TableName};
    use crate::pipeline::front::queue::{QueueSender, bounded};

    #[derive(Debug)]
    struct Nobody;

    impl Observer for Nobody {}

    fn change(sent_after: Duration) -> CaptureEvent {
        let relation = Arc::new(Relation { table: TableName::new("public", "users"), columns: Vec::new() });
        let position = Position::new(1);
        CaptureEvent::Change(Change { position, committed_at_us: 0, sent_after, relation, kind: ChangeKind::Truncate })
    }

    fn batches() -> (QueueSender, mpsc::Receiver<Batch>) {
        let (sender, receiver) = bounded(QUEUED_MAX, 1 << 20, Arc::new(Nobody));
        let (batches, made) = mpsc::channel(1);
        tokio::spawn(run(receiver, batches, BatchPolicy::default(), 4));
        (sender, made)
    }

    const QUEUED_MAX: usize = 2 * CATCHING_UP_CHANGES_MIN;

    async fn made(batches: &mut mpsc::Receiver<Batch>) -> usize {
        const PATIENCE: Duration = Duration::from_secs(30);
        let batch = tokio::time::timeout(PATIENCE, batches.recv()).await.expect("it waits for company for ever");
        batch.expect("a batch").changes().len()
    }

    #[tokio::test]
    async fn what_is_late_already_waits_for_company_and_not_for_ever() {
        let (sender, mut batches) = batches();
        // On one thread the first of them is not looked at before all of these are there; the rest is the company.
        for _ in 0..QUEUED_MAX {
            assert!(sender.send(change(Duration::from_secs(60))).await);
        }
        for _ in 0..3 {
            tokio::task::yield_now().await;
            assert!(sender.send(change(Duration::from_secs(60))).await);
        }
        assert_eq!(made(&mut batches).await, QUEUED_MAX + 3);
        // A few are no backlog, however late they are.
        assert!(sender.send(change(Duration::from_secs(60))).await);
        assert_eq!(made(&mut batches).await, 1);
    }

    #[tokio::test]
    async fn what_is_not_late_waits_for_nobody_when_nothing_is_in_flight() {
        let (sender, mut batches) = batches();
        assert!(sender.send(change(Duration::from_millis(900))).await);
        assert_eq!(made(&mut batches).await, 1);
    }
}
