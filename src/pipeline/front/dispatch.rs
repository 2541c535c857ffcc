//! Dispatch: ids become tasks, both versions stamped here, each id in one hand at a time ([`Hands`]).
//!
//! ```text
//! live batch ──┐                       ┌─▶ live lane ──┐
//! pass chunk ──┼─▶ hands ─▶ task, label ┴─▶ pass lane ──┴─▶ finished ─▶ hands open, whoever waited is told
//! second look ─┘                                                         └ what is late waits for its second look
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::hands::{Finished, Free, Hands, Tell};
use super::late::Late;
use crate::edges::{Failure, TaskReport, Ticket, WorkQueue};
use crate::model::{BuilderVersion, History, Origin, PassReason, PassSet, Position, Task, Version};
use crate::pipeline::ledger::Ledger;
use crate::pipeline::policy::FlowLimits;
use crate::pipeline::record::{self, PassRequest};

/// The highest position that was published: a snapshot begun now shows everything at or before it.
#[derive(Debug, Default)]
pub struct Published(AtomicU64);

impl Published {
    /// The transaction whose commit record begins at `position` was published.
    pub fn raise(&self, position: Position) {
        self.0.fetch_max(position.bytes(), Ordering::AcqRel);
        crate::fail_points::published(position.bytes());
    }

    /// Everything before `position` was published. The position itself is not: where one commit record ends another may
    /// begin, of a transaction that is not visible yet.
    pub fn raise_before(&self, position: Position) {
        self.raise(Position::new(position.bytes().saturating_sub(1)));
    }

    /// The label of a task that is made now.
    pub fn label(&self) -> Position {
        Position::new(self.0.load(Ordering::Acquire))
    }
}

/// Ids of some indexes to assemble.
#[derive(Debug)]
pub struct Wanted {
    /// By the index's place in the declaration; each id once.
    pub ids: Vec<(usize, Vec<String>)>,
    /// Who asks. It decides the lane.
    pub origin: Origin,
}

/// The end of what one [`Wanted`] asked for.
#[derive(Debug)]
pub struct Done {
    written: oneshot::Receiver<()>,
    settled: oneshot::Receiver<()>,
}

impl Done {
    /// Waits until every id is durable. Deletions among them may still have to be looked at again.
    pub async fn written(self) -> Result<Settling, Failure> {
        self.written.await.map_err(|_| Failure::transient("the flow ended before all documents were written"))?;
        Ok(Settling { told: self.settled, known: None })
    }
}

/// Documents that are written, and whose deletions may not be final yet.
#[derive(Debug)]
pub struct Settling {
    told: oneshot::Receiver<()>,
    /// What it was told: it is told once. `false` when the flow ended first.
    known: Option<bool>,
}

impl Settling {
    /// Waits until nothing can undo them; `false` when the flow ended before.
    pub async fn settled(&mut self) -> bool {
        if let Some(known) = self.known {
            return known;
        }
        let settled = (&mut self.told).await.is_ok();
        self.known = Some(settled);
        settled
    }

    /// Whether they are final by now.
    pub fn is_settled(&mut self) -> bool {
        if self.known.is_none() {
            self.known = match self.told.try_recv() {
                Ok(()) => Some(true),
                Err(oneshot::error::TryRecvError::Closed) => Some(false),
                Err(oneshot::error::TryRecvError::Empty) => None,
            };
        }
        self.known == Some(true)
    }
}

/// Where front stages put what they want assembled, and what they may know of the work.
#[derive(Clone, Debug)]
pub struct Dispatcher {
    requests: mpsc::Sender<(Wanted, Tell)>,
    late_window: watch::Receiver<Option<Instant>>,
    oldest_live: Arc<OldestLive>,
}

/// When the oldest unfinished task for live changes was submitted.
#[derive(Debug)]
struct OldestLive {
    since: Instant,
    /// In microseconds after `since`; none is `u64::MAX`.
    after_us: AtomicU64,
}

/// The two lanes of the work queue, so that a pass never stands before a live change.
#[derive(Clone, Debug)]
pub struct Lanes {
    /// For live changes.
    pub live: Arc<dyn WorkQueue>,
    /// For passes.
    pub pass: Arc<dyn WorkQueue>,
}

/// What every task of this flow carries.
#[derive(Clone, Debug)]
pub struct Stamp {
    /// The pipeline.
    pub pipeline: Arc<str>,
    /// Declared name and physical name of each index.
    pub indexes: Vec<(Arc<str>, Arc<str>)>,
    /// The builder.
    pub builder_version: BuilderVersion,
    /// The history.
    pub history: History,
}

