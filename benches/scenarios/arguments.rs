//! What the run is asked for.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::engine::child::ChildArguments;

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
    #[value(name = "S5")]
    Transaction,
    #[value(name = "S6")]
    Sandbox,
    #[value(name = "S7")]
    Tenants,
    #[value(name = "S9")]
    Growth,
}

/// A system that is measured beside docmill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Peer {
    Flusso,
    FlussoStored,
    Pgsync,
}

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "benches/run", args_conflicts_with_subcommands = true)]
pub struct Arguments {
    #[command(subcommand)]
    pub child: Option<Child>,
    #[command(flatten)]
    pub run: Run,
    /// Given by cargo
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

/// What the harness starts of itself.
#[derive(Debug, Subcommand)]
pub enum Child {
    /// An engine with another sink or builder than the released binary has
    #[command(hide = true)]
    Engine(ChildArguments),
}

/// What is measured.
#[derive(Debug, Args)]
pub struct Run {
    /// S1 to S4 with a tenth of the work or less, docmill first and last in each, without peers unless they are named: an everyday
    /// look, no figures to quote
    #[arg(long)]
    pub quick: bool,
    /// These scenarios only
    #[arg(long, value_delimiter = ',', ignore_case = true)]
    only: Vec<Scenario>,
    /// Systems and limits with one of these in their names only, without what they are measured against
    #[arg(long, value_delimiter = ',')]
    systems: Vec<String>,
    /// These peers beside docmill
    #[arg(long, value_delimiter = ',', ignore_case = true)]
    peers: Option<Vec<Peer>>,
    /// No peers
    #[arg(long, conflicts_with = "peers")]
    no_peers: bool,
    /// Everything but peers that many times, one system after the other, so that none has the better hour; 2, or 1 with --quick
    #[arg(long)]
    rounds: Option<u32>,
    /// Writes the table as JSON, too
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

impl Run {
    pub fn wants(&self, scenario: Scenario) -> bool {
        let everyday = [Scenario::Backfill, Scenario::Roots, Scenario::Children, Scenario::Latency];
        match self.only.is_empty() {
            true => !self.quick || everyday.contains(&scenario),
            false => self.only.contains(&scenario),
        }
    }

    pub fn wants_system(&self, name: &str) -> bool {
        self.systems.is_empty() || self.systems.iter().any(|wanted| name.contains(wanted.as_str()))
    }

    pub fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 1 } else { 2 }).max(1)
    }

    pub fn peers(&self) -> Vec<Peer> {
        match &self.peers {
            Some(peers) => peers.clone(),
            None if self.quick || self.no_peers => Vec::new(),
            None => vec![Peer::Flusso, Peer::FlussoStored, Peer::Pgsync],
        }
    }
}
