//! Figures, and the table of them: each beside the limit that was measured in the same run.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::ground::Ground;
use crate::machine;

/// What one system did in one scenario.
#[derive(Debug)]
pub struct Figure {
    pub scenario: &'static str,
    pub system: &'static str,
    /// Documents or changes, as the scenario counts.
    pub count: u64,
    pub took: Duration,
    /// Seconds of CPU: its own, PostgreSQL's, the search engine's.
    pub cpu: [f64; 3],
    /// Its highest memory; 0 where it ran in this process, which holds all documents to compare them.
    pub rss_mib: u64,
    /// Commit to durable, p50 and p99, where that is the question.
    pub latency: Option<(Duration, Duration)>,
    /// Documents that are not what SQL says; a run with any has no figure.
    pub wrong: usize,
}

impl Figure {
    pub fn per_second(&self) -> f64 {
        self.count as f64 / self.took.as_secs_f64()
    }

    fn micros(&self) -> [f64; 3] {
        self.cpu.map(|seconds| seconds * 1e6 / self.count.max(1) as f64)
    }
}

/// Takes the seconds of CPU between two moments.
#[derive(Debug)]
pub struct Meter {
    pids: [u32; 3],
    begun: [f64; 3],
}

impl Meter {
    /// Of a system in a process of its own, or in this one.
    pub fn start(ground: &Ground, own: Option<u32>) -> Self {
        let pids = [own.unwrap_or(0), ground.postgres_pid(), ground.search_pid()];
        let mut meter = Self { pids, begun: [0.0; 3] };
        meter.begun = meter.now();
        meter
    }

    pub fn used(&self) -> [f64; 3] {
        let now = self.now();
        std::array::from_fn(|at| now[at] - self.begun[at])
    }

    fn now(&self) -> [f64; 3] {
        let [own, servers @ ..] = self.pids;
        // The servers may be below the process that started them, this one.
        let own = if own == 0 { 0.0 } else { machine::cpu_seconds(own, &servers) };
        let [postgres, search] = servers.map(|pid| machine::cpu_seconds(pid, &[]));
        [own, postgres, search]
    }
}

/// All figures of a run.
#[derive(Debug, Default)]
pub struct Table {
    figures: Vec<Figure>,
    /// What a scenario is measured against, by the scenario's first word.
    limits: Vec<(&'static str, f64)>,
}

impl Table {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn add(&mut self, figure: Figure) {
        eprintln!(
            "{} {}: {} in {:.1?}{}",
            figure.scenario,
            figure.system,
            figure.count,
            figure.took,
            if figure.wrong > 0 { format!(", {} WRONG", figure.wrong) } else { String::new() }
        );
        self.figures.push(figure);
    }

    /// A figure that is the limit of its scenario.
    pub fn limit(&mut self, figure: Figure) {
        self.limit_of(figure.scenario, figure);
    }

    /// A figure that is a limit under another name.
    pub fn limit_of(&mut self, name: &'static str, figure: Figure) {
        self.limits.push((name, figure.per_second()));
        self.add(figure);
    }

    pub fn has_failures(&self) -> bool {
        self.figures.iter().any(|figure| figure.wrong > 0)
    }

    fn ratio(&self, figure: &Figure) -> Option<f64> {
        // Neither a latency nor the drain of a slot is measured against documents.
        if figure.latency.is_some() || figure.scenario.starts_with("S2 drain") {
            return None;
        }
        // Updates are measured against updates in place, whatever their kind.
        let of = if figure.scenario.starts_with("S1") { "S1" } else { "S2/S3" };
        let limit = self.limits.iter().find(|(name, _)| name.starts_with(of))?;
        Some(figure.per_second() / limit.1)
    }

    pub fn print(&self, ground: &Ground) {
        println!(
            "\n{}, PostgreSQL {}, OpenSearch {}",
            machine::name(),
            ground.postgres_version(),
            ground.search_version()
        );
        println!(
            "{} users with 5 orders each; µs are CPU a document: own + PostgreSQL + search engine\n",
            ground.users
        );
        println!("| scenario | system | a second | of the limit | µs | MiB | p50 / p99 |");
        println!("|---|---|---|---|---|---|---|");
        for figure in &self.figures {
            let micros = figure.micros();
            let rate = match figure.wrong {
                0 => format!("{:.0}", figure.per_second()),
                wrong => format!("none: {wrong} documents wrong"),
            };
            let ratio = self.ratio(figure).map_or("".to_owned(), |ratio| format!("{:.0} %", ratio * 100.0));
            let latency = figure.latency.map_or("".to_owned(), |(p50, p99)| format!("{p50:.1?} / {p99:.1?}"));
            let memory = if figure.rss_mib == 0 { String::new() } else { figure.rss_mib.to_string() };
            println!(
                "| {} | {} | {rate} | {ratio} | {:.0} + {:.0} + {:.0} | {memory} | {latency} |",
                figure.scenario, figure.system, micros[0], micros[1], micros[2]
            );
        }
    }

    pub fn write(&self, file: &Path) -> std::io::Result<()> {
        let row = |figure: &Figure| -> Value {
            json!({
                "scenario": figure.scenario,
                "system": figure.system,
                "converged": figure.wrong == 0,
                "documents_per_s": figure.per_second(),
                "ratio_to_limit": self.ratio(figure),
                "ratio_to_flusso": null,
                "cpu_s": { "own": figure.cpu[0], "postgres": figure.cpu[1], "search": figure.cpu[2] },
                "rss_mib": figure.rss_mib,
                "p50_ms": figure.latency.map(|(p50, _)| p50.as_secs_f64() * 1e3),
                "p99_ms": figure.latency.map(|(_, p99)| p99.as_secs_f64() * 1e3),
            })
        };
        let rows: Vec<Value> = self.figures.iter().map(row).collect();
        std::fs::write(file, serde_json::to_string_pretty(&rows)? + "\n")
    }
}
