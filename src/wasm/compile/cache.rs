//! The compiled cache: native code of components in a directory of ours, so that a start need not compile again.
//!
//! Files are named by the hash of the component and that of everything that its code depends on (engine version, settings, processor),
//! so a file never has to be changed. Whatever is wrong with the directory or a file is said once, and the component is compiled.

use std::fs::{self, DirBuilder, DirEntry};
use std::hash::{DefaultHasher, Hash as _, Hasher};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use wasmtime::Engine;

use super::cached_file;
use super::kept::Hash;

/// Where native code is kept between starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompiledCache {
    /// The directory. It is made, for this user alone; one that others may enter, or that is somebody else's, is not used.
    pub directory: PathBuf,
    /// Bytes of all files at most; those not used for longest go first.
    pub bytes_max: u64,
}

impl CompiledCache {
    /// The default of [`bytes_max`](Self::bytes_max).
    pub const BYTES_MAX: u64 = 1 << 30;

    /// The user's: `$XDG_CACHE_HOME/docmill/compiled`, or else `~/.cache/docmill/compiled`. `None` where neither is known.
    pub fn of_user(environment: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
        // A relative path is to be ignored, says the standard of these variables.
        let absolute = |name: &str| environment(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let caches = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
        Some(caches.join("docmill/compiled"))
    }
}

/// A directory that may be used.
pub(super) struct Cache {
    directory: PathBuf,
    bytes_max: u64,
    /// Of everything besides the component that its code depends on.
    compatibility: u64,
    written: AtomicU64,
}

const ENDING: &str = ".cwasm";
const UNFINISHED_ENDING: &str = ".tmp";
/// After that long a file that was not finished was left by a process that is gone.
const UNFINISHED_AGE_MAX: Duration = Duration::from_secs(3600);

impl Cache {
    /// `None`, and a warning, where it may not be used.
    pub(super) fn open(options: &CompiledCache, engine: &Engine) -> Option<Self> {
        let directory = options.directory.clone();
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&directory);
        if let Err(problem) = made.map_err(|error| error.to_string()).and_then(|()| ours(&directory)) {
            tracing::warn!("builders are compiled at every start: their cache {}: {problem}", directory.display());
            return None;
        }
        let mut compatibility = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut compatibility);
        let compatibility = compatibility.finish();
        Some(Self { directory, bytes_max: options.bytes_max, compatibility, written: AtomicU64::new(0) })
    }

    /// Native code that was put there by us, whole and unchanged.
    pub(super) fn get(&self, hash: &Hash) -> Option<Vec<u8>> {
        let file = self.file(hash);
        match cached_file::read(&file) {
            Ok(native) => Some(native),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!("the component is compiled again: {}: {error}", file.display());
                None
            }
        }
    }

    /// Puts native code there. What fails is said and nothing else: the code is in memory.
    pub(super) fn put(&self, hash: &Hash, native: &[u8]) {
        if native.len() as u64 > self.bytes_max {
            return;
        }
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        let unfinished = self.directory.join(format!("{}-{number}{UNFINISHED_ENDING}", std::process::id()));
        let file = self.file(hash);
        let written = cached_file::write(&unfinished, native).and_then(|()| fs::rename(&unfinished, &file));
        if let Err(error) = written {
            tracing::warn!("failed to keep a compiled component: {}: {error}", file.display());
            let _ = fs::remove_file(&unfinished);
        }
        if let Err(error) = self.trim(&file) {
            tracing::warn!("failed to bound the cache of compiled components {}: {error}", self.directory.display());
        }
    }

    fn file(&self, hash: &Hash) -> PathBuf {
        let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        self.directory.join(format!("{hash}-{:016x}{ENDING}", self.compatibility))
    }

    /// Removes the files that were not used for longest, until the rest fits; never `newest`.
    fn trim(&self, newest: &Path) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let Ok(metadata) = entry.metadata() else { continue };
            let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            if ends(&entry, ENDING) {
                files.push((used, metadata.len(), entry.path()));
            } else if ends(&entry, UNFINISHED_ENDING) && used.elapsed().is_ok_and(|age| age > UNFINISHED_AGE_MAX) {
                let _ = fs::remove_file(entry.path());
            }
        }
        files.sort();
        let mut bytes: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, freed, file) in files {
            if bytes <= self.bytes_max {
                break;
            }
            if file != newest && fs::remove_file(&file).is_ok() {
                bytes -= freed;
            }
        }
        Ok(())
    }
}

fn ends(entry: &DirEntry, ending: &str) -> bool {
    entry.file_name().to_string_lossy().ends_with(ending)
}

/// Whether a directory is this user's alone.
fn ours(directory: &Path) -> Result<(), String> {
    let metadata = fs::symlink_metadata(directory).map_err(|error| error.to_string())?;
    // SAFETY: takes nothing and always succeeds.
    let user = unsafe { libc::geteuid() };
    if !metadata.is_dir() {
        Err("it is no directory".to_owned())
    } else if metadata.uid() != user {
        Err(format!("it belongs to user {}, and this is user {user}; name another one", metadata.uid()))
    } else if metadata.mode() & 0o077 != 0 {
        Err(format!("others may enter it (mode {:o}); chmod 700 it", metadata.mode() & 0o7777))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_s_cache_is_where_the_standard_says() {
        let with = |set: &'static [(&str, &str)]| {
            CompiledCache::of_user(&move |name: &str| {
                set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(with(&[("XDG_CACHE_HOME", "/c"), ("HOME", "/h")]), Some("/c/docmill/compiled".into()));
        assert_eq!(with(&[("XDG_CACHE_HOME", "c"), ("HOME", "/h")]), Some("/h/.cache/docmill/compiled".into()));
        assert_eq!(with(&[]), None);
    }
}
