//! `<file>.state.json`: what pipelines remember of a file of lines, replaced whole and atomically. Whoever has the lock of
//! the file of lines is its only reader and writer.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::appender::{beside, sync_directory};
use crate::edges::{Failure, Revision};
use crate::model::StateDocument;

const FORMAT: u32 = 1;

/// The state file, and what is in it.
#[derive(Debug)]
pub(super) struct StateFile {
    path: PathBuf,
    content: Content,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    format: u32,
    lines: Lines,
    pipelines: BTreeMap<String, Kept>,
}

/// The file of lines that this is the state of: another one in its place, or a shorter one, is not the same.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lines {
    uuid: String,
    device: u64,
    inode: u64,
    /// Bytes it had at least.
    length: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    revision: u64,
    state: StateDocument,
}

impl StateFile {
    /// Reads the state beside the file of lines, or begins an empty one.
    pub(super) fn open(lines: &Path, metadata: &Metadata, length: u64) -> Result<Self, Failure> {
        let path = beside(lines, ".state.json");
        let unusable = |why: String| {
            Failure::fatal(format!("the state in {} cannot be read: {why}", path.display()))
                .with_advice("remove it together with the file of lines; everything is then written anew")
        };
        let found: Option<Content> = match fs::read(&path) {
            Ok(bytes) => Some(serde_json::from_slice(&bytes).map_err(|error| unusable(error.to_string()))?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(unusable(error.to_string())),
        };
        if let Some(found) = found.as_ref().filter(|found| found.format != FORMAT) {
            return Err(unusable(format!("its format is {}, and {FORMAT} is what this program reads", found.format)));
        }
        let now = Lines {
            uuid: format!("{:016x}", rand::random::<u64>()),
            device: metadata.dev(),
            inode: metadata.ino(),
            length,
        };
        let content = match found {
            None => Content { format: FORMAT, lines: now, pipelines: BTreeMap::new() },
            Some(found) => {
                let before = &found.lines;
                let same = (before.device, before.inode) == (now.device, now.inode) && before.length <= length;
                let lines = if same { found.lines } else { now };
                Content { lines, ..found }
            }
        };
        Ok(Self { path, content })
    }

    /// The mark of the file of lines.
    pub(super) fn uuid(&self) -> &str {
        &self.content.lines.uuid
    }

    pub(super) fn load(&self, pipeline: &str) -> Option<(StateDocument, Revision)> {
        let kept = self.content.pipelines.get(pipeline)?;
        Some((kept.state.clone(), Revision(kept.revision.to_string())))
    }

    /// Replaces the state of one pipeline, if it is still what was read; `length` is that of the file of lines now.
    pub(super) fn store(
        &mut self,
        pipeline: &str,
        document: &StateDocument,
        expected: Option<&Revision>,
        length: u64,
    ) -> Result<Revision, Failure> {
        let current = self.content.pipelines.get(pipeline).map(|kept| kept.revision);
        if current.map(|revision| revision.to_string()).as_ref() != expected.map(|revision| &revision.0) {
            return Err(Failure::fatal(format!(
                "write the state of pipeline {pipeline} in {}: it was written by another owner",
                self.path.display()
            ))
            .with_advice("give each pipeline a name of its own"));
        }
        let revision = current.unwrap_or(0) + 1;
        let mut content = self.content.clone();
        content.lines.length = length;
        content.pipelines.insert(pipeline.to_owned(), Kept { revision, state: document.clone() });
        replace(&self.path, &content).map_err(|error| {
            Failure::transient(format!("write the state of pipeline {pipeline} in {}", self.path.display()))
                .with_source(error)
        })?;
        self.content = content;
        Ok(Revision(revision.to_string()))
    }
}

fn replace(path: &Path, content: &Content) -> io::Result<()> {
    let new = beside(path, ".new");
    let mut file = File::create(&new)?;
    file.write_all(&serde_json::to_vec_pretty(content)?)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    sync_directory(path)
}
