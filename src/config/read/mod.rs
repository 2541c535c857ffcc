//! What each table of the file may hold: one file a table, and the checks between them.

mod guests;
mod limits;
mod pipeline;
mod server;
mod sink;
mod slots;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::Settings;
use super::table::Table;

/// The names that pipelines may refer to: also those whose tables have problems.
struct Names {
    sources: BTreeSet<String>,
    sinks: BTreeSet<String>,
}

/// Reads the whole document. `None` only where problems were said.
pub(super) fn settings(mut document: Table<'_, '_>, file: &Path) -> Option<Settings> {
    let sources = document.named("sources");
    let sinks = document.named("sinks");
    let pipelines = document.named("pipelines");
    let server = document.get("server").and_then(|entry| entry.table());
    let guests = document.get("guests").and_then(|entry| entry.table());
    for (tables, what, holds) in [
        (&sources, "sources", "where changes come from"),
        (&sinks, "sinks", "where documents go"),
        (&pipelines, "pipelines", "which builder stands between them"),
    ] {
        if tables.is_empty() {
            document.problem(format!("expected at least one table [{what}.NAME] that says {holds}"));
        }
    }
    let names = Names {
        sources: sources.iter().map(|(name, _)| name.clone()).collect(),
        sinks: sinks.iter().map(|(name, _)| name.clone()).collect(),
    };

    let (mut read_sources, mut read_sinks) = (BTreeMap::new(), BTreeMap::new());
    let mut spots: Vec<slots::Spot> = Vec::new();
    for (name, table) in sources {
        read_sources.extend(source::read(table).map(|source| (name, source)));
    }
    for (name, table) in sinks {
        read_sinks.extend(sink::read(table).map(|sink| (name, sink)));
    }
    let mut read_pipelines = Vec::new();
    for (name, table) in pipelines {
        let (pipeline, spot) = pipeline::read(&name, table, &names);
        spots.extend(spot);
        read_pipelines.extend(pipeline);
    }
    let server = server.map_or_else(|| Some(Default::default()), server::read);
    let guests = guests.map_or_else(|| Some(guests::defaults(&document)), guests::read);
    let collector = &document.reading.collector;
    let slots = slots::assign(&spots, &read_sources, collector);
    for pipeline in &mut read_pipelines {
        if let Some(slot) = slots.get(&pipeline.name) {
            pipeline.slot.clone_from(slot);
        }
    }
    unused(&document, &spots, &names, &read_pipelines);
    document.finish();
    Some(Settings {
        file: file.to_path_buf(),
        sources: read_sources,
        sinks: read_sinks,
        pipelines: read_pipelines,
        server: server?,
        guests: guests?,
    })
}

/// Warns of sources and sinks that no pipeline uses.
fn unused(document: &Table<'_, '_>, spots: &[slots::Spot], names: &Names, pipelines: &[super::PipelineSettings]) {
    let warn = |key: String| {
        let collector = &document.reading.collector;
        collector.warning(document.at.clone(), key, "no pipeline uses it");
    };
    // With problems in a pipeline it is not known what it would use.
    if pipelines.is_empty() || pipelines.len() < spots.len() {
        return;
    }
    for name in &names.sources {
        if !pipelines.iter().any(|pipeline| pipeline.source == *name) {
            warn(format!("sources.{name}"));
        }
    }
    for name in &names.sinks {
        if !pipelines.iter().any(|pipeline| pipeline.sink == *name) {
            warn(format!("sinks.{name}"));
        }
    }
}
