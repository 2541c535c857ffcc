//! Write: outcomes become durable. Only this file can make a [`Durable`], and only when every id of a task is written,
//! deleted, known to be newer in the sink, or dealt with as its rejection policy says.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::Back;
use super::build::build;
use crate::edges::{Failure, FailureClass, TaskReport, Waiting, Write, WriteOutcome, Written};
use crate::fail_points::{Rule, latest_published, off};
use crate::model::{DocumentId, Outcome, Position, QuarantineRecord, Rejection, Task, Version};
use crate::pipeline::backoff::Backoff;
use crate::pipeline::failing::Side;
use crate::pipeline::policy::OnRejected;

/// Proof that everything a task asked for is durable.
#[must_use]
pub(super) struct Durable(TaskReport);

impl Durable {
    /// The proof is used up; what the front half must know of it.
    pub(super) fn consume(self) -> TaskReport {
        self.0
    }
}

/// Does a task, for as long as the world is in the way.
///
/// # Errors
///
/// `Fatal` when a person must act; `Transient` when the flow stops.
pub(super) async fn durable(back: &Back, task: &Task) -> Result<Durable, Failure> {
    let mut backoff = Backoff::new(&back.limits);
    let mut ids = task.ids.clone();
    let mut about = TaskReport::default();
    loop {
        let outcomes = build(back, task, ids).await?.into_outcomes();
        let version = match off(Rule::LabelFirst) {
            false => task.version,
            true => Version::new(task.version.history(), Position::new(latest_published())),
        };
        // Rejections are reported and parked with the other outcomes of this attempt; nothing of them is written.
        let mut writes = Vec::with_capacity(outcomes.len());
        let mut rejected = Vec::new();
        for (id, outcome) in outcomes {
            let document = match outcome {
                Outcome::Document(document) => Some(document),
                Outcome::Absent => None,
                Outcome::Rejected(rejection) => {
                    rejected.push((id, rejection));
                    continue;
                }
            };
            writes.push(Write {
                generation: task.generation.clone(),
                routing: routing(back, task, &id),
                id,
                version,
                document,
            });
        }
        ids = send(back, task, writes, &mut rejected, &mut about, &mut backoff).await?;
        reject(back, task, rejected).await?;
        if ids.is_empty() {
            return Ok(Durable(about));
        }
        // Their outcome is unknown: what they are now is asked again, not what was sent.
        if !backoff.wait(&back.stop).await {
            return Err(Failure::transient("stopped while documents were not durable yet"));
        }
    }
}

fn routing(back: &Back, task: &Task, id: &str) -> Option<String> {
    let routing = back.builder.declaration().index(&task.index)?.routing.as_ref()?;
    Some(routing.of(id).to_owned())
}

/// Sends writes until each has an outcome; gives back the ids that must be assembled again.
async fn send(
    back: &Back,
    task: &Task,
    mut writes: Vec<Write>,
    rejected: &mut Vec<(String, Rejection)>,
    about: &mut TaskReport,
    backoff: &mut Backoff,
) -> Result<Vec<String>, Failure> {
    let made = Instant::now();
    let mut again = Vec::new();
    while !writes.is_empty() {
        if made.elapsed() >= back.limits.bytes_fresh_for {
            // Rows have moved on: newer bytes cost the sink no more than these.
            again.extend(writes.drain(..).map(|write| write.id));
            break;
        }
        let outcomes = match back.sink.write(&writes, &*back.ownership).await {
            Ok(outcomes) if outcomes.len() == writes.len() => outcomes,
            Ok(outcomes) => {
                return Err(Failure::fatal(format!(
                    "the sink gave {} outcomes for {} writes of index {}",
                    outcomes.len(),
                    writes.len(),
                    task.index
                )));
            }
            // A smaller or later call is no use for anything but what passes by itself.
            Err(failure) if failure.class != FailureClass::Transient => return Err(failure),
            Err(failure) => {
                back.observer.on_waiting(Some(Waiting::Sink));
                back.observer.on_retry("write", failure.message());
                back.observer.on_error(&failure);
                about.unknown = true;
                again.extend(writes.into_iter().map(|write| write.id));
                return Ok(again);
            }
        };
        count(back, task, &writes, &outcomes)?;
        let mut report = Report::new(task);
        let mut overloaded = Vec::new();
        for (write, outcome) in writes.into_iter().zip(outcomes) {
            match outcome {
                WriteOutcome::Written => {
                    about.absent.extend(write.document.is_none().then(|| write.id.clone()));
                    report.written(write);
                }
                WriteOutcome::Stale { current } => {
                    check_stale(back, task, &write, current).await?;
                    // What it lost against may be a late write of a document that a row does not make any more.
                    about.absent.extend(write.document.is_none().then(|| write.id.clone()));
                    report.0.stale += 1;
                }
                WriteOutcome::Rejected(rejection) => rejected.push((write.id, rejection)),
                WriteOutcome::Overloaded(reason) => {
                    back.observer.on_retry("write.overloaded", &reason);
                    if overloaded.is_empty() {
                        back.observer.on_error(&Failure::transient(format!("the sink does not take writes: {reason}")));
                    }
                    overloaded.push(write);
                }
                WriteOutcome::Unknown(reason) => {
                    back.observer.on_retry("write.unknown", &reason);
                    about.unknown = true;
                    again.push(write.id);
                }
            }
        }
        back.observer.on_waiting((!overloaded.is_empty()).then_some(Waiting::Sink));
        back.observer.on_written(&report.0);
        writes = overloaded;
        if !writes.is_empty() && !backoff.wait(&back.stop).await {
            return Err(Failure::transient("stopped while the sink was overloaded"));
        }
    }
    Ok(again)
}

