//! Dispatch: ids become tasks, both versions stamped here; and *one hand*: an id of an index is in one unfinished task at
//! a time, whoever asked. Ids wanted meanwhile are collected and given out in the next task, which all who wanted them share.
//!
//! ```text
//! live batch ──┐                       ┌─▶ live lane ──┐
//! pass chunk ──┴─▶ hands ─▶ task, label ┴─▶ pass lane ──┴─▶ finished ─▶ hands open, whoever waited is told
//! ```

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{mpsc, oneshot};

use crate::edges::{Failure, TaskReport, Ticket, WorkQueue};
use crate::model::{BuilderVersion, History, Origin, Position, Task, Version};

/// The highest position that was published: a snapshot begun now shows everything at or before it.
#[derive(Debug, Default)]
pub struct Published(AtomicU64);

impl Published {
    /// The transaction whose commit record begins at `position` was published.
    pub fn raise(&self, position: Position) {
        self.0.fetch_max(position.bytes(), Ordering::AcqRel);
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
pub struct Done(oneshot::Receiver<()>);

impl Done {
    /// Waits until every id is durable.
    pub async fn wait(self) -> Result<(), Failure> {
        self.0.await.map_err(|_| Failure::transient("the flow ended before all documents were written"))
    }
}

/// Where front stages put what they want assembled.
#[derive(Clone, Debug)]
pub struct Dispatcher(mpsc::Sender<(Wanted, oneshot::Sender<()>)>);

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
        let (sender, receiver) = oneshot::channel();
        self.0
            .send((wanted, sender))
            .await
            .map_err(|_| Failure::transient("dispatch ended before the documents were asked for"))?;
        Ok(Done(receiver))
    }
}

/// A dispatcher and the task that runs it until every [`Dispatcher`] is dropped and everything is finished.
pub fn start(
    lanes: Lanes,
    stamp: Stamp,
    published: Arc<Published>,
    requests_max: usize,
) -> (Dispatcher, impl Future<Output = Result<(), Failure>>) {
    let (sender, receiver) = mpsc::channel(requests_max.max(1));
    (Dispatcher(sender), run(receiver, lanes, stamp, published))
}

async fn run(
    mut requests: mpsc::Receiver<(Wanted, oneshot::Sender<()>)>,
    lanes: Lanes,
    stamp: Stamp,
    published: Arc<Published>,
) -> Result<(), Failure> {
    let mut hands = Hands::new(stamp.indexes.len());
    let mut live = Lane::new(&lanes.live);
    let mut pass = Lane::new(&lanes.pass);
    let mut open = true;
    while open || live.is_busy() || pass.is_busy() {
        let free = tokio::select! {
            request = requests.recv(), if open => match request {
                Some((wanted, done)) => hands.want(wanted, done),
                None => {
                    open = false;
                    continue;
                }
            },
            finished = lanes.live.finished() => hands.release(live.finish(finished?)),
            finished = lanes.pass.finished() => hands.release(pass.finish(finished?)),
        };
        for Free { index, ids, origin } in free {
            let lane = if matches!(origin, Origin::Live { .. }) { &mut live } else { &mut pass };
            lane.pending.extend(cut(ids).into_iter().map(|ids| Free { index, ids, origin: origin.clone() }));
        }
        for lane in [&mut live, &mut pass] {
            lane.submit(&stamp, &published).await?;
        }
    }
    Ok(())
}

/// Pieces of one request small enough that several workers share it, and never larger than a task may be.
fn cut(ids: Vec<String>) -> Vec<Vec<String>> {
    const SHARED_FROM: usize = 128;
    if ids.len() <= SHARED_FROM {
        return vec![ids];
    }
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
    tasks: BTreeMap<Ticket, (usize, Vec<String>)>,
    /// Cut, and not submitted yet: a full lane must not hold up the other one.
    pending: VecDeque<Free>,
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
            let ticket = self.queue.submit(vec![task]).await?;
            self.tasks.insert(ticket, (index, ids));
        }
        Ok(())
    }

    fn finish(&mut self, finished: Vec<(Ticket, TaskReport)>) -> Vec<(usize, Vec<String>)> {
        finished.into_iter().filter_map(|(ticket, _)| self.tasks.remove(&ticket)).collect()
    }
}

/// Ids to submit now.
#[derive(Debug, PartialEq)]
struct Free {
    index: usize,
    ids: Vec<String>,
    origin: Origin,
}

/// Who holds which id, and who waits for it. Pure.
struct Hands {
    indexes: Vec<HashMap<String, Hand>>,
    requests: HashMap<u64, (usize, oneshot::Sender<()>)>,
    next: u64,
}

#[derive(Default)]
struct Hand {
    /// The requests that the unfinished task is for.
    holders: Vec<u64>,
    /// The requests that wait for the next one, and what asked first for it.
    waiters: Vec<u64>,
    origin: Option<Origin>,
}

impl Hands {
    fn new(indexes: usize) -> Self {
        Self { indexes: (0..indexes).map(|_| HashMap::new()).collect(), requests: HashMap::new(), next: 0 }
    }

