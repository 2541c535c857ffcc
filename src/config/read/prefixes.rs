//! Whether index prefixes in one search engine are told apart: no name under one may be a name under another.
//!
//! Several pipelines may have the same prefix, or none: their indexes are told apart by name when the builders are loaded
//! (`wiring/index_names.rs`), where names under no prefix are also kept out of those under one.

use std::collections::BTreeMap;

use super::slots::Spot;
use crate::config::problem::Collector;
use crate::config::{PipelineSettings, SinkSettings};

/// Says which prefixes begin with another one.
pub(super) fn check(
    pipelines: &[PipelineSettings],
    sinks: &BTreeMap<String, SinkSettings>,
    spots: &[Spot],
    collector: &Collector<'_>,
) {
    // Lines have no indexes whose names could meet.
    let search = |sink: &&SinkSettings| matches!(sink, SinkSettings::Search(_));
    let place = |pipeline: &PipelineSettings| Some(sinks.get(&pipeline.sink).filter(search)?.place(&pipeline.sink));
    for pipeline in pipelines {
        let Some(here) = place(pipeline) else { continue };
        let longer = &pipeline.index_prefix;
        let within = |other: &&PipelineSettings| {
            let Some(rest) = longer.strip_prefix(other.index_prefix.as_str()).filter(|rest| !rest.is_empty()) else {
                return false;
            };
            // Under no prefix everything begins with it, and docmill's own indexes are there.
            (!other.index_prefix.is_empty() || rest.starts_with("docmill")) && place(other).as_ref() == Some(&here)
        };
        let Some(other) = pipelines.iter().find(within) else { continue };
        let found = format!(
            "its index_prefix {longer:?} begins with {:?}, the one of pipeline {} in the same search engine, whose builder could \
             name indexes of this one; let no prefix begin with another, such as \"one-\" and \"two-\"",
            other.index_prefix, other.name
        );
        if let Some(spot) = spots.iter().find(|spot| spot.pipeline == pipeline.name) {
            collector.problem(spot.at.clone(), &spot.key, found);
        }
    }
}
