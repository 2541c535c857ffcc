//! Reading a parsed TOML document while gathering problems: a table knows which keys it was asked for, and names the others.
//!
//! `toml`'s own spanned tables are used, with its recovering parser, so that no further crate is needed: serde would stop at
//! the first problem, and a snippet renderer would quote lines that may hold a password.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::PathBuf;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::expand::Environment;
use super::problem::Collector;
use super::value::Entry;

/// A word may be taken for another one that is as like as this, between 0 and 1.
const SUGGESTION_LIKENESS_MIN: f64 = 0.8;

/// What reading needs besides the document.
pub(super) struct Reading<'i> {
    pub collector: Collector<'i>,
    pub environment: &'i Environment<'i>,
    /// Relative paths begin here.
    pub directory: PathBuf,
}

/// A table that is being read. [`finish`](Self::finish) it, or its unknown keys pass unseen.
pub(super) struct Table<'r, 'i> {
    pub reading: &'r Reading<'i>,
    /// Its place in the configuration, such as `sinks.search`; empty for the document.
    pub key: String,
    /// Its place in the file.
    pub at: Range<usize>,
    entries: &'r DeTable<'i>,
    asked: BTreeSet<&'static str>,
}

impl<'r, 'i> Table<'r, 'i> {
    pub fn new(reading: &'r Reading<'i>, key: String, at: Range<usize>, entries: &'r DeTable<'i>) -> Self {
        Self { reading, key, at, entries, asked: BTreeSet::new() }
    }

    /// The value of a key, if it is there.
    pub fn get(&mut self, key: &'static str) -> Option<Entry<'r, 'i>> {
        self.asked.insert(key);
        let value = self.entries.get(key)?;
        Some(self.entry(key, value))
    }

    /// The value of a key that must be there; `expected` says what with.
    pub fn require(&mut self, key: &'static str, expected: &str) -> Option<Entry<'r, 'i>> {
        let found = self.get(key);
        if found.is_none() {
            self.problem(format!("expected a key `{key}` with {expected}, found none"));
        }
        found
    }

    /// The tables in a table, by the names that users gave them: `[sources.NAME]`.
    pub fn named(&mut self, key: &'static str) -> Vec<(String, Table<'r, 'i>)> {
        let Some(mut tables) = self.get(key).and_then(Entry::table) else {
            return Vec::new();
        };
        tables.take_named()
    }

    /// Every entry, each of them a table.
    fn take_named(&mut self) -> Vec<(String, Table<'r, 'i>)> {
        let mut named = Vec::new();
        for (name, value) in self.entries {
            let entry = self.entry(name.get_ref(), value);
            if !is_name(name.get_ref()) {
                self.reading.collector.problem(
                    name.span(),
                    &entry.key,
                    "expected a name of lower-case letters, digits, `-` and `_`, at most 40, a letter first",
                );
            }
            if let Some(table) = entry.table() {
                named.push((name.get_ref().to_string(), table));
            }
        }
        named
    }

    /// Every entry, by names that nobody checks here.
    pub fn entries(&self) -> Vec<(String, Entry<'r, 'i>)> {
        let each = |(name, value): (&'r Spanned<std::borrow::Cow<'i, str>>, &'r Spanned<DeValue<'i>>)| {
            (name.get_ref().to_string(), self.entry(name.get_ref(), value))
        };
        self.entries.iter().map(each).collect()
    }

    /// Something is wrong with this table.
    pub fn problem(&self, message: impl Into<String>) {
        self.reading.collector.problem(self.at.clone(), &self.key, message);
    }

    /// Refuses every key that nobody asked for.
    pub fn finish(self) {
        for (name, _) in self.entries {
            let key = name.get_ref().as_ref();
            if self.asked.contains(key) {
                continue;
            }
            let known = self.asked.iter().copied();
            let message = match closest(key, known.clone()) {
                Some(like) => format!("there is no such key; did you mean `{like}`?"),
                None => format!("there is no such key; known here: {}", known.collect::<Vec<_>>().join(", ")),
            };
            self.reading.collector.problem(name.span(), self.below(key), message);
        }
    }

    fn entry(&self, key: &str, value: &'r Spanned<DeValue<'i>>) -> Entry<'r, 'i> {
        Entry { reading: self.reading, key: self.below(key), value }
    }

    fn below(&self, key: &str) -> String {
        let bare = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
        let key = match bare && !key.is_empty() {
            true => key.to_owned(),
            false => format!("{key:?}"),
        };
        match self.key.as_str() {
            "" => key,
            table => format!("{table}.{key}"),
        }
    }
}

/// Which of the known words was probably meant.
pub(super) fn closest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let word = word.to_lowercase().replace('-', "_");
    // Swapped or missing letters weigh little by the one measure, a longer or shorter ending by the other.
    let likeness = |known: &str| {
        let by_letters = strsim::normalized_damerau_levenshtein(&word, known);
        let slip = strsim::damerau_levenshtein(&word, known) == 1 && known.len() > 2;
        strsim::jaro_winkler(&word, known).max(by_letters).max(if slip { 0.9 } else { 0.0 })
    };
    known
        .map(|known| (likeness(known), known))
        .filter(|(likeness, _)| *likeness >= SUGGESTION_LIKENESS_MIN)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, known)| known)
}

fn is_name(name: &str) -> bool {
    let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    name.len() <= 40 && name.bytes().all(letters) && name.bytes().next().is_some_and(|first| first.is_ascii_lowercase())
}
