//! A file that only whole lines are added to: what is not known to be on the disk is cut off again.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

/// Bytes read at a time when looking for the last line's end.
const PIECE: u64 = 64 << 10;

/// The end of a file of lines.
#[derive(Debug)]
pub(super) struct Appender {
    file: File,
    /// Bytes of whole lines that are on the disk.
    length: u64,
    /// Whether there may be something behind them.
    dirty: bool,
    /// Whether the file was made just now.
    pub(super) created: bool,
}

/// Why a file cannot be added to.
#[derive(Debug)]
pub(super) enum CannotOpen {
    /// Somebody else has it.
    InUse,
    /// As the system says.
    Io(io::Error),
}

impl From<io::Error> for CannotOpen {
    fn from(error: io::Error) -> Self {
        CannotOpen::Io(error)
    }
}

impl Appender {
    /// Opens a file for this process alone and cuts off what follows its last whole line.
    pub(super) fn open(path: &Path) -> Result<Self, CannotOpen> {
        let created = !path.try_exists()?;
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(CannotOpen::InUse),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        let length = whole_lines(&mut file)?;
        if length < file.metadata()?.len() {
            tracing::warn!(file = %path.display(), "cut off the last line, which a crash had left half written");
            file.set_len(length)?;
        }
        file.sync_all()?;
        sync_directory(path)?;
        Ok(Self { file, length, dirty: false, created })
    }

    /// Bytes of whole lines.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn metadata(&self) -> io::Result<std::fs::Metadata> {
        self.file.metadata()
    }

    /// Adds whole lines and waits until they are on the disk. After an error none of them counts.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        if self.dirty {
            self.file.set_len(self.length)?;
        }
        self.dirty = true;
        let written = self.file.write_all(lines).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            self.dirty = self.file.set_len(self.length).is_err();
            return Err(error);
        }
        self.dirty = false;
        self.length += lines.len() as u64;
        Ok(())
    }
}

/// Bytes up to the end of the last whole line.
fn whole_lines(file: &mut File) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    let mut piece = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(PIECE);
        file.seek(SeekFrom::Start(start))?;
        piece.clear();
        io::Read::take(&*file, end - start).read_to_end(&mut piece)?;
        if let Some(at) = piece.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// Waits until the name of a file is on the disk.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

/// A path with something behind its name.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_written_last_line_is_cut_off() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        let long = "x".repeat(2 * PIECE as usize);
        for (before, after) in [
            ("", ""),
            ("half", ""),
            ("a\nb\n", "a\nb\n"),
            ("a\nha", "a\n"),
            (&*format!("a\n{long}"), "a\n"),
            (&*format!("{long}\nha"), &*format!("{long}\n")),
        ] {
            std::fs::write(&path, before).unwrap();
            let mut appender = Appender::open(&path).unwrap();
            appender.append(b"new\n").unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{after}new\n"));
            assert_eq!(appender.length(), after.len() as u64 + 4);
        }
    }

    #[test]
    fn a_file_has_one_writer() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        let first = Appender::open(&path).unwrap();
        assert!(first.created);
        assert!(matches!(Appender::open(&path), Err(CannotOpen::InUse)));
        drop(first);
        assert!(!Appender::open(&path).unwrap().created);
    }
}
