//! Batches, watermark and confirmed position: a transaction that writes two documents, and one that writes the first
//! again.
//!
//! Rules: the end of a transaction is a mark of its own behind its last row, and only the batch that holds it completes
//! the transaction; the watermark goes over the contiguous prefix of batches that are *written*, in whatever order they
//! finish; the slot is confirmed at the watermark at most.

use crate::check::{Protocol, breaks, holds};
use crate::list::List;

#[derive(Clone, Copy)]
struct Watermark {
    /// Only the batch with the end mark completes a transaction.
    end_marks: bool,
    /// The watermark goes over the contiguous prefix; otherwise to the highest batch that is written.
    prefix: bool,
    /// A batch counts when its documents are written; otherwise when it was handed out.
    written_first: bool,
}

const ALL: Watermark = Watermark { end_marks: true, prefix: true, written_first: true };

/// The documents that each transaction writes, row by row.
const TRANSACTIONS: [&[usize]; 2] = [&[0, 1], &[0]];
const CRASHES: u8 = 2;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct State {
    committed: u8,
    /// Transactions wholly in batches, and rows of the next.
    taken: (u8, u8),
    batches: List<Batch, 5>,
    /// The newest transaction that each document shows.
    documents: [u8; 2],
    watermark: u8,
    confirmed: u8,
    crashes: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Batch {
    end: u8,
    /// Documents that are still to be written, by bits.
    wants: u8,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Commit,
    Take(u8),
    Write(u8, u8),
    Confirm,
    Crash,
}

impl Watermark {
    fn batch(&self, s: &State, items: u8) -> Option<(Batch, (u8, u8))> {
        let (mut batch, (mut taken, mut rows)) = (Batch::default(), s.taken);
        for _ in 0..items {
            if taken >= s.committed {
                return None;
            }
            match TRANSACTIONS[usize::from(taken)].get(usize::from(rows)) {
                Some(document) => {
                    batch.wants |= 1 << document;
                    if !self.end_marks {
                        batch.end = taken + 1;
                    }
                    rows += 1;
                }
                None => {
                    (taken, rows) = (taken + 1, 0);
                    batch.end = taken;
                }
            }
        }
        Some((batch, (taken, rows)))
    }

    fn advance(&self, s: &mut State) {
        if !self.prefix {
            let written = s.batches.iter().filter(|batch| batch.wants == 0).map(|batch| batch.end).max();
            s.watermark = s.watermark.max(written.unwrap_or_default());
        }
        while s.batches.first().is_some_and(|batch| batch.wants == 0) {
            s.watermark = s.watermark.max(s.batches.remove(0).end);
        }
    }
}

impl Protocol for Watermark {
    type State = State;
    type Step = Step;

    fn start(&self) -> State {
        State { crashes: CRASHES, ..State::default() }
    }

    fn steps(&self, s: &State, steps: &mut Vec<Step>) {
        if usize::from(s.committed) < TRANSACTIONS.len() {
            steps.push(Step::Commit);
        }
        if s.batches.has_room() {
            steps.extend((1..=3).filter(|items| self.batch(s, *items).is_some()).map(Step::Take));
        }
        for (place, batch) in (0..).zip(s.batches.iter()) {
            steps.extend(
                (0..2).filter(|document| batch.wants >> document & 1 == 1).map(|document| Step::Write(place, document)),
            );
        }
        if s.watermark > s.confirmed {
            steps.push(Step::Confirm);
        }
        if s.crashes > 0 {
            steps.push(Step::Crash);
        }
    }

    fn after(&self, before: &State, step: &Step) -> State {
        let mut s = *before;
        match *step {
            Step::Commit => s.committed += 1,
            Step::Take(items) => {
                let Some((batch, taken)) = self.batch(&s, items) else { return s };
                s.batches.push(batch);
                s.taken = taken;
                if !self.written_first {
                    s.watermark = s.watermark.max(batch.end);
                }
            }
            // It is read now, and shows everything that was committed.
            Step::Write(place, document) => {
                s.batches[usize::from(place)].wants &= !(1 << document);
                s.documents[usize::from(document)] = newest(&s, document);
            }
            Step::Confirm => s.confirmed = s.watermark,
            Step::Crash => {
                s.crashes -= 1;
                s.batches = List::default();
                (s.taken, s.watermark) = ((s.confirmed, 0), s.confirmed);
            }
        }
        self.advance(&mut s);
        s
    }

    fn ended(&self, s: &State) -> bool {
        usize::from(s.committed) == TRANSACTIONS.len() && is_quiet(s)
    }

    fn wrong(&self, s: &State) -> Option<String> {
        let stale = (0..2).find(|document| s.documents[usize::from(*document)] != newest(s, *document))?;
        is_quiet(s).then(|| format!("document {stale} shows transaction {} only", s.documents[usize::from(stale)]))
    }

    fn words(&self, s: &State, step: &Step) -> String {
        match *step {
            Step::Commit => {
                let documents = TRANSACTIONS[usize::from(s.committed)];
                format!("transaction {} is committed and published; it writes documents {documents:?}", s.committed + 1)
            }
            Step::Take(items) => {
                let (batch, (taken, rows)) = self.batch(s, items).unwrap_or_default();
                let end = if batch.end > 0 { format!(", completes {}", batch.end) } else { String::new() };
                format!("a batch takes {items} more: to transaction {taken} and {rows} row(s) of the next{end}")
            }
            Step::Write(place, document) => format!("batch {place}: document {document} is assembled and written"),
            Step::Confirm => format!("the slot is confirmed at transaction {}", s.watermark),
            Step::Crash => format!("kill -9 and start; the stream begins behind transaction {}", s.confirmed),
        }
    }
}

/// Everything that was committed is delivered, and nothing is in flight.
fn is_quiet(s: &State) -> bool {
    s.taken == (s.committed, 0) && s.batches.is_empty()
}

/// The newest transaction committed that writes `document`.
fn newest(s: &State, document: u8) -> u8 {
    let writes = |number: &u8| TRANSACTIONS[usize::from(number - 1)].contains(&usize::from(document));
    (1..=s.committed).rev().find(writes).unwrap_or_default()
}

#[test]
fn the_slot_is_confirmed_only_over_whole_transactions_that_are_written() {
    holds("watermark", ALL);
    breaks("a transaction is complete with any of its rows", Watermark { end_marks: false, ..ALL });
    breaks("the highest batch counts, not the prefix", Watermark { prefix: false, ..ALL });
    breaks("a batch counts before it is written", Watermark { written_first: false, ..ALL });
}
