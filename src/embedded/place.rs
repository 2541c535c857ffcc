//! The directory under which fetched servers and temporary clusters live, and the removal of what dead processes left there.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::EmbeddedError;
use super::account::{Account, effective_user};

/// Where things are kept between runs: `DOCMILL_CACHE`, else the user's cache directory, else (as root, whose home no other
/// user can reach) `/var/tmp/docmill-0`. The directory need not exist yet.
pub fn cache_root() -> PathBuf {
    if let Some(named) = std::env::var_os("DOCMILL_CACHE").filter(|named| !named.is_empty()) {
        return std::path::absolute(&named).unwrap_or_else(|_| named.into());
    }
    let directory_of = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let user = effective_user();
    if user != 0
        && let Some(cache) = directory_of("XDG_CACHE_HOME").or_else(|| Some(directory_of("HOME")?.join(".cache")))
    {
        return cache.join("docmill");
    }
    PathBuf::from(format!("/var/tmp/docmill-{user}"))
}

fn home_of_servers() -> PathBuf {
    cache_root().join("servers")
}

/// Makes `path` with all above it, traversable by everybody, and refuses one that somebody else prepared.
pub(super) fn make_shared(path: &Path) -> Result<(), EmbeddedError> {
    let make = |path: &Path| DirBuilder::new().recursive(true).mode(0o755).create(path);
    make(path).map_err(EmbeddedError::file("make directory", path))?;
    // /var/tmp is writable by everybody: whoever owns our directory there decides what we run.
    let found = fs::symlink_metadata(path).map_err(EmbeddedError::file("look at", path))?;
    let named = std::env::var_os("DOCMILL_CACHE").is_some();
    if !named && (found.uid() != effective_user() || found.mode() & 0o022 != 0 || !found.is_dir()) {
        return Err(EmbeddedError::NotOurs { path: path.to_path_buf() });
    }
    Ok(())
}

/// A server's own directory. Dropped, it is removed if it is temporary.
#[derive(Debug)]
pub struct Home {
    path: PathBuf,
    /// Held for as long as a temporary directory is in use: the system releases it however our process ends.
    lock: Option<(PathBuf, File)>,
}

impl Home {
    /// A new directory of ours, named `KIND-…`, for another server than PostgreSQL; removed when dropped, or, if our process
    /// is killed, by the next one that makes a temporary directory.
    ///
    /// # Errors
    /// The directories above it cannot be made or are somebody else's.
    pub fn of(kind: &str) -> Result<Self, EmbeddedError> {
        Self::temporary(kind, &Account::ourselves())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory `path`, made if it is missing, kept in the end.
    pub(super) fn kept(path: &Path, account: &Account) -> Result<Self, EmbeddedError> {
        let path = std::path::absolute(path).map_err(EmbeddedError::file("find", path))?;
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(&path)
            .map_err(EmbeddedError::file("make directory", &path))?;
        account.hand_over(&path)?;
        account.reaches(&path)?;
        Ok(Self { path, lock: None })
    }

    /// A new directory that is removed in the end; those of processes that were killed are removed now.
    pub(super) fn temporary(kind: &str, account: &Account) -> Result<Self, EmbeddedError> {
        let root = cache_root();
        make_shared(&root)?;
        let servers = home_of_servers();
        make_shared(&servers)?;
        account.reaches(&servers)?;

        // One process at a time makes or sweeps: nobody sees a directory whose lock is not held yet.
        let gate = servers.join("lock");
        let gate_file = File::create(&gate).map_err(EmbeddedError::file("make", &gate))?;
        gate_file.lock().map_err(EmbeddedError::file("lock", &gate))?;
        sweep(&servers);

        // The process id for people; containers that share a disk may share it too.
        let name = format!("{kind}-{}-{:08x}", std::process::id(), rand::random::<u32>());
        let lock_path = servers.join(format!("{name}.lock"));
        let lock_file = File::create(&lock_path).map_err(EmbeddedError::file("make", &lock_path))?;
        lock_file.lock().map_err(EmbeddedError::file("lock", &lock_path))?;
        let path = servers.join(name);
        DirBuilder::new().mode(0o700).create(&path).map_err(EmbeddedError::file("make directory", &path))?;
        let home = Self { path, lock: Some((lock_path, lock_file)) };
        account.hand_over(&home.path)?;
        Ok(home)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if let Some((lock_path, _held)) = self.lock.take() {
            remove(&self.path, &lock_path);
        }
    }
}

/// Removes the directories whose owner is gone. What cannot be removed now is left for the next sweep.
fn sweep(servers: &Path) {
    let Ok(entries) = fs::read_dir(servers) else { return };
    for entry in entries.flatten() {
        let lock_path = entry.path();
        let is_lock = lock_path.extension().is_some_and(|extension| extension == "lock");
        if let (true, Ok(file)) = (is_lock, File::open(&lock_path))
            && file.try_lock().is_ok()
        {
            remove(&lock_path.with_extension(""), &lock_path);
        }
    }
}

/// The lock goes last, so that a removal that fails is tried again by the next sweep.
fn remove(directory: &Path, lock_path: &Path) {
    let gone = match fs::remove_dir_all(directory) {
        Ok(()) => true,
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    };
    if gone {
        let _ = fs::remove_file(lock_path);
    }
}
