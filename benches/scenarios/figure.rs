//! Figures: what one system did in one scenario, once.

use std::time::Duration;

use crate::ground::Ground;
use crate::machine;

/// See the module.
#[derive(Clone, Debug)]
pub struct Figure {
    pub scenario: &'static str,
    pub system: &'static str,
    /// Documents or changes, as the scenario counts.
    pub count: u64,
    pub took: Duration,
    /// Seconds of CPU: its own, PostgreSQL's, the search engine's.
    pub cpu: [f64; 3],
    /// Its highest memory; 0 where it ran in the harness.
    pub rss_mib: u64,
    /// Commit to durable, p50 and p99, where that is the question.
    pub latency: Option<[Duration; 2]>,
    /// Documents that are not what SQL says; a run with any has no figure.
    pub wrong: usize,
}

impl Figure {
    /// Of a scenario that counts `count`, as it went.
    pub fn new(scenario: &'static str, system: &'static str, count: u64, course: Course) -> Self {
        let Course { took, cpu, rss_mib } = course;
        Self { scenario, system, count, took, cpu, rss_mib, latency: None, wrong: 0 }
    }

    pub fn per_second(&self) -> f64 {
        self.count as f64 / self.took.as_secs_f64()
    }

    /// Seconds that half of the probes waited at most; 0 where there are none.
    pub fn p50(&self) -> f64 {
        self.latency.map_or(0.0, |[p50, _]| p50.as_secs_f64())
    }

    /// Microseconds of CPU for each of what is counted.
    pub fn micros(&self) -> [f64; 3] {
        self.cpu.map(|seconds| seconds * 1e6 / self.count.max(1) as f64)
    }
}

/// How a run went: from its first write to its last.
#[derive(Clone, Copy, Debug, Default)]
pub struct Course {
    pub took: Duration,
    pub cpu: [f64; 3],
    pub rss_mib: u64,
}

/// Takes the seconds of CPU between two moments.
#[derive(Debug)]
pub struct Meter {
    own: Vec<u32>,
    servers: [u32; 2],
    begun: [f64; 3],
}

impl Meter {
    /// Of a system in these processes; of the harness itself where there are none.
    pub fn start(ground: &Ground, own: &[u32]) -> Self {
        let own = if own.is_empty() { vec![std::process::id()] } else { own.to_vec() };
        let mut meter = Self { own, servers: [ground.postgres_pid(), ground.search_pid()], begun: [0.0; 3] };
        meter.begun = meter.now();
        meter
    }

    pub fn used(&self) -> [f64; 3] {
        let now = self.now();
        std::array::from_fn(|at| now[at] - self.begun[at])
    }

    fn now(&self) -> [f64; 3] {
        // The servers may be below the process that started them, this one.
        let own = self.own.iter().map(|pid| machine::cpu_seconds(*pid, &self.servers)).sum();
        let [postgres, search] = self.servers.map(|pid| machine::cpu_seconds(pid, &[]));
        [own, postgres, search]
    }
}
