//! The scenarios, each for one system: rows and indexes of its own, followed to the last write, compared with SQL.

use std::time::Instant;

use crate::figure::{Course, Figure};
use crate::ground::{Ground, Place, Rows};
use crate::support::postgres::connect;
use crate::system::{System, Until, follow};

/// What ends so is of the sink that keeps nothing.
pub const NULL_SINK: &str = "null sink";
pub const BACKFILL: &str = "S1 backfill";
pub const BACKFILL_NULL: &str = "S1 backfill, null sink";
pub const ROOTS_NULL: &str = "S2 roots, 1 a transaction, null sink";
pub const UPDATES_LIMIT: &str = "limit of S2 and S3";
pub const GROWTH: [(u32, &str); 3] =
    [(10_000, "S9 backfill of 10,000"), (100_000, "S9 backfill of 100,000"), (1_000_000, "S9 backfill of 1,000,000")];

/// Changes that are waiting when a system starts.
#[derive(Clone, Copy, Debug)]
pub struct Changes {
    pub scenario: &'static str,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    /// What change `i` of `:users` users is.
    Each { update: &'static str, in_one_transaction: u32 },
    /// One statement.
    Once(&'static str),
}

const RENAMED: &str = "update users set name = 'changed ' || i where id = 1 + (i::int8 * 7919) % :users";

pub const ROOTS: Changes =
    Changes { scenario: "S2 roots, 1 a transaction", what: What::Each { update: RENAMED, in_one_transaction: 1 } };
pub const ROOTS_OF_100: Changes =
    Changes { scenario: "S2 roots, 100 a transaction", what: What::Each { update: RENAMED, in_one_transaction: 100 } };
pub const CHILDREN: Changes = Changes {
    scenario: "S3 children, 1 a transaction",
    what: What::Each {
        update: "update orders set note = 'changed ' || i where id = 1 + (i::int8 * 7919) % (:users * 5)",
        in_one_transaction: 1,
    },
};
/// All orders in one transaction: five times as many rows as users.
pub const ALL_ORDERS: Changes =
    Changes { scenario: "S5 one transaction of every order", what: What::Once("update orders set note = 'changed'") };

/// The user of change `change` of roots.
pub fn changed_root(change: i64, rows: &Rows) -> i64 {
    1 + change * 7919 % i64::from(rows.users)
}

/// Everything, from a cold start.
pub async fn backfill(ground: &Ground, rows: &Rows, system: System, scenario: &'static str) -> Figure {
    let place = ground.place(rows, "backfill").await;
    let mut running = system.start(&place).await;
    let count = rows.documents();
    let course = follow(ground, &place, &mut *running, Until::Written(count), false).await;
    running.await_live(&place).await;
    let wrong = system.wrong(&mut *running, &place).await;
    running.end(&place).await;
    ground.clear(place).await;
    Figure { wrong, ..Figure::new(scenario, system.name(), count, course) }
}

/// Changes that were made while it was stopped; or, of a system that takes them live, while it runs: its figure then includes
/// the writers, which work beside it.
pub async fn updates(ground: &Ground, rows: &Rows, system: System, changes: Changes, count: u32) -> Figure {
    let place = ground.place(rows, "updates").await;
    let mut running = system.start(&place).await;
    follow(ground, &place, &mut *running, Until::Written(rows.documents()), false).await;
    running.await_live(&place).await;
    place.settled().await;
    let last = last_name();
    let until = Until::Has(rows.last_user(), last.clone());
    let course = if system.takes_changes_live() {
        let changes = changes.make(&place, count, &last);
        tokio::join!(follow(ground, &place, &mut *running, until, false), changes).0
    } else {
        running.end(&place).await;
        changes.make(&place, count, &last).await;
        place.settled().await;
        running = system.start(&place).await;
        follow(ground, &place, &mut *running, until, changes.is_one()).await
    };
    let wrong = system.wrong(&mut *running, &place).await;
    running.end(&place).await;
    ground.clear(place).await;
    let scenario = match system.writes_to_search() {
        true => changes.scenario,
        false => changes.scenario_of_the_null_sink(),
    };
    Figure { wrong, ..Figure::new(scenario, system.name(), count.into(), course) }
}

/// The name that the last user gets when all else is done, so that its arrival ends the run; another one every time.
pub fn last_name() -> String {
    format!("last {:016x}", rand::random::<u64>())
}

impl Changes {
    /// Whether each is a transaction of its own.
    pub fn is_single(&self) -> bool {
        matches!(self.what, What::Each { in_one_transaction: 1, .. })
    }

    /// Whether all of them are one transaction, which comes whole or not at all.
    fn is_one(&self) -> bool {
        matches!(self.what, What::Once(_))
    }

    fn scenario_of_the_null_sink(&self) -> &'static str {
        match self.scenario {
            scenario if scenario == ROOTS.scenario => ROOTS_NULL,
            scenario if scenario == CHILDREN.scenario => "S3 children, 1 a transaction, null sink",
            scenario => scenario,
        }
    }

    /// Makes them, as fast as the server can, and names the last user.
    pub async fn make(&self, place: &Place, count: u32, last: &str) {
        let begin = Instant::now();
        let client = connect(&place.database.url).await;
        // Apart: a block may commit only where it is a query of its own.
        let block = match self.what {
            What::Once(statement) => statement.to_owned(),
            What::Each { update, in_one_transaction } => format!(
                "do $$ begin for i in 1..{count} loop {}; \
                 if i % {in_one_transaction} = 0 then commit; end if; end loop; end $$",
                update.replace(":users", &place.rows.users.to_string())
            ),
        };
        let last = format!("update users set name = '{last}' where id = {}", place.rows.last_user());
        for sql in ["set synchronous_commit = off", &block, &last, "select pg_switch_wal()"] {
            client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        }
        eprintln!("{}: {count} changes made in {:.1?}", self.scenario, begin.elapsed());
    }
}

/// A course that is only a time.
pub fn course(begin: Instant, cpu: [f64; 3]) -> Course {
    Course { took: begin.elapsed(), cpu, rss_mib: 0 }
}
