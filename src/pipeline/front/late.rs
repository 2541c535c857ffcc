//! The late window: while a request whose outcome nobody knows may still be applied, a deletion is not final. A sink forgets
//! the versions of deleted documents, so a late write would bring the document back, and nothing would ever correct it.
//!
//! | outcome of an id | then |
//! |---|---|
//! | present | nothing: its version protects it |
//! | absent, read while no window was open | final |
//! | absent, read while one was | remembered until the window closes, then assembled once more; its batch is not confirmed |
//! | absent, assembled after its window closed, no request of it unknown | final |
//!
//! A window opens at the start behind a process that did not end in order, and at every outcome that is unknown. It is longer
//! than anything between here and a shard can hold a request. Pure; the model is `tests/model/`.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;

/// An id of an index, by the index's place in the declaration.
pub type Place = (usize, String);

/// What is remembered of deletions.
#[derive(Debug)]
pub struct Late {
    window: Duration,
    open_until: Option<Instant>,
    ids: HashMap<Place, Remembered>,
    /// Those whose second look is still to be asked for.
    due: BTreeSet<(Instant, Place)>,
}

#[derive(Debug)]
struct Remembered {
    /// A read that begins from then on, and is answered, is final.
    until: Instant,
    /// The requests that wait for that.
    holders: Vec<u64>,
}

impl Late {
    /// With a window open from `now`, or with none.
    pub fn new(window: Duration, open: bool, now: Instant) -> Self {
        let open_until = open.then(|| now + window);
        Self { window, open_until, ids: HashMap::new(), due: BTreeSet::new() }
    }

    /// When the window closes, if one is open at `now`.
    pub fn open_until(&self, now: Instant) -> Option<Instant> {
        self.open_until.filter(|until| *until > now)
    }

    /// Some request of these ids, answered by nobody, may be applied from now on until the window that this opens closes.
    pub fn unknown<'a>(&mut self, ids: impl Iterator<Item = (usize, &'a str)>, now: Instant) {
        let until = now + self.window;
        self.open_until = Some(until);
        for (index, id) in ids {
            let place = (index, id.to_owned());
            if let Some(remembered) = self.ids.get_mut(&place) {
                self.due.remove(&(remembered.until, place.clone()));
                remembered.until = until;
                self.due.insert((until, place));
            }
        }
    }

    /// The outcome of an id whose assembly began at `begun`: that decides, and not when it is told, because the window may have
    /// closed in between (a counter-example of the model). `holders` are the requests that it was for: those that need not
    /// wait any longer come back.
    pub fn outcome(&mut self, place: Place, absent: bool, begun: Instant, holders: Vec<u64>) -> Vec<u64> {
        match self.ids.get_mut(&place) {
            Some(remembered) if absent && begun < remembered.until => {
                remembered.holders.extend(holders);
                Vec::new()
            }
            Some(remembered) => {
                remembered.holders.extend(holders);
                let (until, holders) = (remembered.until, std::mem::take(&mut remembered.holders));
                self.ids.remove(&place);
                self.due.remove(&(until, place));
                holders
            }
            None => match self.open_until.filter(|until| absent && begun < *until) {
                Some(until) => {
                    self.due.insert((until, place.clone()));
                    self.ids.insert(place, Remembered { until, holders });
                    Vec::new()
                }
                None => holders,
            },
        }
    }

    /// When the next second look is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(until, _)| *until)
    }

    /// The ids whose second look is due, each told once.
    pub fn take_due(&mut self, now: Instant) -> Vec<Place> {
        let mut places = Vec::new();
        while let Some((until, _)) = self.due.first()
            && *until <= now
        {
            places.extend(self.due.pop_first().map(|(_, place)| place));
        }
        places
    }

    /// Ids that are remembered.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Forgets everything, because a pass is on record that looks at all of it again; who waited need not any longer.
    pub fn hand_over(&mut self) -> Vec<u64> {
        self.due.clear();
        self.ids.drain().flat_map(|(_, remembered)| remembered.holders).collect()
    }

    /// The indexes that something is remembered of.
    pub fn indexes(&self) -> BTreeSet<usize> {
        self.ids.keys().map(|(index, _)| *index).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(120);

    fn x() -> Place {
        (0, "x".to_owned())
    }

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[tokio::test]
    async fn a_deletion_without_a_window_is_final_at_once() {
        let start = Instant::now();
        let mut late = Late::new(WINDOW, false, start);
        assert_eq!(late.outcome(x(), true, start, vec![1]), [1]);
        assert_eq!((late.len(), late.next_due()), (0, None));
    }

    #[tokio::test]
    async fn a_deletion_in_a_window_is_final_after_a_read_that_began_behind_it() {
        let start = Instant::now();
        let mut late = Late::new(WINDOW, true, start);
        assert!(late.outcome(x(), true, at(start, 5), vec![1]).is_empty());
        // Another look in between changes nothing, and one that began before the window closed is none.
        assert!(late.outcome(x(), true, at(start, 7), vec![2]).is_empty());
        assert!(late.take_due(at(start, 119)).is_empty());
        assert_eq!(late.take_due(at(start, 120)), [x()]);
        assert!(late.outcome(x(), true, at(start, 119), vec![3]).is_empty());
        assert_eq!(late.outcome(x(), true, at(start, 121), vec![]), [1, 2, 3]);
        assert_eq!(late.len(), 0);
    }

    #[tokio::test]
    async fn a_deletion_read_in_a_window_is_looked_at_again_though_it_is_told_when_the_window_has_closed() {
        let start = Instant::now();
        let mut late = Late::new(WINDOW, true, start);
        // Told at any time later: what was written in the window may have been undone in it.
        assert!(late.outcome(x(), true, at(start, 119), vec![1]).is_empty());
        assert_eq!(late.take_due(at(start, 130)), [x()]);
        assert_eq!(late.outcome(x(), true, at(start, 130), vec![]), [1]);
    }

    #[tokio::test]
    async fn a_document_that_is_present_again_needs_no_second_look() {
        let start = Instant::now();
        let mut late = Late::new(WINDOW, true, start);
        assert!(late.outcome(x(), true, start, vec![1]).is_empty());
        assert_eq!(late.outcome(x(), false, at(start, 1), vec![2]), [1, 2]);
        assert_eq!(late.next_due(), None);
    }

    #[tokio::test]
    async fn another_unknown_outcome_of_the_same_id_puts_its_second_look_off() {
        let start = Instant::now();
        let mut late = Late::new(WINDOW, true, start);
        assert!(late.outcome(x(), true, start, vec![1]).is_empty());
        late.unknown([(0, "x"), (0, "y")].into_iter(), at(start, 100));
        assert!(late.take_due(at(start, 219)).is_empty());
        assert!(late.outcome(x(), true, at(start, 130), vec![]).is_empty());
        assert_eq!(late.take_due(at(start, 220)), [x()]);
        assert_eq!(late.outcome(x(), true, at(start, 220), vec![]), [1]);
    }

    #[tokio::test]
    async fn a_window_that_others_opened_later_does_not_hold_a_second_look() {
        let start = Instant::now();
        let mut late = Late::new(WINDOW, true, start);
        assert!(late.outcome(x(), true, start, vec![1]).is_empty());
        late.unknown([(0, "y")].into_iter(), at(start, 100));
        assert_eq!(late.take_due(at(start, 120)), [x()]);
        assert_eq!(late.outcome(x(), true, at(start, 121), vec![]), [1]);
    }
}
