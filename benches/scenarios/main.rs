//! The scenarios of `benches/README.md`: docmill beside the limits of this machine, measured in one run on the same rows.
//!
//! ```text
//! arguments ─▶ ground (servers, rows) ─▶ a scenario ─▶ systems, in turn ─▶ figures ─▶ table, JSON
//!                                                      └ each ends in documents == SQL, or has no figure
//! ```

#[path = "../../tests/it/support/mod.rs"]
mod support;

mod arguments;
mod bare;
mod docmill;
mod figure;
mod ground;
mod latency;
mod machine;
mod perfect;
mod slot;

use arguments::{Arguments, Scenario};
use figure::Table;
use ground::Ground;

#[tokio::main]
async fn main() {
    let arguments = Arguments::read();
    support::install_crypto();
    let ground = Ground::start(&arguments).await;
    // A virtual machine that has compiled nothing yet would be the slowest of all in whatever is measured first.
    for _ in 0..2 {
        bare::backfill(&ground).await;
    }
    let mut table = Table::new();
    if arguments.wants(Scenario::Backfill) {
        table.limit(bare::backfill(&ground).await);
        table.add(perfect::backfill(&ground).await);
        table.add(docmill::backfill(&ground).await);
    }
    if arguments.wants(Scenario::Roots) || arguments.wants(Scenario::Children) {
        table.limit(bare::updates(&ground).await);
    }
    if arguments.wants(Scenario::Roots) {
        table.limit_of("S2 drain", slot::drain(&ground).await);
        table.add(docmill::updates(&ground, docmill::ROOTS).await);
        table.add(docmill::updates(&ground, docmill::ROOTS_OF_100).await);
    }
    if arguments.wants(Scenario::Children) {
        table.add(docmill::updates(&ground, docmill::CHILDREN).await);
    }
    if arguments.wants(Scenario::Latency) {
        table.add(latency::measure(&ground).await);
    }
    table.print(&ground);
    if let Some(file) = &arguments.json {
        table.write(file).unwrap_or_else(|error| panic!("failed to write {}: {error}", file.display()));
    }
    if table.has_failures() {
        std::process::exit(1);
    }
}
