//! The table of all figures: rounds of the same put together, each beside the limit that was measured in the same run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::figure::Figure;
use crate::ground::Ground;
use crate::machine;

/// The system that a scenario's others are measured against.
pub const PERFECT: &str = "perfect engine";
pub const BARE_LOAD: &str = "bare bulk load";
pub const BARE_UPDATES: &str = "bare updates in place";
pub const BARE_READ: &str = "bare read of the rows";
pub const RAW_SLOT: &str = "raw slot";
pub const FLUSSO: &str = "flusso";

/// All figures of a run.
#[derive(Debug)]
pub struct Table {
    figures: Vec<Figure>,
    /// Measurements that came to no end.
    failures: usize,
    json: Option<PathBuf>,
}

/// The rounds of one system in one scenario.
struct Line<'a> {
    rounds: Vec<&'a Figure>,
}

impl Table {
    /// Written to `json` with each figure, so that a run that is cut off leaves what it has.
    pub fn new(json: Option<PathBuf>) -> Self {
        Self { figures: Vec::new(), failures: 0, json }
    }

    pub fn add(&mut self, figure: Figure) {
        let Figure { scenario, system, count, took, wrong, .. } = &figure;
        let rate = figure.per_second();
        let failed = if *wrong > 0 { format!(", {wrong} WRONG") } else { String::new() };
        let [own, postgres, search] = figure.micros();
        eprintln!(
            "{scenario}, {system}: {count} in {took:.1?}, {rate:.0} a second, \
             {own:.1} + {postgres:.1} + {search:.1} µs{failed}"
        );
        self.figures.push(figure);
        if let Some(file) = &self.json {
            self.write(file).unwrap_or_else(|error| panic!("failed to write {}: {error}", file.display()));
        }
    }

    pub fn add_failure(&mut self) {
        self.failures += 1;
    }

    pub fn has_failures(&self) -> bool {
        self.failures > 0 || self.figures.iter().any(|figure| figure.wrong > 0)
    }

    /// In the order in which they were measured first.
    fn lines(&self) -> Vec<Line<'_>> {
        let mut lines: Vec<Line<'_>> = Vec::new();
        for figure in &self.figures {
            match lines.iter_mut().find(|line| line.is_of(figure.scenario, figure.system)) {
                Some(line) => line.rounds.push(figure),
                None => lines.push(Line { rounds: vec![figure] }),
            }
        }
        lines.sort_by_key(|line| self.figures.iter().position(|figure| figure.scenario == line.scenario()));
        lines
    }

    fn line(&self, scenario: &str, system: &str) -> Option<Line<'_>> {
        self.lines().into_iter().find(|line| line.is_of(scenario, system))
    }

    /// To each limit that its scenario has and that was measured, by name.
    fn ratios(&self, line: &Line<'_>) -> Vec<(&'static str, f64)> {
        let limits = limits_of(line.scenario());
        let is_limit = limits.iter().position(|(scenario, system)| line.is_of(scenario, system));
        // One limit is measured against those before it.
        let ratio = |(scenario, system): &(&'static str, &'static str)| {
            let limit = self.line(scenario, system).filter(|limit| limit.wrong() == 0 && line.wrong() == 0)?;
            Some((*system, line.per_second() / limit.per_second()))
        };
        limits.iter().take(is_limit.unwrap_or(limits.len())).filter_map(ratio).collect()
    }

    fn ratio_to_flusso(&self, line: &Line<'_>) -> Option<f64> {
        let flusso = self.line(line.scenario(), FLUSSO).filter(|flusso| flusso.wrong() == 0 && line.wrong() == 0)?;
        match (line.latency(), flusso.latency()) {
            // Of two waits the shorter one is the better one.
            (Some([own, _]), Some([other, _])) => Some(other.as_secs_f64() / own.as_secs_f64()),
            _ => Some(line.per_second() / flusso.per_second()),
        }
    }

    pub fn print(&self, ground: &Ground) {
        let (machine, postgres, search) = (machine::name(), ground.postgres_version(), ground.search_version());
        println!("\n{machine}, PostgreSQL {postgres}, OpenSearch {search}\n");
        println!(
            "| scenario | system | a second | of the limits | to flusso | µs: own + PostgreSQL + sink | MiB | p50 / p99 |"
        );
        println!("|---|---|---|---|---|---|---|---|");
        for line in self.lines() {
            let [own, postgres, search] = line.micros();
            let rate = match line.wrong() {
                // Of a load that is given.
                0 if line.latency().is_some() => format!("{:.0}", line.per_second()),
                0 => format!("{:.0}{}", line.per_second(), line.spread(Figure::per_second)),
                wrong => format!("none: {wrong} documents wrong"),
            };
            let ratios = self.ratios(&line).into_iter();
            let limits: Vec<_> = ratios.map(|(name, ratio)| format!("{:.0} % of {name}", ratio * 100.0)).collect();
            let limits = limits.join(", ");
            let flusso = self.ratio_to_flusso(&line).map_or(String::new(), |ratio| format!("{ratio:.1}"));
            let latency = line
                .latency()
                .map_or(String::new(), |[p50, p99]| format!("{p50:.1?} / {p99:.1?}{}", line.spread(Figure::p50)));
            let memory = if line.rss_mib() == 0 { String::new() } else { line.rss_mib().to_string() };
            println!(
                "| {} | {} | {rate} | {limits} | {flusso} | {own:.0} + {postgres:.0} + {search:.0} | {memory} | {latency} |",
                line.scenario(),
                line.system(),
            );
        }
        if self.failures > 0 {
            println!("\n{} measurements came to no end: what was said above says why", self.failures);
        }
    }

    fn write(&self, file: &Path) -> std::io::Result<()> {
        let row = |line: &Line<'_>| -> Value {
            let [own, postgres, search] = line.micros().map(|micros| micros * line.rounds[0].count as f64 / 1e6);
            json!({
                "scenario": line.scenario(),
                "system": line.system(),
                "converged": line.wrong() == 0,
                "documents_per_s": (line.wrong() == 0).then(|| line.per_second()),
                "rounds": line.rounds.iter().map(|figure| figure.per_second()).collect::<Vec<_>>(),
                "ratio_to_limit": self.ratios(line).first().map(|(_, ratio)| ratio),
                "ratios_to_limits": self.ratios(line).into_iter().collect::<BTreeMap<_, _>>(),
                "ratio_to_flusso": self.ratio_to_flusso(line),
                "cpu_s": { "own": own, "postgres": postgres, "search": search },
                "rss_mib": line.rss_mib(),
                "p50_ms": line.latency().map(|[p50, _]| p50.as_secs_f64() * 1e3),
                "p99_ms": line.latency().map(|[_, p99]| p99.as_secs_f64() * 1e3),
            })
        };
        let rows: Vec<Value> = self.lines().iter().map(row).collect();
        std::fs::write(file, serde_json::to_string_pretty(&rows)? + "\n")
    }
}

