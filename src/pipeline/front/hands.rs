//! One hand: an id of an index is in one unfinished task at a time, whoever asked. Ids wanted meanwhile are collected and given
//! out in the next task, which all who wanted them share. Pure, and it keeps what is [`Late`].
//!
//! A request is told twice: when every id of it was written, and when every outcome is final.

use std::collections::{BTreeMap, HashMap, HashSet};

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::dispatch::Wanted;
use super::late::Late;
use crate::edges::TaskReport;
use crate::fail_points::{Rule, off};
use crate::model::Origin;

/// Ids to submit now.
#[derive(Debug, PartialEq)]
pub struct Free {
    /// The index's place in the declaration.
    pub index: usize,
    /// The ids.
    pub ids: Vec<String>,
    /// What asked for them.
    pub origin: Origin,
}

/// A task that is finished.
#[derive(Debug)]
pub struct Finished {
    /// The index's place in the declaration.
    pub index: usize,
    /// Its ids.
    pub ids: Vec<String>,
    /// When it was submitted: nothing of it was read before.
    pub begun: Instant,
    /// What the back half says of it.
    pub report: TaskReport,
}

/// Whom to tell of a request.
#[derive(Debug)]
pub struct Tell {
    /// Every id was written.
    pub written: oneshot::Sender<()>,
    /// Every outcome is final.
    pub settled: oneshot::Sender<()>,
}

/// Who holds which id, and who waits for it.
#[derive(Debug)]
pub struct Hands {
    indexes: Vec<HashMap<String, Hand>>,
    requests: HashMap<u64, Request>,
    next: u64,
    late: Late,
}

#[derive(Debug, Default)]
struct Hand {
    /// The requests that the unfinished task is for.
    holders: Vec<u64>,
    /// The requests that wait for the next one, and what asked first for it.
    waiters: Vec<u64>,
    origin: Option<Origin>,
}

#[derive(Debug)]
struct Request {
    unwritten: usize,
    unsettled: usize,
    written: Option<oneshot::Sender<()>>,
    settled: oneshot::Sender<()>,
}

impl Hands {
    /// Open hands for that many indexes.
    pub fn new(indexes: usize, late: Late) -> Self {
        Self { indexes: (0..indexes).map(|_| HashMap::new()).collect(), requests: HashMap::new(), next: 0, late }
    }

    /// What is late.
    pub fn late(&self) -> &Late {
        &self.late
    }

