//! Build: ids become documents, absences and rejections. What fails is narrowed down to the one document that is to
//! blame; limits that several ids meet together only make the calls smaller.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::Back;
use super::read::{Fetched, read};
use crate::edges::{AssembleRequest, Failure, FailureClass};
use crate::model::{Outcome, Rejection, Task};
use crate::pipeline::backoff::Backoff;
use crate::pipeline::failing::Side;

/// One outcome for each id that was asked for.
pub(super) struct Built(Vec<(String, Outcome)>);

impl Built {
    /// The outcomes.
    pub(super) fn into_outcomes(self) -> Vec<(String, Outcome)> {
        self.0
    }
}

/// How many ids one call takes, by index. A limit that several ids meet together halves it; calls that go well let it
/// grow again, slowly.
#[derive(Debug, Default)]
pub struct CallSizes(Mutex<HashMap<Arc<str>, usize>>);

impl CallSizes {
    fn get(&self, index: &Arc<str>) -> usize {
        self.lock().get(index).copied().unwrap_or(Task::IDS_MAX)
    }

    fn met_a_limit(&self, index: &Arc<str>, ids: usize) {
        self.lock().insert(Arc::clone(index), (ids / 2).max(1));
    }

    fn went_well(&self, index: &Arc<str>) {
        let mut sizes = self.lock();
        if let Some(size) = sizes.get_mut(index) {
            *size += size.div_ceil(16);
            if *size >= Task::IDS_MAX {
                sizes.remove(index);
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Arc<str>, usize>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Assembles `ids`; waits for as long as the world is in the way.
///
/// # Errors
///
/// `Fatal` as it came, or when the builder fails on too many documents; `Transient` when the flow stops.
pub(super) async fn build(back: &Back, task: &Task, ids: Vec<String>) -> Result<Built, Failure> {
    let mut built = Vec::with_capacity(ids.len());
    let mut todo = vec![ids];
    let mut backoff = Backoff::new(&back.limits);
    let mut tried_alone = false;
    while let Some(mut ids) = todo.pop() {
        let size = back.call_sizes.get(&task.index);
        if ids.len() > size {
            todo.push(ids.split_off(size));
        }
        let began = Instant::now();
        let answer = assemble(back, task, &ids).await;
        back.builder.limits_met().into_iter().for_each(|(limit, times)| back.observer.on_limit(limit, times));
        let failure = match answer {
            Ok(outcomes) => {
                count(back, task, &ids, &outcomes)?;
                back.observer.on_built(&task.index, ids.len(), began.elapsed());
                back.call_sizes.went_well(&task.index);
                backoff.reset();
                tried_alone = false;
                built.extend(ids.into_iter().zip(outcomes));
                continue;
            }
            Err(failure) => failure,
        };
        if failure.guest().is_some() {
            back.observer.on_guest_failed(&failure);
        }
        match failure.class {
            FailureClass::Restart | FailureClass::Fatal => return Err(failure),
            FailureClass::Transient => {
                back.observer.on_retry("build", failure.message());
                back.observer.on_error(&failure);
                if !backoff.wait(&back.stop).await {
                    return Err(failure);
                }
                todo.push(ids);
            }
            class if ids.len() > 1 => {
                back.observer.on_retry("build", failure.message());
                // What a smaller call may not meet, the next task need not meet first.
                if matches!(class, FailureClass::Oversize | FailureClass::Time) {
                    back.call_sizes.met_a_limit(&task.index, ids.len());
                }
                let rest = ids.split_off(ids.len() / 2);
                todo.extend([rest, ids]);
            }
            FailureClass::Time if !tried_alone => {
                // Time can be the neighbours' doing: once more, alone, before the document is blamed.
                tried_alone = true;
                back.observer.on_retry("build", failure.message());
                todo.push(ids);
            }
            class => {
                tried_alone = false;
                let rejection = Rejection {
                    kind: kind(class).to_owned(),
                    reason: failure.message().to_owned(),
                    detail: Some(failure.full()),
                };
                for id in &ids {
                    back.failing.failed(Side::Assemble, &task.index, id, &rejection.kind, &rejection.reason)?;
                }
                built.extend(ids.into_iter().map(|id| (id, Outcome::Rejected(rejection.clone()))));
            }
        }
    }
    Ok(Built(built))
}

/// Counts what the builder made; what it answered to be rejected is an answer.
fn count(back: &Back, task: &Task, ids: &[String], outcomes: &[Outcome]) -> Result<(), Failure> {
    let is_failed = |outcome: &Outcome| matches!(outcome, Outcome::Rejected(rejection) if rejection.kind != "builder");
    let outcomes = || ids.iter().map(String::as_str).zip(outcomes);
    let well = outcomes().filter(|(_, outcome)| !is_failed(outcome)).map(|(id, _)| id);
    back.failing.went_well(Side::Assemble, &task.index, well);
    for (id, outcome) in outcomes() {
        if let Outcome::Rejected(Rejection { kind, reason, .. }) = outcome
            && is_failed(outcome)
        {
            back.failing.failed(Side::Assemble, &task.index, id, kind, reason)?;
        }
    }
    Ok(())
}

fn kind(class: FailureClass) -> &'static str {
    match class {
        FailureClass::Oversize => "builder_limit",
        FailureClass::Time => "builder_time",
        _ => "builder_failed",
    }
}

async fn assemble(back: &Back, task: &Task, ids: &[String]) -> Result<Vec<Outcome>, Failure> {
    let Fetched { ids, reads, source } = read(back, task, ids).await?;
    let count = ids.len();
    let request = AssembleRequest { index: Arc::clone(&task.index), ids, reads, source };
    let outcomes = back.builder.assemble(request).await?;
    if outcomes.len() != count {
        return Err(Failure::deterministic(format!(
            "the builder gave {} outcomes for {count} ids of index {}",
            outcomes.len(),
            task.index
        )));
    }
    Ok(outcomes)
}