/// What a scenario is measured against, the hardest first: figures of the same or another one.
fn limits_of(scenario: &str) -> &'static [(&'static str, &'static str)] {
    use crate::{fan_out, scenario};
    if fan_out::FAN_OUTS.iter().any(|(_, name)| *name == scenario) {
        // Other documents than those of the limit.
        return &[];
    }
    let null = scenario.ends_with(scenario::NULL_SINK);
    match scenario.get(..2) {
        Some("S1") if null => &[(scenario::BACKFILL_NULL, BARE_READ)],
        Some("S1") => &[(scenario::BACKFILL, BARE_LOAD), (scenario::BACKFILL, PERFECT)],
        Some("S2" | "S3") if null => &[(scenario::ROOTS_NULL, RAW_SLOT), (scenario::ROOTS_NULL, BARE_READ)],
        Some("S2" | "S3") => &[(scenario::UPDATES_LIMIT, BARE_UPDATES)],
        _ => &[],
    }
}

impl Line<'_> {
    fn is_of(&self, scenario: &str, system: &str) -> bool {
        self.scenario() == scenario && self.system() == system
    }

    fn scenario(&self) -> &'static str {
        self.rounds[0].scenario
    }

    fn system(&self) -> &'static str {
        self.rounds[0].system
    }

    fn mean(&self, of: impl Fn(&Figure) -> f64) -> f64 {
        self.rounds.iter().map(|figure| of(figure)).sum::<f64>() / self.rounds.len() as f64
    }

    fn per_second(&self) -> f64 {
        self.mean(Figure::per_second)
    }

    /// How far the rounds of the same are apart: what a difference must exceed to be one.
    fn spread(&self, of: impl Fn(&Figure) -> f64) -> String {
        let figures = || self.rounds.iter().map(|figure| of(figure));
        let (least, most) = (figures().fold(f64::MAX, f64::min), figures().fold(0.0, f64::max));
        if self.rounds.len() < 2 {
            String::new()
        } else {
            format!(" ±{:.0} %", (most - least) / (most + least) * 100.0)
        }
    }

    fn micros(&self) -> [f64; 3] {
        std::array::from_fn(|at| self.mean(|figure| figure.micros()[at]))
    }

    fn rss_mib(&self) -> u64 {
        self.rounds.iter().map(|figure| figure.rss_mib).max().unwrap_or(0)
    }

    fn wrong(&self) -> usize {
        self.rounds.iter().map(|figure| figure.wrong).sum()
    }

    fn latency(&self) -> Option<[Duration; 2]> {
        self.rounds[0].latency.filter(|_| self.wrong() == 0)?;
        let mean = |at: usize| self.mean(|figure| figure.latency.map_or(0.0, |latency| latency[at].as_secs_f64()));
        Some([0, 1].map(|at| Duration::from_secs_f64(mean(at))))
    }
}
