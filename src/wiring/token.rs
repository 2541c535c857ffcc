//! The token that a call must show to change something: the one of the configuration, or one that is made at the first start and kept in a
//! file that only its owner reads.
//!
//! The file is `token-HOST-PORT`, after the address that the server listens on, in the first of these that the environment names:
//! `$STATE_DIRECTORY` (systemd's), `$XDG_STATE_HOME/docmill`, `$HOME/.local/state/docmill`; else beside the configuration.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rand::Rng;

use crate::config::{Secret, ServerSettings, TOKEN_BYTES_MIN};
use crate::edges::Failure;

/// Bytes of a token's file at most.
const FILE_BYTES_MAX: u64 = 4 << 10;

/// Where the token of a server is kept that does not have it in its configuration.
pub fn token_file(server: &ServerSettings, configuration: &Path) -> PathBuf {
    let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    // Several state directories are separated by colons; the first is ours.
    let systemd = named("STATE_DIRECTORY").map(|path| match path.to_str().and_then(|paths| paths.split(':').next()) {
        Some(first) => PathBuf::from(first),
        None => path,
    });
    let folder = systemd
        .or_else(|| named("XDG_STATE_HOME").map(|path| path.join("docmill")))
        .or_else(|| named("HOME").map(|path| path.join(".local/state/docmill")))
        .unwrap_or_else(|| configuration.parent().map(Path::to_path_buf).unwrap_or_default());
    let letter = |letter: char| if letter.is_ascii_alphanumeric() || letter == '.' { letter } else { '-' };
    folder.join(format!("token-{}", server.listen.chars().map(letter).collect::<String>()))
}

/// The token for calls to this server: of the configuration, or of its file.
///
/// # Errors
///
/// `Fatal` when there is none, or when others may read its file.
pub fn read_token(server: &ServerSettings, configuration: &Path) -> Result<Secret, Failure> {
    if let Some(token) = &server.token {
        return Ok(token.clone());
    }
    let path = token_file(server, configuration);
    read(&path).map_err(|error| failed("read", &path, error))
}

/// The same; makes the file when it is not there.
pub(super) fn read_or_make_token(server: &ServerSettings, configuration: &Path) -> Result<Secret, Failure> {
    if let Some(token) = &server.token {
        return Ok(token.clone());
    }
    let path = token_file(server, configuration);
    match read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make(&path).map_err(|error| failed("make", &path, error))
        }
        read => read.map_err(|error| failed("read", &path, error)),
    }
}

fn failed(tried: &str, path: &Path, error: io::Error) -> Failure {
    Failure::fatal(format!("failed to {tried} the token in {}", path.display()))
        .with_source(error)
        .with_advice("put it right, or set `token` in [server]")
}

fn read(path: &Path) -> io::Result<Secret> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(path)?;
    let about = file.metadata()?;
    if !about.is_file() || about.mode() & 0o077 != 0 {
        let found = format!("others may read it (mode {:o}); `chmod 600` it, or delete it", about.mode() & 0o777);
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, found));
    }
    let mut text = String::new();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
    match text.trim() {
        token if token.len() < TOKEN_BYTES_MIN => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "it holds no token; delete it, and one is made at the next start",
        )),
        token => Ok(Secret::new(token)),
    }
}

fn make(path: &Path) -> io::Result<Secret> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let bytes: [u8; 32] = rand::rng().random();
    let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    // Whole or not there: a start that is cut off leaves none that is too short.
    let aside = path.with_extension(format!("new-{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
    let written = writeln!(file, "{token}").and_then(|()| file.sync_all()).and_then(|()| fs::hard_link(&aside, path));
    fs::remove_file(&aside)?;
    match written {
        // Another process made one meanwhile.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => read(path),
        written => written.map(|()| Secret::new(token)),
    }
}