impl Dispatcher {
    /// Asks for these documents; the answer comes when all of them are durable. Waits while dispatch is busy.
    pub async fn want(&self, wanted: Wanted) -> Result<Done, Failure> {
        let ((written, was_written), (settled, was_settled)) = (oneshot::channel(), oneshot::channel());
        self.requests
            .send((wanted, Tell { written, settled }))
            .await
            .map_err(|_| Failure::transient("dispatch ended before the documents were asked for"))?;
        Ok(Done { written: was_written, settled: was_settled })
    }

    /// Waits until the late window that is open now, if one is, would close; then nothing from before can come back that a walk
    /// of the index would miss. What makes it longer meanwhile is of this flow, and is looked at again id by id.
    pub async fn late_window_closed(&self) {
        let open_until = *self.late_window.borrow();
        if let Some(until) = open_until {
            tokio::time::sleep_until(until).await;
        }
    }

    /// For how long the oldest unfinished task for live changes has been under way.
    pub fn live_age(&self) -> Duration {
        let after = Duration::from_micros(self.oldest_live.after_us.load(Ordering::Relaxed));
        self.oldest_live.since.elapsed().saturating_sub(after)
    }
}

/// What dispatch works with.
pub struct Dispatch {
    /// Where tasks go.
    pub lanes: Lanes,
    /// What they carry.
    pub stamp: Stamp,
    /// How far labels are.
    pub published: Arc<Published>,
    /// Where a pass is recorded when more is late than is remembered.
    pub ledger: Arc<Ledger>,
    /// Its limits.
    pub limits: FlowLimits,
    /// Whether requests of an earlier process may still be applied.
    pub late_at_start: bool,
}

impl Dispatch {
    /// A dispatcher and the task that runs it until every [`Dispatcher`] is dropped and everything is written. Its answer is
    /// whether everything is final, too.
    pub fn start(self) -> (Dispatcher, impl Future<Output = Result<bool, Failure>>) {
        let (requests, receiver) = mpsc::channel(self.limits.batches_in_flight_max.max(1));
        let late = Late::new(self.limits.late_window, self.late_at_start, Instant::now());
        let (window, late_window) = watch::channel(late.open_until(Instant::now()));
        let oldest_live = Arc::new(OldestLive { since: Instant::now(), after_us: AtomicU64::new(u64::MAX) });
        let dispatcher = Dispatcher { requests, late_window, oldest_live: Arc::clone(&oldest_live) };
        let hands = Hands::new(self.stamp.indexes.len(), late);
        (dispatcher, self.run(receiver, hands, window, oldest_live))
    }

