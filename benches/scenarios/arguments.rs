//! What the run is asked for.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// A scenario, by its number in benches/README.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    #[value(name = "S1")]
    Backfill,
    #[value(name = "S2")]
    Roots,
    #[value(name = "S3")]
    Children,
    #[value(name = "S4")]
    Latency,
}

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "benches/run")]
pub struct Arguments {
    /// A tenth of the work: an everyday look, no figures to quote
    #[arg(long)]
    pub quick: bool,
    /// These scenarios only
    #[arg(long, value_delimiter = ',', ignore_case = true)]
    only: Vec<Scenario>,
    /// Writes the table as JSON, too
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

impl Arguments {
    pub fn read() -> Self {
        Self::parse()
    }

    pub fn wants(&self, scenario: Scenario) -> bool {
        self.only.is_empty() || self.only.contains(&scenario)
    }
}
