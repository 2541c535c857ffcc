//! The work queue of one process: a bounded list in memory.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use tokio::sync::Notify;

use crate::edges::{Failure, Lease, Settled, TaskReport, Ticket, WorkQueue};
use crate::model::Task;

/// A [`WorkQueue`] in memory.
pub struct InProcessQueue {
    shared: Arc<Shared>,
    queued_max: usize,
}

struct Shared {
    state: Mutex<QueueState>,
    added: Notify,
    taken: Notify,
    finished: Notify,
}

#[derive(Default)]
struct QueueState {
    queued: VecDeque<(Ticket, Task)>,
    last: Ticket,
    /// Finished and not told yet.
    finished: Vec<(Ticket, TaskReport)>,
    /// Given back by somebody whose requests may still be on their way.
    returned: HashSet<Ticket>,
    closed: bool,
    leased: usize,
}

impl InProcessQueue {
    /// A queue in which at most `queued_max` tasks wait.
    pub fn new(queued_max: usize) -> Self {
        let shared =
            Shared { state: Mutex::default(), added: Notify::new(), taken: Notify::new(), finished: Notify::new() };
        Self { shared: Arc::new(shared), queued_max: queued_max.max(1) }
    }
}

impl Shared {
    // Every change of the state is whole before its guard goes, so a poisoned one is as good as any.
    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn settle(&self, ticket: Ticket, settled: Settled) {
        let mut state = self.lock();
        state.leased -= 1;
        match settled {
            Settled::Returned(task) => {
                state.returned.insert(ticket);
                state.queued.push_front((ticket, task));
            }
            Settled::Finished(mut report) => {
                report.unknown |= state.returned.remove(&ticket);
                state.finished.push((ticket, report));
                self.finished.notify_one();
            }
        }
        drop(state);
        // A returned task, or the end of a closed queue: either way whoever waits must look again.
        self.added.notify_waiters();
    }
}

#[async_trait]
impl WorkQueue for InProcessQueue {
    async fn submit(&self, tasks: Vec<Task>) -> Result<Ticket, Failure> {
        for task in tasks {
            loop {
                let room = self.shared.taken.notified();
                {
                    let mut state = self.shared.lock();
                    if state.queued.len() < self.queued_max {
                        let ticket = Ticket(state.last.0 + 1);
                        state.last = ticket;
                        state.queued.push_back((ticket, task));
                        break;
                    }
                }
                room.await;
            }
            self.shared.added.notify_waiters();
        }
        Ok(self.shared.lock().last)
    }

    async fn next(&self) -> Result<Option<Lease>, Failure> {
        loop {
            let added = self.shared.added.notified();
            tokio::pin!(added);
            // Registered before looking, or a task added in between would wake nobody.
            added.as_mut().enable();
            {
                let mut state = self.shared.lock();
                if let Some((ticket, task)) = state.queued.pop_front() {
                    state.leased += 1;
                    drop(state);
                    self.shared.taken.notify_one();
                    let shared = Arc::clone(&self.shared);
                    let settle = Box::new(move |ticket, settled| shared.settle(ticket, settled));
                    return Ok(Some(Lease::new(task, ticket, settle)));
                }
                if state.closed && state.leased == 0 {
                    return Ok(None);
                }
            }
            added.await;
        }
    }

    async fn finished(&self) -> Result<Vec<(Ticket, TaskReport)>, Failure> {
        loop {
            // One caller: what is finished between the look and the wait leaves a permit.
            let finished = std::mem::take(&mut self.shared.lock().finished);
            if !finished.is_empty() {
                return Ok(finished);
            }
            self.shared.finished.notified().await;
        }
    }

    fn close(&self) {
        self.shared.lock().closed = true;
        self.shared.added.notify_waiters();
    }
}

impl fmt::Debug for InProcessQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.lock();
        f.debug_struct("InProcessQueue")
            .field("queued", &state.queued.len())
            .field("leased", &state.leased)
            .field("last", &state.last)
            .field("finished", &state.finished.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BuilderVersion, History, Origin, Position, Version};

    fn task(id: &str) -> Task {
        Task {
            pipeline: "p".into(),
            index: "i".into(),
            generation: "i-1".into(),
            builder_version: BuilderVersion("b".into()),
            version: Version::new(History::FIRST, Position::new(1)),
            ids: vec![id.to_owned()],
            origin: Origin::Pass { id: 1 },
        }
    }

    #[tokio::test]
    async fn every_finished_task_is_told_once_with_its_report() {
        let queue = InProcessQueue::new(10);
        queue.submit(["a", "b", "c"].map(task).into()).await.unwrap();
        let mut leases = Vec::new();
        for _ in 0..3 {
            leases.push(queue.next().await.unwrap().unwrap());
        }
        let report = TaskReport { absent: vec!["c".into()], unknown: true };
        leases.pop().unwrap().finish(report.clone());
        leases.remove(0).finish(TaskReport::default());
        let told = queue.finished().await.unwrap();
        assert_eq!(told, [(Ticket(3), report), (Ticket(1), TaskReport::default())]);
        leases.pop().unwrap().finish(TaskReport::default());
        assert_eq!(queue.finished().await.unwrap(), [(Ticket(2), TaskReport::default())]);
        assert!(futures_util::FutureExt::now_or_never(queue.finished()).is_none());
    }

    #[tokio::test]
    async fn a_dropped_lease_goes_to_another() {
        let queue = InProcessQueue::new(10);
        queue.submit(vec![task("a")]).await.unwrap();
        drop(queue.next().await.unwrap());
        queue.close();
        let lease = queue.next().await.unwrap().unwrap();
        assert_eq!(lease.task().ids, ["a"]);
        lease.finish(TaskReport::default());
        assert!(queue.next().await.unwrap().is_none());
        assert_eq!(queue.finished().await.unwrap()[0].0, Ticket(1));
    }

    #[tokio::test]
    async fn a_full_queue_waits() {
        let queue = Arc::new(InProcessQueue::new(1));
        queue.submit(vec![task("a")]).await.unwrap();
        let second = {
            let queue = Arc::clone(&queue);
            async move { queue.submit(vec![task("b")]).await }
        };
        tokio::pin!(second);
        assert!(futures_util::poll!(second.as_mut()).is_pending());
        let _lease = queue.next().await.unwrap();
        assert_eq!(second.await.unwrap(), Ticket(2));
    }

    #[tokio::test]
    async fn a_closed_queue_ends_only_when_no_lease_can_come_back() {
        let queue = InProcessQueue::new(1);
        queue.submit(vec![task("a")]).await.unwrap();
        let lease = queue.next().await.unwrap();
        queue.close();
        let next = queue.next();
        tokio::pin!(next);
        assert!(futures_util::poll!(next.as_mut()).is_pending());
        drop(lease);
        assert_eq!(next.await.unwrap().unwrap().task().ids, ["a"]);
    }
}
