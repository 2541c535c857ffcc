//! Which replication slot each pipeline reads; the rule is in the documentation of [`crate::config`].

use std::collections::BTreeMap;
use std::ops::Range;

use crate::config::SourceSettings;
use crate::config::problem::Collector;
use crate::config::value::Entry;

/// PostgreSQL's limit on names.
const SLOT_BYTES_MAX: usize = 63;
/// What the name of a copy adds to that of the slot.
const COPY_BYTES: usize = 18;

/// What a pipeline says about its slot.
pub(super) struct Spot {
    pub pipeline: String,
    pub source: String,
    pub wish: Wish,
    /// The pipeline's place in the file.
    pub at: Range<usize>,
    pub key: String,
}

pub(super) enum Wish {
    /// Nothing: the source's.
    Shared,
    /// `slot = "own"`
    Own,
    /// A name.
    Named(String),
}

/// A slot's name.
pub(super) fn check_slot(entry: &Entry<'_, '_>) -> Option<String> {
    let name = entry.text()?;
    if !is_slot(&name) {
        entry.wrong("a slot's name: 1 to 63 lower-case letters, digits and `_`");
        return None;
    }
    Some(name)
}

fn is_slot(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    (1..=SLOT_BYTES_MAX).contains(&name.len()) && name.bytes().all(letter)
}

/// The slot of each pipeline. Those that say nothing share their source's; any other one is for one pipeline.
pub(super) fn assign(
    spots: &[Spot],
    sources: &BTreeMap<String, SourceSettings>,
    collector: &Collector<'_>,
) -> BTreeMap<String, String> {
    let mut slots = BTreeMap::new();
    // By the URL, since two sources may be one database.
    let mut taken: BTreeMap<(&str, String), &Spot> = BTreeMap::new();
    for spot in spots {
        let Some(source) = sources.get(&spot.source) else {
            continue;
        };
        let slot = match &spot.wish {
            Wish::Shared => source.slot.clone(),
            Wish::Own => format!("{}_{}", source.slot, spot.pipeline.replace('-', "_")),
            Wish::Named(name) => name.clone(),
        };
        if !is_slot(&slot) {
            let found = format!("its slot would be named {slot}, and a slot's name has at most {SLOT_BYTES_MAX} bytes");
            collector.problem(spot.at.clone(), &spot.key, format!("{found}; name one with `slot = \"…\"`"));
            continue;
        }
        let together = |other: &Spot| {
            matches!((&spot.wish, &other.wish), (Wish::Shared, Wish::Shared)) && spot.source == other.source
        };
        if let Some(other) = taken.get(&(source.url.expose(), slot.clone()))
            && together(other)
        {
            if slot.len() + COPY_BYTES > SLOT_BYTES_MAX {
                let most = SLOT_BYTES_MAX - COPY_BYTES;
                let found = format!(
                    "pipelines share slot {slot}, and the name of a slot that is shared has at most {most} bytes"
                );
                collector.problem(spot.at.clone(), &spot.key, format!("{found}: give the source a shorter one"));
            }
            slots.insert(spot.pipeline.clone(), slot);
            continue;
        }
        if let Some(other) = taken.get(&(source.url.expose(), slot.clone())) {
            let advice = match spot.wish {
                Wish::Shared => "say `slot = \"own\"` here, so that it gets one of its own",
                _ => "name another one here",
            };
            let found = format!("pipeline {} reads the slot {slot} of this database already", other.pipeline);
            collector.problem(spot.at.clone(), &spot.key, format!("{found}; {advice}"));
            continue;
        }
        taken.insert((source.url.expose(), slot.clone()), spot);
        slots.insert(spot.pipeline.clone(), slot);
    }
    slots
}
