//! The configuration: a TOML file and the environment become [`Settings`], or every problem at once.
//!
//! ```text
//! text ─▶ toml's spanned tables ─▶ table, value (expand, units) ─▶ read/… ─▶ Settings
//!                                      └──────── problems, warnings ◀──┘
//! ```
//!
//! Pipelines that say nothing about a slot share their source's: one replication slot, decoded once. `slot = "own"` gives a pipeline
//! one for itself (named `SLOT_PIPELINE`), `slot = "NAME"` one of that name; two pipelines that name the same are refused.

mod expand;
mod options;
mod problem;
mod read;
mod secret;
mod settings;
mod table;
mod units;
mod value;

use std::path::Path;

use toml::de::DeTable;

pub use expand::Environment;
pub use problem::{Problem, Problems};
pub use secret::Secret;
pub use settings::{
    FailingSettings, GuestSettings, Login, PipelineSettings, SearchEngine, SearchSettings, ServerSettings, Settings,
    SinkSettings, SourceSettings, TOKEN_BYTES_MIN,
};
pub use units::{duration, size};

use problem::Collector;
use table::{Reading, Table};

/// Settings, and what about them works but may surprise.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// One line each, with its place in the file.
    pub warnings: Vec<String>,
}

/// Reads a configuration file with the process's environment.
///
/// # Errors
///
/// Everything that is wrong with it.
pub fn load(file: &Path) -> Result<Loaded, Problems> {
    parse(&text(file)?, file, &|name| std::env::var(name).ok())
}

/// Reads only `[server]` of a configuration file: what it takes to talk to a server that runs.
///
/// # Errors
///
/// What is wrong with that part, or that the file is no TOML.
pub fn load_server(file: &Path) -> Result<ServerSettings, Problems> {
    let text = text(file)?;
    let environment = |name: &str| std::env::var(name).ok();
    let read = |mut document: Table<'_, '_>, _: &Path| match document.get("server") {
        Some(entry) => entry.table().and_then(read::server::read),
        None => Some(ServerSettings::default()),
    };
    parse_with(&text, file, &environment, read).map(|(server, _)| server)
}

fn text(file: &Path) -> Result<String, Problems> {
    std::fs::read_to_string(file).map_err(|error| {
        let found = match error.kind() {
            std::io::ErrorKind::NotFound => "there is no such file; name one with --config".to_owned(),
            std::io::ErrorKind::InvalidData => "it is not UTF-8 text".to_owned(),
            _ => error.to_string(),
        };
        Problems {
            file: file.to_path_buf(),
            problems: vec![Problem {
                line: 0,
                column: 0,
                key: String::new(),
                message: format!("could not read the configuration: {found}"),
            }],
        }
    })
}

/// Reads the text of a configuration file; relative paths begin at `file`'s directory.
///
/// # Errors
///
/// Everything that is wrong with it.
pub fn parse(text: &str, file: &Path, environment: &Environment<'_>) -> Result<Loaded, Problems> {
    let (settings, warnings) = parse_with(text, file, environment, read::settings)?;
    Ok(Loaded { settings, warnings })
}

fn parse_with<T>(
    text: &str,
    file: &Path,
    environment: &Environment<'_>,
    read: impl FnOnce(Table<'_, '_>, &Path) -> Option<T>,
) -> Result<(T, Vec<String>), Problems> {
    let collector = Collector::new(text);
    let (document, errors) = DeTable::parse_recoverable(text);
    let broken = !errors.is_empty();
    for error in errors {
        let at = error.span().unwrap_or(0..0);
        let message = error.message().replace('\n', "; ");
        collector.problem(at, "", format!("this is no TOML: {message}"));
    }
    let reading =
        Reading { collector, environment, directory: file.parent().map(Path::to_path_buf).unwrap_or_default() };
    // What could be recovered of broken TOML would only bring follow-up problems that nobody has.
    let settings = match broken {
        true => None,
        false => read(Table::new(&reading, String::new(), 0..0, document.get_ref()), file),
    };
    let (problems, warnings) = reading.collector.finish();
    match settings {
        Some(settings) if problems.is_empty() => {
            Ok((settings, warnings.iter().map(|warning| warning.in_file(file)).collect()))
        }
        _ => Err(Problems { file: file.to_path_buf(), problems }),
    }
}