/// Counts what the sink took and what it refused.
fn count(back: &Back, task: &Task, writes: &[Write], outcomes: &[WriteOutcome]) -> Result<(), Failure> {
    let outcomes = || writes.iter().map(|write| write.id.as_str()).zip(outcomes);
    let well = outcomes().filter(|(_, outcome)| matches!(outcome, WriteOutcome::Written | WriteOutcome::Stale { .. }));
    back.failing.went_well(Side::Sink, &task.index, well.map(|(id, _)| id));
    for (id, outcome) in outcomes() {
        if let WriteOutcome::Rejected(Rejection { kind, reason, .. }) = outcome {
            back.failing.failed(Side::Sink, &task.index, id, kind, reason)?;
        }
    }
    Ok(())
}

struct Report(Written);

impl Report {
    fn new(task: &Task) -> Self {
        Self(Written {
            index: task.index.clone(),
            documents: Vec::new(),
            absent: Vec::new(),
            stale: 0,
            bytes: 0,
            origin: task.origin.clone(),
        })
    }

    fn written(&mut self, write: Write) {
        match write.document {
            Some(document) => {
                self.0.bytes += document.len();
                self.0.documents.push(write.id);
            }
            None => self.0.absent.push(write.id),
        }
    }
}

/// A write that lost is done only if it lost against a write of ours: one with our history, of a position that the
/// source has reached.
async fn check_stale(back: &Back, task: &Task, write: &Write, current: Option<Version>) -> Result<(), Failure> {
    if let Some(current) = current.filter(|current| current.history() == task.version.history()) {
        if current.position() <= back.flushed.get() {
            return Ok(());
        }
        let mut backoff = Backoff::new(&back.limits);
        let flushed = loop {
            match back.reader.flush_position().await {
                Ok(position) => break position,
                Err(failure) if failure.class == FailureClass::Transient => {
                    back.observer.on_error(&failure);
                    if !backoff.wait(&back.stop).await {
                        return Err(failure);
                    }
                }
                Err(failure) => return Err(failure),
            }
        };
        back.flushed.raise(flushed);
        if current.position() <= flushed {
            return Ok(());
        }
    }
    let found = current.map_or_else(|| "a version that is none of ours".to_owned(), |current| current.to_string());
    Err(Failure::fatal(format!(
        "versions from elsewhere: document {} of index {} was to be written as version {}, and the sink holds {found}",
        write.id, task.generation, task.version
    ))
    .with_advice("something else writes this index; let docmill fill a new one (another index prefix)"))
}

async fn reject(back: &Back, task: &Task, rejected: Vec<(String, Rejection)>) -> Result<(), Failure> {
    for (id, rejection) in &rejected {
        back.observer.on_rejected(&task.index, id, rejection);
    }
    let Some((id, rejection)) = rejected.first() else {
        return Ok(());
    };
    match back.policies.of(&task.index) {
        OnRejected::Skip => Ok(()),
        OnRejected::Stop => Err(Failure::fatal(format!(
            "document {id} of index {} was rejected ({rejection}), and the policy is to stop",
            task.index
        ))
        .with_advice("mend the builder or the mapping, or set on_rejected to skip or quarantine")),
        OnRejected::Quarantine => quarantine(back, task, rejected).await,
    }
}

async fn quarantine(back: &Back, task: &Task, rejected: Vec<(String, Rejection)>) -> Result<(), Failure> {
    let at_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
    let records: Vec<QuarantineRecord> = rejected
        .into_iter()
        .map(|(id, rejection)| QuarantineRecord {
            document: DocumentId { index: task.index.clone(), id },
            generation: task.generation.clone(),
            version: task.version,
            builder_version: task.builder_version.clone(),
            rejection,
            at_ms,
        })
        .collect();
    let mut backoff = Backoff::new(&back.limits);
    loop {
        match back.sink.quarantine(&records).await {
            Err(failure) if !matches!(failure.class, FailureClass::Restart | FailureClass::Fatal) => {
                back.observer.on_retry("quarantine", failure.message());
                back.observer.on_error(&failure);
                if !backoff.wait(&back.stop).await {
                    return Err(failure);
                }
            }
            other => return other,
        }
    }
}
