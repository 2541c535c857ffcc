//! One file of the compiled cache: a line with the checksum of what follows. The engine trusts native code blindly, so a file is read
//! only when nobody else can have written it, and used only when it is whole.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::SystemTime;

use sha2::{Digest, Sha256};

const MAGIC: &[u8] = b"docmill compiled 1\n";
const CHECKSUM_BYTES: usize = 32;

/// What was written, if it is all there and only this user can have written it. Reading it makes it the one used last.
///
/// # Errors
///
/// `NotFound`, or what is wrong with it.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::options()
        .read(true)
        // No link is followed, and no pipe waited for.
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(path)
        .map_err(|error| match error.raw_os_error() {
            Some(libc::ELOOP) => io::Error::other("it is a link, and not one of ours"),
            _ => error,
        })?;
    // Of what was opened, whatever stands there by now.
    let metadata = file.metadata()?;
    // SAFETY: takes nothing and always succeeds.
    let user = unsafe { libc::geteuid() };
    let foreign = if !metadata.is_file() {
        Some("it is no ordinary file".to_owned())
    } else if metadata.uid() != user {
        Some(format!("it belongs to user {}, and this is user {user}", metadata.uid()))
    } else if metadata.mode() & 0o177 != 0 {
        Some(format!("others than us may read or write it (mode {:o})", metadata.mode() & 0o7777))
    } else {
        None
    };
    if let Some(foreign) = foreign {
        return Err(io::Error::other(foreign));
    }
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    file.read_to_end(&mut bytes)?;
    let native = bytes
        .strip_prefix(MAGIC)
        .and_then(|rest| rest.split_at_checked(CHECKSUM_BYTES))
        .filter(|(checksum, native)| Sha256::digest(native)[..] == **checksum)
        .map(|(_, native)| native.len())
        .ok_or_else(|| io::Error::other("it is damaged"))?;
    bytes.drain(..bytes.len() - native);
    // Only an order of removal depends on it.
    let _ = file.set_modified(SystemTime::now());
    Ok(bytes)
}

/// Writes a new file that only this user can read and write.
pub(super) fn write(path: &Path, native: &[u8]) -> io::Result<()> {
    let mut file =
        File::options().write(true).create_new(true).mode(0o600).custom_flags(libc::O_NOFOLLOW).open(path)?;
    file.write_all(MAGIC)?;
    file.write_all(&Sha256::digest(native))?;
    file.write_all(native)
}
