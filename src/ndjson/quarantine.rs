//! `<file>.quarantine.ndjson`: rejected documents, a line each, and a line for each that was written well later.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use super::appender::{Appender, CannotOpen, beside};
use super::line::{self, QuarantineLine};
use crate::model::{QuarantineRecord, Version};

/// Documents whose records can be cleared; those beyond stay in the file until `retry` or a person takes them out.
const KNOWN_MAX: usize = 100_000;

/// The quarantine of a file of lines.
#[derive(Debug)]
pub(super) struct Quarantine {
    path: PathBuf,
    /// Opened with the first record, so that there is no file while nothing was ever rejected.
    appender: Option<Appender>,
    /// Index and id of what is in quarantine, with the version of the refused write.
    known: HashMap<(String, String), Version>,
}

impl Quarantine {
    pub(super) fn open(lines: &Path) -> Result<Self, CannotOpen> {
        let path = beside(lines, ".quarantine.ndjson");
        let mut quarantine = Self { path, appender: None, known: HashMap::new() };
        if quarantine.path.try_exists()? {
            quarantine.appender = Some(Appender::open(&quarantine.path)?);
            quarantine.read()?;
        }
        Ok(quarantine)
    }

    fn read(&mut self) -> io::Result<()> {
        for line in BufReader::new(File::open(&self.path)?).split(b'\n') {
            // A line that a person put in is theirs.
            let Some((line, version)) = QuarantineLine::read(&line?) else { continue };
            let key = (line.index, line.id);
            if line.cleared {
                self.known.remove(&key);
            } else if self.known.len() < KNOWN_MAX {
                self.known.insert(key, version);
            }
        }
        Ok(())
    }

    /// Parks records; durable when it returns.
    pub(super) fn put(&mut self, records: &[QuarantineRecord]) -> Result<(), CannotOpen> {
        let appender = match &mut self.appender {
            Some(appender) => appender,
            none => none.insert(Appender::open(&self.path)?),
        };
        let mut lines = Vec::new();
        records.iter().for_each(|record| line::quarantined(record, &mut lines));
        appender.append(&lines)?;
        for record in records {
            let key = (record.generation.to_string(), record.document.id.clone());
            if self.known.len() < KNOWN_MAX || self.known.contains_key(&key) {
                self.known.insert(key, record.version);
            }
        }
        Ok(())
    }

    /// Clears the records of documents that were written well at or above the version that was refused.
    pub(super) fn clear(&mut self, written: Vec<(String, String, Version)>) -> io::Result<()> {
        if self.known.is_empty() {
            return Ok(());
        }
        let (mut lines, mut cleared) = (Vec::new(), Vec::new());
        for (index, id, version) in written {
            let key = (index, id);
            if self.known.get(&key).is_some_and(|refused| *refused <= version) {
                line::cleared(&key.0, &key.1, version, &mut lines);
                cleared.push(key);
            }
        }
        if let Some(appender) = &mut self.appender {
            appender.append(&lines)?;
        }
        cleared.iter().for_each(|key| {
            self.known.remove(key);
        });
        Ok(())
    }
}
