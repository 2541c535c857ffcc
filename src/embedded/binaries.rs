//! Finding the programs of a PostgreSQL server on this machine, or fetching them.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::account::Account;
use super::{EmbeddedError, Options, fetch};

/// The oldest major version that has what docmill needs (`pg_logical_emit_message` through pgoutput).
pub(super) const OLDEST_MAJOR: u32 = 14;
/// Where packages put one directory per major version: Debian, then Red Hat, then Postgres.app.
const VERSIONED: [(&str, &str); 3] =
    [("/usr/lib/postgresql", "bin"), ("/usr", "bin"), ("/Applications/Postgres.app/Contents/Versions", "bin")];
/// Where Homebrew keeps its formulae, `postgresql@17` among them.
const HOMEBREW: [&str; 3] = ["/opt/homebrew/opt", "/usr/local/opt", "/home/linuxbrew/.linuxbrew/opt"];

/// A directory that holds `initdb` and `postgres`.
#[derive(Debug, Clone)]
pub(super) struct Binaries {
    pub directory: PathBuf,
    pub major: u32,
}

impl Binaries {
    /// What `options` or the environment names, else the first usable ones of this machine, else fetched ones.
    pub fn find(options: &Options, account: &Account) -> Result<Self, EmbeddedError> {
        let named = options.binaries.clone().or_else(|| std::env::var_os("DOCMILL_PG_BIN").map(PathBuf::from));
        if let Some(directory) = named.filter(|named| !named.as_os_str().is_empty()) {
            return match inspect(&directory) {
                Ok(major) => account.reaches(&directory).map(|()| Self { directory, major }),
                Err(problem) => Err(EmbeddedError::BadBinaries { directory, problem }),
            };
        }
        let candidates = candidates();
        for directory in &candidates {
            if let (Ok(major), Ok(())) = (inspect(directory), account.reaches(directory)) {
                return Ok(Self { directory: directory.clone(), major });
            }
        }
        let fetched = fetch::server(options.progress).and_then(|directory| match inspect(&directory) {
            Ok(major) => Ok(Self { directory, major }),
            Err(problem) => Err(problem),
        });
        match fetched {
            Ok(found) => account.reaches(&found.directory).map(|()| found),
            Err(fetch) => Err(EmbeddedError::NoServer { looked: list(&candidates), fetch }),
        }
    }

    pub fn program(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

/// The major version of the server in `directory`, or what is wrong with it.
fn inspect(directory: &Path) -> Result<u32, String> {
    for name in ["initdb", "postgres"] {
        if !directory.join(name).is_file() {
            return Err(format!("there is no `{name}` in it"));
        }
    }
    let postgres = directory.join("postgres");
    let output = Command::new(&postgres)
        .arg("--version")
        .output()
        .map_err(|error| format!("`postgres --version` could not be run: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    // "postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)", "postgres (PostgreSQL) 18beta1"
    let number = text.split_once("(PostgreSQL) ").map(|(_, rest)| rest).unwrap_or_default();
    let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
    match digits.parse::<u32>() {
        Ok(major) if major >= OLDEST_MAJOR => Ok(major),
        Ok(major) => Err(format!("it holds PostgreSQL {major}, which is too old")),
        Err(_) => Err(format!("its `postgres --version` ended with {} and named no version", output.status)),
    }
}

/// Directories that may hold a server, best first, each once.
fn candidates() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    if let Some(path) = std::env::var_os("PATH") {
        found.extend(std::env::split_paths(&path).filter(|directory| directory.join("initdb").is_file()));
    }
    if let Ok(output) = Command::new("pg_config").arg("--bindir").output() {
        found.push(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    }
    for (parent, below) in VERSIONED {
        let mut versions: Vec<(u32, PathBuf)> = children(Path::new(parent))
            .filter_map(|path| Some((major_in(path.file_name()?)?, path.join(below))))
            .collect();
        versions.sort_by_key(|(major, _)| Reverse(*major));
        found.extend(versions.into_iter().map(|(_, path)| path));
    }
    for parent in HOMEBREW {
        let mut versions: Vec<(u32, PathBuf)> = children(Path::new(parent))
            .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("postgresql")))
            .map(|path| (path.file_name().and_then(major_in).unwrap_or(u32::MAX), path.join("bin")))
            .collect();
        versions.sort_by_key(|(major, _)| Reverse(*major));
        found.extend(versions.into_iter().map(|(_, path)| path));
    }
    let mut seen = HashSet::new();
    found.retain(|path| path.is_absolute() && seen.insert(path.clone()));
    found
}

fn children(parent: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(parent).into_iter().flatten().flatten().map(|entry| entry.path())
}

/// 17 of `17`, `pgsql-17` and `postgresql@17`; nothing of names that belong to something else.
fn major_in(name: &OsStr) -> Option<u32> {
    let name = name.to_str()?;
    let digits = name.strip_prefix("pgsql-").or_else(|| name.strip_prefix("postgresql@")).unwrap_or(name);
    digits.parse().ok()
}

fn list(paths: &[PathBuf]) -> String {
    let shown: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    match shown.is_empty() {
        true => "PATH, pg_config, /usr/lib/postgresql and Homebrew's directories".to_owned(),
        false => format!("{} (and PATH, pg_config)", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn majors_are_read_off_directory_names() {
        let of = |name: &str| major_in(OsStr::new(name));
        assert_eq!((of("17"), of("pgsql-16"), of("postgresql@18")), (Some(17), Some(16), Some(18)));
        assert_eq!((of("lib"), of("postgresql"), of("")), (None, None, None));
    }

    #[test]
    fn a_directory_without_programs_says_which_one_is_missing() {
        let problem = inspect(Path::new("/proc")).expect_err("no server lives in /proc");
        assert!(problem.contains("`initdb`"), "{problem}");
    }
}
