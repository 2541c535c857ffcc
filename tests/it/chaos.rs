//! The chaos trial: random work on every table of the shop, random faults of docmill and of the servers on both sides of it;
//! when the writes stop, every document is what SQL says it must be, and the slot is confirmed to the end.
//!
//! ```text
//! writers ──> PostgreSQL ──────> docmill run ──────> proxy ──────> OpenSearch
//! small        fast, immediate,   kill -9, SIGTERM,   429, 503,     kill -9, SIGTERM,
//! large        kill -9, ended     SIGSTOP             cut, late,    SIGSTOP
//! TRUNCATE     connections,                           silent
//!              frozen backends
//! ```
//!
//! | variable | is | else |
//! |---|---|---|
//! | `DOCMILL_CHAOS_SEED` | what everything is drawn from; printed, so that a failure repeats as well as it can | any |
//! | `DOCMILL_CHAOS_SECONDS` | how long work and faults last | 32 |
//! | `DOCMILL_CHAOS_HOLD` | seconds that the servers stay up after a failure, to be looked at | 0 |
//! | `DOCMILL_CHAOS_LOG` | where docmill's log is kept | kept after a failure only |
//! | `DOCMILL_CHAOS_FAIL_POINTS` | rules switched off (`src/fail_points.rs`), to see whether the trial notices | none |
//! | `DOCMILL_BIN` | the binary, such as a release build | the test's |
//!
//! `DOCMILL_CHAOS_SECONDS=1800 tests/run chaos:: --nocapture` is the long trial.

mod lane;
mod process;
mod report;
mod servers;
mod setting;
mod statements;
mod traffic;
mod trial;
mod work;

use self::trial::Trial;

#[tokio::test(flavor = "multi_thread")]
async fn after_random_work_and_random_faults_the_index_equals_sql_and_the_slot_is_confirmed_to_the_end() {
    Trial::start().await.run().await;
}
