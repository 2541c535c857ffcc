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
mod peers;
mod scenario;
mod system;
mod table;

use arguments::{Arguments, Child, Peer, Run, Scenario};
use clap::Parser;
use ground::{Ground, Rows};
use limits::{load, perfect, slot};
use scenario::{ALL_ORDERS, CHILDREN, Changes, ROOTS, ROOTS_OF_100};
use system::System;
use table::Table;

/// The engine as a library, with each builder and each sink.
const LIBRARY: System = System::Engine(engine::Kind { native: false, null_sink: false });
const NATIVE: System = System::Engine(engine::Kind { native: true, null_sink: false });
const LIBRARY_NULL: System = System::Engine(engine::Kind { native: false, null_sink: true });
const NATIVE_NULL: System = System::Engine(engine::Kind { native: true, null_sink: true });

#[tokio::main]
async fn main() {
    let arguments = Arguments::parse();
    support::install_crypto();
    match arguments.child {
        Some(Child::Engine(arguments)) => engine::child::run(arguments).await,
        None => run(&arguments.run).await,
    }
}

/// How much work.
struct Sizes {
    users: u32,
    changes: u32,
    /// Of what a slower system needs minutes for.
    changes_of_peers: u32,
    /// Of load where latency is measured.
    seconds: u64,
    growth: usize,
    /// Where one change leads to many.
    products: u32,
}

const QUICK: Sizes =
    Sizes { users: 20_000, changes: 40_000, changes_of_peers: 10_000, seconds: 10, growth: 1, products: 4_000 };
const FULL: Sizes =
    Sizes { users: 200_000, changes: 500_000, changes_of_peers: 100_000, seconds: 60, growth: 3, products: 20_000 };

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
    for _ in 0..if run.quick { 4 } else { 2 } {
        load::backfill(&ground, &rows).await;
    }
    let mut table = Table::default();
    for round in 1..=run.rounds() {
        eprintln!("round {round} of {}", run.rounds());
        one_round(run, &sizes, &systems, &ground, &rows, &mut table).await;
    }
    if run.wants(Scenario::Growth) {
        for (users, name) in scenario::GROWTH.into_iter().take(sizes.growth) {
            let rows = ground.rows(users, 1_000).await;
            for system in &systems.docmill {
                table.add(scenario::backfill(&ground, &rows, *system, name).await);
            }
            ground.forget(rows).await;
        }
    }
    if run.wants(Scenario::Children) && systems.docmill.iter().any(|system| run.wants_system(system.name())) {
        let rows = ground.rows(1_000, sizes.products).await;
        for fan_out in fan_out::FAN_OUTS {
            for system in &systems.docmill {
                table.add(fan_out::measure(&ground, &rows, *system, fan_out, sizes.products * 2).await);
            }
        }
        ground.forget(rows).await;
    }
    table.print(&ground);
    if let Some(file) = &run.json {
        table.write(file).unwrap_or_else(|error| panic!("failed to write {}: {error}", file.display()));
    }
    if table.has_failures() {
        std::process::exit(1);
    }
}

/// Who is measured.
struct Systems {
    docmill: Vec<System>,
    peers: Vec<System>,
}

async fn one_round(run: &Run, sizes: &Sizes, systems: &Systems, ground: &Ground, rows: &Rows, table: &mut Table) {
    let Systems { docmill, peers } = systems;
    let sandbox = run.wants(Scenario::Sandbox);
    let wants = |system: System| run.wants_system(system.name());
    if run.wants(Scenario::Backfill) || sandbox {
        if run.wants_system(table::BARE_LOAD) {
            table.add(load::backfill(ground, rows).await);
        }
        if run.wants_system(table::PERFECT) {
            table.add(perfect::backfill(ground, rows, true).await);
        }
        if run.wants_system(table::BARE_READ) {
            table.add(perfect::backfill(ground, rows, false).await);
        }
        let more = if sandbox { &[NATIVE, LIBRARY][..] } else { &[] };
        for system in docmill.iter().chain(more).chain(peers).filter(|system| wants(**system)) {
            table.add(scenario::backfill(ground, rows, *system, scenario::BACKFILL).await);
        }
        let more = if sandbox { &[NATIVE_NULL][..] } else { &[] };
        for system in [LIBRARY_NULL].iter().chain(more).filter(|system| wants(**system)) {
            table.add(scenario::backfill(ground, rows, *system, scenario::BACKFILL_NULL).await);
        }
    }
    let kinds = [(Scenario::Roots, ROOTS), (Scenario::Roots, ROOTS_OF_100), (Scenario::Children, CHILDREN)];
    let singly = |changes: &Changes| changes.scenario != ROOTS_OF_100.scenario;
    let wanted = || kinds.iter().filter(|(scenario, changes)| run.wants(*scenario) || sandbox && singly(changes));
    if (wanted().count() > 0 || run.wants(Scenario::Transaction)) && run.wants_system(table::BARE_UPDATES) {
        table.add(load::updates(ground, rows).await);
    }
    if run.wants(Scenario::Roots) && run.wants_system(table::RAW_SLOT) {
        table.add(slot::drain(ground, rows, sizes.changes).await);
    }
    for (_, changes) in wanted() {
        let singly = singly(changes);
        let more = if singly { &[LIBRARY_NULL][..] } else { &[] };
        let native = if singly && sandbox { &[NATIVE_NULL][..] } else { &[] };
        let own = docmill.iter().chain(more).chain(native);
        for system in own.filter(|system| wants(**system)) {
            table.add(scenario::updates(ground, rows, *system, *changes, sizes.changes).await);
        }
        for peer in peers.iter().filter(|peer| singly && wants(**peer)) {
            table.add(scenario::updates(ground, rows, *peer, *changes, sizes.changes_of_peers).await);
        }
    }
    if run.wants(Scenario::Latency) {
        for system in docmill.iter().chain(peers).filter(|system| wants(**system)) {
            table.add(latency::measure(ground, rows, *system, sizes.seconds).await);
        }
    }
    if run.wants(Scenario::Transaction) {
        for system in docmill.iter().filter(|system| wants(**system)) {
            table.add(scenario::updates(ground, rows, *system, ALL_ORDERS, rows.users * 5).await);
        }
    }
}
