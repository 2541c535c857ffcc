//! Where the front half and the back half of the flow meet: tasks in, leases out, one number back.
//!
//! ```text
//! front: submit(tasks) -> Ticket ──▶ [ bounded, in order ] ──▶ next() -> Lease -> finish(report)  :back
//!        finished() <────────────── tickets with their reports, each once, in any order
//! ```

use std::fmt::{self, Debug};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::Failure;
use crate::model::Task;

/// A bounded queue of tasks. In-process by default; the same trait fits a durable broker, whose contiguous acknowledged
/// position is the ticket.
#[async_trait]
pub trait WorkQueue: Debug + Send + Sync {
    /// Puts tasks at the end, in order; waits while it is full. The answer is the ticket of the last of them; an
    /// empty list answers the ticket of the last task ever submitted.
    async fn submit(&self, tasks: Vec<Task>) -> Result<Ticket, Failure>;

    /// The next task, for the caller alone; waits while there is none; `None` after [`close`](Self::close) once all are given
    /// out. A lease that is dropped unfinished goes to another caller.
    async fn next(&self) -> Result<Option<Lease>, Failure>;

    /// Tasks that were finished since the last call, each with its report and told once, in any order; waits until there is
    /// one. For one caller, the front half. Dropping the future loses nothing.
    async fn finished(&self) -> Result<Vec<(Ticket, TaskReport)>, Failure>;

    /// No more tasks will be submitted.
    fn close(&self);
}

/// The number of a task in its queue; 0 is before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What the front half must know of a finished task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskReport {
    /// Ids of the task that have no document now: their deletion's version may be forgotten by a sink.
    pub absent: Vec<String>,
    /// Whether some request of it had no known outcome, and may still be applied.
    pub unknown: bool,
}

/// A task that is being worked on. Dropping it unfinished gives the task to another.
pub struct Lease {
    task: Option<Task>,
    ticket: Ticket,
    settle: Box<dyn FnMut(Ticket, Settled) + Send>,
}

/// How a lease ended.
#[derive(Debug)]
pub enum Settled {
    /// The task is done.
    Finished(TaskReport),
    /// It was given back.
    Returned(Task),
}

impl Lease {
    /// Made by a queue: `settle` is called once.
    pub fn new(task: Task, ticket: Ticket, settle: Box<dyn FnMut(Ticket, Settled) + Send>) -> Self {
        Self { task: Some(task), ticket, settle }
    }

    /// The work.
    pub fn task(&self) -> &Task {
        self.task.as_ref().expect("the task leaves a lease only when it is settled")
    }

    /// Its number.
    pub fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// Everything the task asked for is durable.
    pub fn finish(mut self, report: TaskReport) {
        self.task = None;
        (self.settle)(self.ticket, Settled::Finished(report));
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            (self.settle)(self.ticket, Settled::Returned(task));
        }
    }
}

impl Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("ticket", &self.ticket).field("task", &self.task).finish_non_exhaustive()
    }
}
