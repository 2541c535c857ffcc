//! The user who runs the server: PostgreSQL refuses root, so as root it is handed to another.

use std::ffi::CString;
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use super::EmbeddedError;

/// Who may run the server when we are root, first match.
const CANDIDATES: [&str; 2] = ["postgres", "nobody"];
/// Room for one entry of the user database.
const ENTRY_BYTES_MAX: usize = 64 * 1024;

/// A user to run the server as; `None` inside means ourselves.
#[derive(Debug, Clone)]
pub(super) struct Account(Option<Other>);

#[derive(Debug, Clone)]
struct Other {
    name: String,
    uid: u32,
    gid: u32,
}

impl Account {
    /// Ourselves, or when we are root `postgres`, or else `nobody`.
    pub fn choose() -> Result<Self, EmbeddedError> {
        if effective_user() != 0 {
            return Ok(Self(None));
        }
        let other = CANDIDATES.iter().find_map(|name| look_up(name)).filter(|other| other.uid != 0);
        other.map(|other| Self(Some(other))).ok_or(EmbeddedError::NoAccount)
    }

    /// Ourselves, root or not.
    pub fn ourselves() -> Self {
        Self(None)
    }

    /// Makes `command` run as this user, with no group of ours left.
    pub fn apply(&self, command: &mut Command) {
        if let Some(other) = &self.0 {
            // std drops the supplementary groups too when it sets a user id as root.
            command.uid(other.uid).gid(other.gid);
        }
    }

    /// Gives `path` to this user.
    pub fn hand_over(&self, path: &Path) -> Result<(), EmbeddedError> {
        match &self.0 {
            Some(other) => chown(path, Some(other.uid), Some(other.gid))
                .map_err(EmbeddedError::file("hand over to the server", path)),
            None => Ok(()),
        }
    }

    /// Fails naming the first directory on the way to `path` that this user cannot enter. What does not exist yet is not
    /// in the way.
    pub fn reaches(&self, path: &Path) -> Result<(), EmbeddedError> {
        let Some(other) = &self.0 else { return Ok(()) };
        let real = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        let mut ways: Vec<&Path> = real.ancestors().collect();
        ways.reverse();
        for way in ways {
            let Ok(found) = fs::metadata(way) else { continue };
            let shift = match (found.uid() == other.uid, found.gid() == other.gid) {
                (true, _) => 6,
                (false, true) => 3,
                (false, false) => 0,
            };
            if found.is_dir() && (found.mode() >> shift) & 1 == 0 {
                return Err(EmbeddedError::Unreachable {
                    account: other.name.clone(),
                    path: path.to_path_buf(),
                    closed: way.to_path_buf(),
                });
            }
        }
        Ok(())
    }
}

/// The user id that decides what we may do.
pub(super) fn effective_user() -> u32 {
    // SAFETY: geteuid only returns a number and cannot fail.
    unsafe { libc::geteuid() }
}

fn look_up(name: &str) -> Option<Other> {
    let c_name = CString::new(name).ok()?;
    let mut buffer = vec![0 as libc::c_char; ENTRY_BYTES_MAX];
    // SAFETY: passwd is a plain C struct for which all zeroes is a value; every pointer outlives the call, the length is the
    // buffer's, and only the two numbers are read afterwards.
    unsafe {
        let mut entry: libc::passwd = std::mem::zeroed();
        let mut found: *mut libc::passwd = std::ptr::null_mut();
        let code = libc::getpwnam_r(c_name.as_ptr(), &mut entry, buffer.as_mut_ptr(), buffer.len(), &mut found);
        if code != 0 || found.is_null() {
            return None;
        }
        Some(Other { name: name.to_owned(), uid: entry.pw_uid, gid: entry.pw_gid })
    }
}
