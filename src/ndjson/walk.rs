//! Walking the ids that a file of lines holds: the last line of an id says whether it is there.
//!
//! A file has no index, so a walk reads it from the beginning: once for every 100,000 ids, which are kept in order of the id and
//! given out in pages.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::Path;

use super::line;
use crate::edges::{HeldId, IdPage};

/// Ids kept of one reading.
const IDS_MAX: usize = 100_000;

/// Some of the ids of one index, in order.
#[derive(Debug, Default)]
pub(super) struct Piece {
    /// Those that are there.
    ids: Vec<String>,
    /// Ids up to here were looked at; `None`: all.
    until: Option<String>,
}

/// Why a file cannot be walked.
#[derive(Debug)]
pub(super) enum CannotWalk {
    /// This line, counted from 1, is none of ours.
    Foreign(u64),
    /// As the system says.
    Io(io::Error),
}

impl From<io::Error> for CannotWalk {
    fn from(error: io::Error) -> Self {
        CannotWalk::Io(error)
    }
}

impl Piece {
    /// Reads the first `length` bytes of a file for the ids of an index behind `after`.
    pub(super) fn read(path: &Path, length: u64, index: &str, after: Option<&str>) -> Result<Self, CannotWalk> {
        Self::read_some(path, length, index, after, IDS_MAX)
    }

    fn read_some(
        path: &Path,
        length: u64,
        index: &str,
        after: Option<&str>,
        ids_max: usize,
    ) -> Result<Self, CannotWalk> {
        // The smallest ids of all, there or not: one that is among them at the end was among them at its every line.
        let mut found: BTreeMap<String, bool> = BTreeMap::new();
        let mut all = true;
        each_line(path, length, |line| {
            let id = line.id.as_ref();
            if line.index == index && after.is_none_or(|after| id > after) {
                found.insert(id.to_owned(), !line.deleted);
                if found.len() > ids_max {
                    found.pop_last();
                    all = false;
                }
            }
            true
        })?;
        let until = if all { None } else { found.last_key_value().map(|(id, _)| id.clone()) };
        Ok(Self { ids: found.into_iter().filter_map(|(id, there)| there.then_some(id)).collect(), until })
    }

    /// The next page behind `after`; `Err` with the id to go on from when another piece must be read for it.
    pub(super) fn page(&self, after: Option<&str>, limit: usize) -> Result<IdPage, String> {
        let start = after.map_or(0, |after| self.ids.partition_point(|id| id.as_str() <= after));
        let ids: Vec<String> = self.ids[start..].iter().take(limit.max(1)).cloned().collect();
        match (ids.last().cloned(), &self.until) {
            (None, None) => Ok(IdPage::default()),
            (None, Some(until)) => Err(until.clone()),
            (cursor, _) => {
                let held = ids.into_iter().map(|id| HeldId { id, version: None });
                Ok(IdPage { ids: held.collect(), cursor })
            }
        }
    }
}

/// Whether the first `length` bytes of a file have no line of an index.
pub(super) fn is_empty(path: &Path, length: u64, index: &str) -> Result<bool, CannotWalk> {
    let mut empty = true;
    each_line(path, length, |line| {
        empty = line.index != index;
        empty
    })?;
    Ok(empty)
}

fn each_line(path: &Path, length: u64, mut each: impl FnMut(line::Line<'_>) -> bool) -> Result<(), CannotWalk> {
    let mut reader = BufReader::with_capacity(1 << 20, File::open(path)?.take(length));
    let mut bytes = Vec::new();
    let mut number = 0;
    while reader.read_until(b'\n', &mut bytes)? > 0 {
        number += 1;
        let line = line::read(&bytes).ok_or(CannotWalk::Foreign(number))?;
        if !each(line) {
            break;
        }
        bytes.clear();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_in_pieces_gives_every_id_that_is_there_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        let line = |index: &str, id: &str, there: bool| {
            let rest = if there { "\"document\":{}" } else { "\"deleted\":true" };
            format!("{{\"index\":\"{index}\",\"id\":\"{id}\",\"version\":\"1\",{rest}}}\n")
        };
        let mut text = String::new();
        for number in (0..50).rev() {
            text += &line("users", &format!("{number:02}"), true);
            text += &line("others", &format!("{number:02}x"), true);
        }
        for number in (0..50).step_by(3) {
            text += &line("users", &format!("{number:02}"), false);
        }
        text += &line("users", "06", true);
        std::fs::write(&path, &text).unwrap();
        let expected: Vec<String> =
            (0..50).filter(|number| number % 3 != 0 || *number == 6).map(|number| format!("{number:02}")).collect();
        for (ids_max, limit) in [(7, 3), (1, 10), (100, 4), (3, 1)] {
            let (mut found, mut after): (Vec<String>, Option<String>) = (Vec::new(), None);
            let mut piece = Piece::read_some(&path, text.len() as u64, "users", None, ids_max).unwrap();
            loop {
                match piece.page(after.as_deref(), limit) {
                    Ok(page) => {
                        found.extend(page.ids.into_iter().map(|held| held.id));
                        let Some(cursor) = page.cursor else { break };
                        after = Some(cursor);
                    }
                    Err(until) => {
                        piece = Piece::read_some(&path, text.len() as u64, "users", Some(&until), ids_max).unwrap();
                    }
                }
            }
            assert_eq!(found, expected, "{ids_max} {limit}");
        }
    }
}