    /// Takes what is free into the hand and notes who waits for the rest.
    pub fn want(&mut self, wanted: Wanted, tell: Tell) -> Vec<Free> {
        let request = self.next;
        self.next += 1;
        let mut count = 0;
        let mut free = Vec::new();
        for (index, ids) in wanted.ids {
            count += ids.len();
            let mut now = Vec::with_capacity(ids.len());
            for id in ids {
                match self.indexes[index].get_mut(&id) {
                    Some(hand) if off(Rule::OneHand) => {
                        hand.holders.push(request);
                        now.push(id);
                    }
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
            let _ = (tell.written.send(()), tell.settled.send(()));
        } else {
            let Tell { written, settled } = tell;
            let told = Request { unwritten: count, unsettled: count, written: Some(written), settled };
            self.requests.insert(request, told);
        }
        free
    }

    /// Opens the hands of finished tasks; ids that were wanted meanwhile come back to be submitted.
    pub fn release(&mut self, finished: Vec<Finished>, now: Instant) -> Vec<Free> {
        let mut again = Again::default();
        for Finished { index, ids, begun, report } in finished {
            if report.unknown {
                self.late.unknown(ids.iter().map(|id| (index, id.as_str())), now);
            }
            let absent: HashSet<String> = report.absent.into_iter().collect();
            for id in ids {
                let Some(hand) = self.indexes[index].remove(&id) else {
                    continue;
                };
                hand.holders.iter().for_each(|request| self.one_written(*request));
                if let Some(origin) = hand.origin {
                    let next = Hand { holders: hand.waiters, ..Hand::default() };
                    self.indexes[index].insert(id.clone(), next);
                    again.add(index, id.clone(), origin);
                }
                let absent = absent.contains(&id) && !off(Rule::SecondLook);
                let settled = self.late.outcome((index, id), absent, begun, hand.holders);
                settled.into_iter().for_each(|request| self.one_settled(request));
            }
        }
        again.into_free()
    }

    /// The second looks that are due at `now`.
    pub fn look_again(&mut self, now: Instant) -> Vec<Free> {
        let mut again = Again::default();
        for (index, id) in self.late.take_due(now) {
            match self.indexes[index].get_mut(&id) {
                // What is under way began before the window closed.
                Some(hand) => hand.origin = Some(more_urgent(hand.origin.take(), Origin::SecondLook)),
                None => {
                    self.indexes[index].insert(id.clone(), Hand::default());
                    again.add(index, id, Origin::SecondLook);
                }
            }
        }
        again.into_free()
    }

    /// A pass on record looks at everything that is remembered: nobody waits for it here any longer.
    pub fn hand_over_late(&mut self) {
        for request in self.late.hand_over() {
            self.one_settled(request);
        }
    }

    /// Whether every outcome is final and none can be undone.
    pub fn is_settled(&self, now: Instant) -> bool {
        self.late.len() == 0 && self.late.open_until(now).is_none() && self.indexes.iter().all(HashMap::is_empty)
    }

    fn one_written(&mut self, request: u64) {
        if let Some(request) = self.requests.get_mut(&request) {
            request.unwritten = request.unwritten.saturating_sub(1);
            if request.unwritten == 0
                && let Some(written) = request.written.take()
            {
                let _ = written.send(());
            }
        }
    }

    fn one_settled(&mut self, number: u64) {
        if let Some(request) = self.requests.get_mut(&number) {
            request.unsettled -= 1;
            if request.unsettled == 0
                && let Some(request) = self.requests.remove(&number)
            {
                let _ = request.settled.send(());
            }
        }
    }
}

/// Ids to submit, gathered by index and lane.
#[derive(Default)]
struct Again(BTreeMap<(usize, bool), Free>);

impl Again {
    fn add(&mut self, index: usize, id: String, origin: Origin) {
        let live = matches!(origin, Origin::Live { .. });
        match self.0.get_mut(&(index, live)) {
            Some(free) => {
                free.ids.push(id);
                free.origin = more_urgent(Some(free.origin.clone()), origin);
            }
            None => {
                self.0.insert((index, live), Free { index, ids: vec![id], origin });
            }
        }
    }

    fn into_free(self) -> Vec<Free> {
        self.0.into_values().collect()
    }
}

/// A live change before anything else; of two live changes the older one, whose wait is what is measured.
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
    use std::time::Duration;

    use super::*;

    const WINDOW: Duration = Duration::from_secs(120);

    struct Told {
        written: oneshot::Receiver<()>,
        settled: oneshot::Receiver<()>,
    }

    impl Told {
        fn is_written(&mut self) -> bool {
            self.written.try_recv().is_ok()
        }
        fn is_settled(&mut self) -> bool {
            self.settled.try_recv().is_ok()
        }
    }

    fn want(hands: &mut Hands, ids: &[&str], origin: Origin) -> (Vec<Free>, Told) {
        let ((written, was_written), (settled, was_settled)) = (oneshot::channel(), oneshot::channel());
        let ids = ids.iter().map(|id| id.to_string()).collect();
        let free = hands.want(Wanted { ids: vec![(0, ids)], origin }, Tell { written, settled });
        (free, Told { written: was_written, settled: was_settled })
    }

    fn live(at: i64) -> Origin {
        Origin::Live { committed_at_us: at }
    }

    fn finished(ids: &[&str], absent: &[&str], begun: Instant) -> Vec<Finished> {
        let text = |ids: &[&str]| ids.iter().map(|id| id.to_string()).collect::<Vec<_>>();
        let report = TaskReport { absent: text(absent), unknown: false };
        vec![Finished { index: 0, ids: text(ids), begun, report }]
    }

    fn ids(free: &[Free]) -> Vec<&str> {
        free.iter().flat_map(|free| free.ids.iter().map(String::as_str)).collect()
    }

    #[tokio::test]
    async fn an_id_is_in_one_hand_and_the_next_task_serves_all_who_waited() {
        let now = Instant::now();
        let mut hands = Hands::new(1, Late::new(WINDOW, false, now));
        let (free, mut first) = want(&mut hands, &["a", "b"], live(1));
        assert_eq!(ids(&free), ["a", "b"]);
        let (free, mut second) = want(&mut hands, &["a", "c"], live(2));
        assert_eq!(ids(&free), ["c"]);
        let (free, mut third) = want(&mut hands, &["a"], Origin::Pass { id: 1 });
        assert!(free.is_empty());

        let again = hands.release(finished(&["a", "b"], &[], now), now);
        assert_eq!((ids(&again), again[0].origin.clone()), (vec!["a"], live(2)));
        assert!(first.is_written() && first.is_settled());
        assert!(hands.release(finished(&["c"], &[], now), now).is_empty());
        assert!(!second.is_written() && !third.is_written(), "their ask came after the read");
        assert!(hands.release(finished(&["a"], &[], now), now).is_empty());
        assert!(second.is_settled() && third.is_settled());
        assert!(hands.is_settled(now) && hands.requests.is_empty());
    }

    #[tokio::test]
    async fn a_deletion_in_a_late_window_is_written_at_once_and_settled_by_its_second_look() {
        let now = Instant::now();
        let mut hands = Hands::new(1, Late::new(WINDOW, true, now));
        let (_, mut told) = want(&mut hands, &["a", "b"], live(1));
        hands.release(finished(&["a", "b"], &["a"], now), now);
        assert!(told.is_written() && !told.is_settled());
        let then = now + WINDOW;
        assert_eq!(hands.late().next_due(), Some(then));
        let again = hands.look_again(then);
        assert_eq!((ids(&again), again[0].origin.clone()), (vec!["a"], Origin::SecondLook));
        hands.release(finished(&["a"], &["a"], then), then);
        assert!(told.is_settled() && hands.is_settled(then) && hands.requests.is_empty());
    }

    #[tokio::test]
    async fn a_second_look_at_an_id_that_is_in_a_hand_is_the_next_task() {
        let now = Instant::now();
        let mut hands = Hands::new(1, Late::new(WINDOW, true, now));
        let (_, mut told) = want(&mut hands, &["a"], live(1));
        hands.release(finished(&["a"], &["a"], now), now);
        let (_, mut more) = want(&mut hands, &["a"], live(2));
        let then = now + WINDOW;
        assert!(hands.look_again(then).is_empty());
        let again = hands.release(finished(&["a"], &["a"], now), then);
        assert!(more.is_written() && !more.is_settled() && !told.is_settled());
        assert_eq!(ids(&again), ["a"]);
        hands.release(finished(&["a"], &["a"], then), then);
        assert!(more.is_settled() && told.is_settled());
    }

    #[tokio::test]
    async fn a_request_for_nothing_is_done_at_once() {
        let now = Instant::now();
        let mut hands = Hands::new(1, Late::new(WINDOW, true, now));
        let (_, mut told) = want(&mut hands, &[], live(1));
        assert!(told.is_written() && told.is_settled());
    }
}