    /// Takes what is free into the hand and notes who waits for the rest.
    fn want(&mut self, wanted: Wanted, done: oneshot::Sender<()>) -> Vec<Free> {
        let request = self.next;
        self.next += 1;
        let mut count = 0;
        let mut free = Vec::new();
        for (index, ids) in wanted.ids {
            count += ids.len();
            let mut now = Vec::with_capacity(ids.len());
            for id in ids {
                match self.indexes[index].get_mut(&id) {
                    Some(hand) => {
                        hand.waiters.push(request);
                        hand.origin = Some(more_urgent(hand.origin.take(), wanted.origin.clone()));
                    }
                    None => {
                        let hand = Hand { holders: vec![request], ..Hand::default() };
                        self.indexes[index].insert(id.clone(), hand);
                        now.push(id);
                    }
                }
            }
            if !now.is_empty() {
                free.push(Free { index, ids: now, origin: wanted.origin.clone() });
            }
        }
        if count == 0 {
            // Nobody is left to tell when the flow is being torn down.
            let _ = done.send(());
        } else {
            self.requests.insert(request, (count, done));
        }
        free
    }

    /// Opens the hands of finished tasks; ids that were wanted meanwhile come back to be submitted.
    fn release(&mut self, finished: Vec<(usize, Vec<String>)>) -> Vec<Free> {
        let mut again: BTreeMap<(usize, bool), Free> = BTreeMap::new();
        for (index, ids) in finished {
            for id in ids {
                let Some(hand) = self.indexes[index].remove(&id) else {
                    continue;
                };
                for request in &hand.holders {
                    self.one_done(*request);
                }
                let Some(origin) = hand.origin else { continue };
                self.indexes[index].insert(id.clone(), Hand { holders: hand.waiters, ..Hand::default() });
                let live = matches!(origin, Origin::Live { .. });
                match again.get_mut(&(index, live)) {
                    Some(free) => {
                        free.ids.push(id);
                        free.origin = more_urgent(Some(free.origin.clone()), origin);
                    }
                    None => {
                        again.insert((index, live), Free { index, ids: vec![id], origin });
                    }
                }
            }
        }
        again.into_values().collect()
    }

    fn one_done(&mut self, request: u64) {
        if let Some((left, _)) = self.requests.get_mut(&request) {
            *left -= 1;
            if *left == 0
                && let Some((_, done)) = self.requests.remove(&request)
            {
                let _ = done.send(());
            }
        }
    }
}

/// A live change before a pass; of two live changes the older one, whose wait is what is measured.
fn more_urgent(one: Option<Origin>, other: Origin) -> Origin {
    match (one, other) {
        (Some(Origin::Live { committed_at_us: one }), Origin::Live { committed_at_us: other }) => {
            Origin::Live { committed_at_us: one.min(other) }
        }
        (Some(live @ Origin::Live { .. }), _) => live,
        (_, other) => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn want(hands: &mut Hands, ids: &[&str], origin: Origin) -> (Vec<Free>, oneshot::Receiver<()>) {
        let (sender, receiver) = oneshot::channel();
        let ids = ids.iter().map(|id| id.to_string()).collect();
        (hands.want(Wanted { ids: vec![(0, ids)], origin }, sender), receiver)
    }

    fn live(at: i64) -> Origin {
        Origin::Live { committed_at_us: at }
    }

    fn ids(free: &[Free]) -> Vec<&str> {
        free.iter().flat_map(|free| free.ids.iter().map(String::as_str)).collect()
    }

    #[test]
    fn an_id_is_in_one_hand_and_the_next_task_serves_all_who_waited() {
        let mut hands = Hands::new(1);
        let (free, mut first) = want(&mut hands, &["a", "b"], live(1));
        assert_eq!(ids(&free), ["a", "b"]);
        let (free, mut second) = want(&mut hands, &["a", "c"], live(2));
        assert_eq!(ids(&free), ["c"]);
        let (free, mut third) = want(&mut hands, &["a"], Origin::Pass { id: 1 });
        assert!(free.is_empty());

        let again = hands.release(vec![(0, vec!["a".into(), "b".into()])]);
        assert_eq!((ids(&again), again[0].origin.clone()), (vec!["a"], live(2)));
        assert!(first.try_recv().is_ok());
        assert!(hands.release(vec![(0, vec!["c".into()])]).is_empty());
        assert!(second.try_recv().is_err() && third.try_recv().is_err(), "their ask came after the read");
        assert!(hands.release(vec![(0, vec!["a".into()])]).is_empty());
        assert!(second.try_recv().is_ok() && third.try_recv().is_ok());
        assert!(hands.indexes[0].is_empty() && hands.requests.is_empty());
    }

    #[test]
    fn a_request_for_nothing_is_done_at_once() {
        let mut hands = Hands::new(1);
        let (_, mut done) = want(&mut hands, &[], live(1));
        assert!(done.try_recv().is_ok());
    }

    #[test]
    fn a_request_is_cut_into_tasks_within_the_limit() {
        let ids: Vec<String> = (0..1201).map(|id| id.to_string()).collect();
        let pieces = cut(ids.clone());
        assert!(pieces.iter().all(|piece| piece.len() <= Task::IDS_MAX));
        assert_eq!(pieces.concat(), ids);
        assert_eq!(cut(ids[..10].to_vec()).len(), 1);
    }
}
