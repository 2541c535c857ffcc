//! Ack: batches finish in any order, a position is confirmed only over the contiguous prefix of them, and only once the
//! checkpoint that says so is durable in the sink. A batch finishes when nothing can undo its documents any more.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::batch::{End, InFlight};
use super::dispatch::Done;
use crate::edges::{Failure, Observer};
use crate::fail_points::reached as reached_step;
use crate::model::Position;
use crate::pipeline::ledger::Ledger;
use crate::pipeline::policy::FlowLimits;

/// The contiguous prefix over batches that finish in any order. Pure.
#[derive(Debug, Default)]
pub struct Watermark {
    opened: u64,
    done: u64,
    ends: BTreeMap<u64, (Option<End>, bool)>,
    reached: End,
}

impl Watermark {
    /// The next batch, in commit order, and the position it completes; its number is for [`finish`](Self::finish).
    pub fn open(&mut self, end: Option<End>) -> u64 {
        let number = self.opened;
        self.opened += 1;
        self.ends.insert(number, (end, false));
        number
    }

    /// Batches that are not part of the prefix yet.
    pub fn unfinished(&self) -> usize {
        self.ends.len()
    }

    /// That batch is durable. Answers where the watermark is now.
    pub fn finish(&mut self, number: u64) -> End {
        if let Some((_, finished)) = self.ends.get_mut(&number) {
            *finished = true;
        }
        while let Some((end, true)) = self.ends.get(&self.done).copied() {
            self.ends.remove(&self.done);
            self.done += 1;
            // A stream that was opened again brings what is behind the watermark once more.
            self.reached = self.reached.and(end.unwrap_or_default());
        }
        self.reached
    }
}

/// A batch on its way: what the ack waits for.
#[derive(Debug)]
pub struct Dispatched {
    /// What it completes.
    pub end: Option<End>,
    /// Resolves when every document of it is written, and then when all of them are final.
    pub done: Done,
    /// Gone when the batch is.
    pub in_flight: InFlight,
}

/// Moves the watermark, writes the checkpoint behind it at most every `checkpoint_every`, and tells `confirmed`.
pub async fn run(
    mut batches: mpsc::Receiver<Dispatched>,
    ledger: Arc<Ledger>,
    confirmed: watch::Sender<Position>,
    observer: Arc<dyn Observer>,
    limits: FlowLimits,
) -> Result<(), Failure> {
    let mut watermark = Watermark::default();
    let mut writing = FuturesUnordered::new();
    let mut settling = FuturesUnordered::new();
    let mut stored = End { position: *confirmed.borrow(), ..End::default() };
    let mut reached = stored;
    let mut next_write = Instant::now();
    let mut open = true;
    loop {
        tokio::select! {
            batch = batches.recv(), if open && watermark.unfinished() < limits.unsettled_batches_max.max(1) => match batch {
                Some(Dispatched { end, done, in_flight }) => {
                    let number = watermark.open(end);
                    writing.push(async move { (done.written().await, number, in_flight) });
                }
                None => open = false,
            },
            Some((written, number, in_flight)) = writing.next() => {
                let mut rest = written?;
                // Others need not wait for what is only still to be looked at again.
                drop(in_flight);
                if rest.is_settled() {
                    reached = reached.and(watermark.finish(number));
                } else {
                    settling.push(async move { rest.settled().await.then_some(number) });
                }
            }
            Some(settled) = settling.next() => {
                // What is not settled when the flow ends is not confirmed, and comes again.
                if let Some(number) = settled {
                    reached = reached.and(watermark.finish(number));
                }
            }
            () = tokio::time::sleep_until(next_write), if reached.position > stored.position => {
                checkpoint(&ledger, reached, &confirmed, &*observer).await?;
                stored = reached;
                next_write = Instant::now() + limits.checkpoint_every;
            }
            else => break,
        }
    }
    if reached.position > stored.position {
        checkpoint(&ledger, reached, &confirmed, &*observer).await?;
    }
    Ok(())
}

async fn checkpoint(
    ledger: &Ledger,
    reached: End,
    confirmed: &watch::Sender<Position>,
    observer: &dyn Observer,
) -> Result<(), Failure> {
    ledger
        .update(|state| {
            state.checkpoint = state.checkpoint.max(reached.position);
            state.next_xid = state.next_xid.max(reached.next_xid);
        })
        .await?;
    reached_step("checkpoint.written");
    confirmed.send_replace(reached.position);
    observer.on_confirmed(reached.position);
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn end(position: u64) -> End {
        End { position: Position::new(position), next_xid: position }
    }

    #[test]
    fn nothing_is_confirmed_before_the_batch_that_holds_the_end() {
        let mut watermark = Watermark::default();
        let first = watermark.open(None);
        let second = watermark.open(Some(end(20)));
        assert_eq!(watermark.finish(second).position, Position::ZERO);
        assert_eq!(watermark.finish(first), end(20));
    }

    #[test]
    fn a_keepalive_that_knows_no_transaction_takes_nothing_away() {
        let mut watermark = Watermark::default();
        let transaction = watermark.open(Some(end(20)));
        let idle = watermark.open(Some(End { position: Position::new(30), next_xid: 0 }));
        watermark.finish(transaction);
        assert_eq!(watermark.finish(idle), End { position: Position::new(30), next_xid: 20 });
    }

    proptest! {
        #[test]
        fn the_watermark_is_the_end_of_the_contiguous_prefix_in_any_order(
            ends in prop::collection::vec(prop::option::of(1u64..1000), 1..40),
            seed in any::<u64>(),
        ) {
            let mut ends: Vec<_> = ends;
            let mut sorted: Vec<u64> = ends.iter().flatten().copied().collect();
            sorted.sort_unstable();
            for (slot, end) in ends.iter_mut().flatten().zip(sorted) { *slot = end; }
            let mut watermark = Watermark::default();
            let numbers: Vec<u64> = ends.iter().map(|position| watermark.open(position.map(end))).collect();
            let mut order: Vec<usize> = (0..numbers.len()).collect();
            let mut random = seed;
            for place in (1..order.len()).rev() {
                random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                order.swap(place, (random >> 33) as usize % (place + 1));
            }
            let mut finished = vec![false; numbers.len()];
            for place in order {
                finished[place] = true;
                let prefix = finished.iter().take_while(|done| **done).count();
                let expected = ends[..prefix].iter().flatten().max().copied().unwrap_or(0);
                prop_assert_eq!(watermark.finish(numbers[place]).position, Position::new(expected));
            }
        }
    }
}