    async fn run(
        self,
        mut requests: mpsc::Receiver<(Wanted, Tell)>,
        mut hands: Hands,
        window: watch::Sender<Option<Instant>>,
        oldest_live: Arc<OldestLive>,
    ) -> Result<bool, Failure> {
        let Lanes { live: live_queue, pass: pass_queue } = &self.lanes;
        let mut live = Lane::new(live_queue);
        let mut pass = Lane::new(pass_queue);
        let mut open = true;
        while open || live.is_busy() || pass.is_busy() {
            let next_due = hands.late().next_due();
            let second_look = async {
                match next_due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            let free = tokio::select! {
                request = requests.recv(), if open => match request {
                    Some((wanted, tell)) => hands.want(wanted, tell),
                    None => {
                        open = false;
                        continue;
                    }
                },
                finished = live_queue.finished() => hands.release(live.finish(finished?), Instant::now()),
                finished = pass_queue.finished() => hands.release(pass.finish(finished?), Instant::now()),
                // What is not settled when the flow ends comes again at the next start.
                () = second_look, if open => hands.look_again(Instant::now()),
            };
            for Free { index, ids, origin } in free {
                let lane = if matches!(origin, Origin::Live { .. }) { &mut live } else { &mut pass };
                lane.pending.extend(cut(ids).into_iter().map(|ids| Free { index, ids, origin: origin.clone() }));
            }
            for lane in [&mut live, &mut pass] {
                lane.submit(&self.stamp, &self.published).await?;
            }
            if hands.late().len() > self.limits.late_ids_max {
                self.hand_over(&mut hands).await?;
            }
            let open_until = hands.late().open_until(Instant::now());
            window.send_if_modified(|known| std::mem::replace(known, open_until) != open_until);
            oldest_live.set(live.oldest());
        }
        Ok(hands.is_settled(Instant::now()))
    }

    /// More is late than is remembered one by one: a pass looks at everything that the indexes hold when the window closes.
    async fn hand_over(&self, hands: &mut Hands) -> Result<(), Failure> {
        let indexes = hands.late().indexes();
        let asked = self.published.label();
        self.ledger
            .update(|state| {
                for index in indexes {
                    let request = PassRequest {
                        index: Arc::clone(&self.stamp.indexes[index].0),
                        set: PassSet::Held,
                        reason: PassReason::LateWrites,
                        asked,
                        needs_barrier: true,
                        sweep: true,
                    };
                    record::ask(state, request);
                }
            })
            .await?;
        hands.hand_over_late();
        Ok(())
    }
}

impl OldestLive {
    fn set(&self, oldest: Option<Instant>) {
        let after = oldest.map_or(u64::MAX, |oldest| oldest.saturating_duration_since(self.since).as_micros() as u64);
        self.after_us.store(after, Ordering::Relaxed);
    }
}

/// Pieces of one request small enough that several workers share it, and never larger than a task may be. Each is a range of the ids in
/// the order of numbers, whose rows lie near each other in the source.
fn cut(mut ids: Vec<String>) -> Vec<Vec<String>> {
    const SHARED_FROM: usize = 512;
    if ids.len() <= SHARED_FROM {
        return vec![ids];
    }
    ids.sort_unstable_by(|one, other| one.len().cmp(&other.len()).then_with(|| one.cmp(other)));
    let pieces = ids.len().div_ceil(Task::IDS_MAX).max(2);
    let size = ids.len().div_ceil(pieces);
    ids.chunks(size).map(<[String]>::to_vec).collect()
}

impl Stamp {
    fn task(&self, index: usize, ids: Vec<String>, origin: Origin, label: Position) -> Task {
        let (name, generation) = &self.indexes[index];
        Task {
            pipeline: Arc::clone(&self.pipeline),
            index: Arc::clone(name),
            generation: Arc::clone(generation),
            builder_version: self.builder_version.clone(),
            version: Version::new(self.history, label),
            ids,
            origin,
        }
    }
}

/// One lane: what was submitted and is not finished.
struct Lane {
    queue: Arc<dyn WorkQueue>,
    tasks: BTreeMap<Ticket, Submitted>,
    /// Cut, and not submitted yet: a full lane must not hold up the other one.
    pending: VecDeque<Free>,
}

/// A task under way.
struct Submitted {
    index: usize,
    ids: Vec<String>,
    begun: Instant,
}

/// Unfinished tasks of a lane at most; fewer than a queue holds, so that submitting does not wait.
const SUBMITTED_MAX: usize = 128;

impl Lane {
    fn new(queue: &Arc<dyn WorkQueue>) -> Self {
        Self { queue: Arc::clone(queue), tasks: BTreeMap::new(), pending: VecDeque::new() }
    }

    fn is_busy(&self) -> bool {
        !self.tasks.is_empty() || !self.pending.is_empty()
    }

    /// Submits what there is room for. The label is taken here, as late as can be and before anything is read.
    async fn submit(&mut self, stamp: &Stamp, published: &Published) -> Result<(), Failure> {
        while self.tasks.len() < SUBMITTED_MAX {
            let Some(Free { index, ids, origin }) = self.pending.pop_front() else { return Ok(()) };
            let task = stamp.task(index, ids.clone(), origin, published.label());
            let begun = Instant::now();
            let ticket = self.queue.submit(vec![task]).await?;
            self.tasks.insert(ticket, Submitted { index, ids, begun });
        }
        Ok(())
    }

    fn finish(&mut self, finished: Vec<(Ticket, TaskReport)>) -> Vec<Finished> {
        let known = finished.into_iter().filter_map(|(ticket, report)| {
            let Submitted { index, ids, begun } = self.tasks.remove(&ticket)?;
            Some(Finished { index, ids, begun, report })
        });
        known.collect()
    }

    fn oldest(&self) -> Option<Instant> {
        self.tasks.first_key_value().map(|(_, task)| task.begun)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_cut_into_tasks_within_the_limit() {
        let ids: Vec<String> = (0..2_401).map(|id| id.to_string()).collect();
        let pieces = cut(ids.iter().rev().cloned().collect());
        assert!(pieces.len() > 1 && pieces.iter().all(|piece| piece.len() <= Task::IDS_MAX));
        assert_eq!(pieces.concat(), ids, "in the order of numbers");
        assert_eq!(cut(ids[..10].to_vec()).len(), 1);
    }
}
