//! When which fault happens: lanes of faults beside each other, each a shuffled deck drawn again and again, all from the seed;
//! and the journal of what happened.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

/// One lane of faults: one after the other, with pauses; every kind comes before one comes again.
#[derive(Debug)]
pub struct Lane<T> {
    random: StdRng,
    kinds: Vec<T>,
    deck: Vec<T>,
    until: Instant,
    /// Milliseconds between two faults; now and then three times that.
    gap: Range<u64>,
}

impl<T: Copy> Lane<T> {
    /// `number` tells the lanes of one seed apart. A kind that is named twice comes twice as often.
    pub fn new(seed: u64, number: u64, kinds: &[T], gap: Range<u64>) -> Self {
        let random = StdRng::seed_from_u64(seed.wrapping_mul(7_919).wrapping_add(number));
        Self { random, kinds: kinds.to_vec(), deck: Vec::new(), until: Instant::now(), gap }
    }

    /// The same lane for a further round, which ends then.
    pub fn until(self, until: Instant) -> Self {
        Self { until, ..self }
    }

    /// Waits for the time of the next fault; `None` when the round's time is over.
    pub async fn next(&mut self) -> Option<T> {
        // Drawn first, whatever the time, so that the same seed draws the same faults.
        let calm = if self.chance(25) { 3 } else { 1 };
        let pause = self.time(self.gap.clone()) * calm;
        let kind = self.draw();
        tokio::time::sleep(pause.min(self.until.saturating_duration_since(Instant::now()))).await;
        (Instant::now() < self.until).then_some(kind)
    }

    fn draw(&mut self) -> T {
        if self.deck.is_empty() {
            self.deck.clone_from(&self.kinds);
            self.deck.shuffle(&mut self.random);
        }
        self.deck.pop().expect("a lane has kinds")
    }

    pub fn time(&mut self, milliseconds: Range<u64>) -> Duration {
        Duration::from_millis(self.random.random_range(milliseconds))
    }

    /// True in `percent` of a hundred throws.
    pub fn chance(&mut self, percent: u32) -> bool {
        self.random.random_range(0..100) < percent
    }

    pub fn number(&mut self, range: Range<u32>) -> u32 {
        self.random.random_range(range)
    }
}

/// What happened and when, by all lanes.
#[derive(Debug)]
pub struct Journal {
    begin: Instant,
    entries: Mutex<Vec<String>>,
    faults: Mutex<BTreeMap<&'static str, u32>>,
}

impl Journal {
    pub fn new() -> Self {
        Self { begin: Instant::now(), entries: Mutex::default(), faults: Mutex::default() }
    }

    /// One fault of this kind.
    pub fn fault(&self, kind: &'static str, detail: &str) {
        *locked(&self.faults).entry(kind).or_default() += 1;
        self.note(&format!("{kind} {detail}"));
    }

    /// Something worth knowing that is no fault.
    pub fn note(&self, text: &str) {
        let line = format!("{:8.3} s  {}", self.begin.elapsed().as_secs_f64(), text.trim_end());
        println!("{line}");
        locked(&self.entries).push(line);
    }

    /// Faults by kind.
    pub fn faults(&self) -> BTreeMap<&'static str, u32> {
        locked(&self.faults).clone()
    }

    /// Everything, a line each.
    pub fn text(&self) -> String {
        locked(&self.entries).join("\n")
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
