//! The large transactions and the TRUNCATEs, planned from the seed; the small ones are `support/writes.rs`.

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use super::statements::{self, MANY, REFILL, Statement, TRUNCATES};
use crate::support::writers::{Plan, Step};

/// How large the large ones get.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Rows of one statement.
    pub rows_max: u32,
    /// Rows of one statement where each is a document.
    pub documents_max: u32,
    /// Rows that the shop is seeded with and refilled to.
    pub users: u32,
    pub products: u32,
}

/// The writer of large transactions.
#[derive(Debug)]
pub struct Large {
    random: StdRng,
    deck: Vec<&'static Statement>,
    /// Transactions so far: every one has ids of its own.
    number: i64,
    sizes: Sizes,
}

impl Large {
    pub fn new(seed: u64, sizes: Sizes) -> Self {
        Self { random: StdRng::seed_from_u64(seed.wrapping_add(101)), deck: Vec::new(), number: 0, sizes }
    }

    /// One or two large statements, perhaps with a third that is undone by a savepoint.
    pub fn plan(&mut self) -> Plan {
        let begin = match self.random.random_range(0..10) {
            0 => "begin isolation level repeatable read",
            _ => "begin",
        };
        let mut steps = vec![Step::Plain("set local lock_timeout = '10s'")];
        for _ in 0..self.random.random_range(1..=2) {
            let (statement, text) = self.statement();
            if self.random.random_bool(0.5) {
                // Else small writers may make it fail again and again.
                steps.push(Step::Plain(statement.lock));
            }
            if self.random.random_bool(0.2) {
                let (undone, text) = self.statement();
                steps.extend([
                    Step::Plain("savepoint s"),
                    Step::Write(undone.name, text),
                    Step::Plain("rollback to s"),
                ]);
            }
            steps.push(Step::Write(statement.name, text));
        }
        Plan { begin, steps, commit: self.random.random_bool(0.9) }
    }

    fn statement(&mut self) -> (&'static Statement, String) {
        if self.deck.is_empty() {
            self.deck = MANY.iter().collect();
            self.deck.shuffle(&mut self.random);
        }
        let statement = self.deck.pop().expect("there are large statements");
        self.number += 1;
        let most = if statement.a_row_is_a_document { self.sizes.documents_max } else { self.sizes.rows_max };
        // As many of tens as of ten thousands.
        let rows = f64::from(most).powf(self.random.random_range(0.3..1.0)) as u32;
        let few = [1, 5, 60, 1_000_000][self.random.random_range(0..4)];
        (
            statement,
            (statement.sql)(statements::Numbers { base: 1_000_000_000_000 + self.number * 1_000_000, rows, few }),
        )
    }
}

/// The writer that truncates, and then fills up what is missing.
#[derive(Debug)]
pub struct Truncating {
    random: StdRng,
    deck: Vec<&'static str>,
    sizes: Sizes,
    truncated: bool,
}

impl Truncating {
    pub fn new(seed: u64, sizes: Sizes) -> Self {
        Self { random: StdRng::seed_from_u64(seed.wrapping_add(202)), deck: Vec::new(), sizes, truncated: false }
    }

    pub fn plan(&mut self) -> Plan {
        let mut steps = vec![Step::Plain("set local lock_timeout = '5s'")];
        if self.truncated {
            self.refill(&mut steps);
            self.truncated = false;
            return Plan { begin: "begin", steps, commit: true };
        }
        if self.deck.is_empty() {
            self.deck = TRUNCATES.to_vec();
            self.deck.shuffle(&mut self.random);
        }
        let truncate = self.deck.pop().expect("there are truncates");
        if self.random.random_bool(0.2) {
            // A TRUNCATE that never happened.
            steps.extend([Step::Plain("savepoint s"), Step::Plain(truncate), Step::Plain("rollback to s")]);
        }
        steps.push(Step::Plain(truncate));
        if self.random.random_bool(0.3) {
            self.refill(&mut steps);
        }
        self.truncated = true;
        Plan { begin: "begin", steps, commit: self.random.random_bool(0.9) }
    }

    fn refill(&self, steps: &mut Vec<Step>) {
        for (name, sql) in REFILL {
            let sql = sql.replace(":users", &self.sizes.users.to_string());
            steps.push(Step::Write(name, sql.replace(":products", &self.sizes.products.to_string())));
        }
    }
}
