//! The scenarios of `benches/README.md`: docmill beside the limits of this machine and beside its peers, measured in one run on
//! the same rows.
//!
//! ```text
//! arguments ─▶ ground (servers, rows) ─▶ scenario ─▶ limits and systems, in turn ─▶ figures ─▶ table, JSON
//!                                                    └ each ends in documents == SQL, or has no figure
//! ```

#[path = "../../tests/it/support/mod.rs"]
mod support;

mod arguments;
mod check;
mod docmill;
mod engine;
mod fan_out;
mod figure;
mod ground;
mod latency;
mod limits;
mod machine;
mod neighbours;
mod peers;
mod round;
mod scenario;
mod system;
mod table;
mod tenants;

use std::panic::AssertUnwindSafe;

use arguments::{Arguments, Child, Peer, Run, Scenario};
use clap::Parser;
use futures_util::FutureExt;
use ground::Ground;
use limits::load;
use round::{Measurement, Round, Sizes, Systems};
use system::System;
use table::Table;

#[tokio::main]
async fn main() {
    let arguments = Arguments::parse();
    support::install_crypto();
    match arguments.child {
        Some(Child::Engine(arguments)) => engine::child::run(arguments).await,
        None => run(&arguments.run).await,
    }
}

const QUICK: Sizes =
    Sizes { users: 20_000, changes: 20_000, changes_of_peers: 10_000, seconds: 4, growth: 1, products: 4_000 };
const FULL: Sizes =
    Sizes { users: 200_000, changes: 500_000, changes_of_peers: 50_000, seconds: 60, growth: 3, products: 20_000 };

async fn run(run: &Run) {
    let sizes = if run.quick { QUICK } else { FULL };
    let peers: Vec<System> = run
        .peers()
        .into_iter()
        .map(|peer| match peer {
            Peer::Flusso => System::Flusso { stored: false },
            Peer::FlussoStored => System::Flusso { stored: true },
            Peer::Pgsync => System::Pgsync,
        })
        .collect();
    peers.iter().for_each(|peer| peers::must_be_installed(*peer));
    // What is measured wherever docmill is.
    let docmill = match std::env::var_os(docmill::BEFORE) {
        Some(_) => vec![System::Before, System::Docmill],
        None => vec![System::Docmill],
    };
    let systems = Systems { docmill, peers };
    let ground = Ground::start().await;
    let rows = ground.rows(sizes.users, 1_000).await;
    // A virtual machine that has compiled nothing yet would be the slowest of all in whatever is measured first.
    for _ in 0..3 {
        load::backfill(&ground, &rows).await;
    }
    let mut table = Table::new(run.json.clone());
    for number in 1..=run.rounds() {
        eprintln!("round {number} of {}", run.rounds());
        let round = Round { run, sizes: &sizes, systems: &systems, ground: &ground, rows: &rows, number };
        measure(round.measurements(), &mut table).await;
    }
    if run.wants(Scenario::Growth) {
        for (users, name) in scenario::GROWTH.into_iter().take(sizes.growth) {
            let rows = ground.rows(users, 1_000).await;
            let of = |system: &System| scenario::backfill(&ground, &rows, *system, name).boxed_local();
            measure(systems.docmill.iter().map(of).collect(), &mut table).await;
            ground.forget(rows).await;
        }
    }
    if run.wants(Scenario::Children)
        && !run.quick
        && systems.docmill.iter().any(|system| run.wants_system(system.name()))
    {
        let rows = ground.rows(1_000, sizes.products).await;
        for fan_out in fan_out::FAN_OUTS {
            let of = |system: &System| fan_out::measure(&ground, &rows, *system, fan_out, sizes.products).boxed_local();
            measure(systems.docmill.iter().map(of).collect(), &mut table).await;
        }
        ground.forget(rows).await;
    }
    if run.wants(Scenario::Tenants) {
        for _ in 1..=run.rounds() {
            let limits = tenants::LIMITS.into_iter().filter(|(_, name)| run.wants_system(name));
            let of = |(indexes, name)| load::updates_of(&ground, &rows, indexes, sizes.users, name).boxed_local();
            measure(limits.map(of).collect(), &mut table).await;
            let wanted = tenants::TENANTS.into_iter().filter(|(_, name)| run.wants_system(name));
            let of = |of| tenants::measure(&ground, of, sizes.users, sizes.changes).boxed_local();
            measure(wanted.map(of).collect(), &mut table).await;
            if run.wants_system(neighbours::NAME) {
                match AssertUnwindSafe(neighbours::measure(&ground, sizes.seconds.clamp(20, 40))).catch_unwind().await {
                    Ok(figures) => figures.into_iter().for_each(|figure| table.add(figure)),
                    Err(_) => table.add_failure(),
                }
            }
        }
    }
    table.print(&ground);
    if table.has_failures() {
        std::process::exit(1);
    }
}

/// One after the other. One that panics has said why, and has no figure; the others have theirs.
async fn measure(measurements: Vec<Measurement<'_>>, table: &mut Table) {
    for measurement in measurements {
        match AssertUnwindSafe(measurement).catch_unwind().await {
            Ok(figure) => table.add(figure),
            Err(_) => table.add_failure(),
        }
    }
}
