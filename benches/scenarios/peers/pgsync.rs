//! PGSync, with a redis of its own, by triggers (`benches/peers/pgsync`).

use std::time::{Duration, Instant};

use async_trait::async_trait;
use docmill::embedded::free_port;

use super::Process;
use crate::ground::Place;
use crate::machine;
use crate::system::Running;

pub const PEER: &str = "pgsync";
const LIVE_MAX: Duration = Duration::from_secs(300);

/// The script that starts both it and redis.
struct Started(Process);

pub async fn start(place: &Place) -> Box<dyn Running> {
    let (index, port) = (place.search.index("users"), free_port().expect("a free port").to_string());
    let environment = [("INDEX", index.as_str()), ("REDIS_PORT", port.as_str())];
    Box::new(Started(Process::start(PEER, place, &environment).await))
}

#[async_trait]
impl Running for Started {
    fn pids(&self) -> Vec<u32> {
        vec![self.0.pid()]
    }

    fn memory_pids(&self) -> Vec<u32> {
        machine::below(self.0.pid())
    }

    fn must_run(&self) {
        self.0.must_run();
    }

    /// Its first status line says that all its threads are there.
    async fn await_live(&mut self, place: &Place) {
        let (begin, line) = (Instant::now(), format!("Sync {}:", place.database.name));
        while !self.0.log().contains(&line) {
            self.0.must_run();
            assert!(begin.elapsed() < LIVE_MAX, "PGSync is not live after {LIVE_MAX:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn end(self: Box<Self>, _: &Place) {
        self.0.end();
    }
}
