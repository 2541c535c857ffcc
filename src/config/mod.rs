//! The configuration: a TOML file and the environment become [`Settings`], or every problem at once.
//!
//! ```text
//! text ─▶ toml's spanned tables ─▶ table, value (expand, units) ─▶ read/… ─▶ Settings
//!                                      └──────── problems, warnings ◀──┘
//! ```
//!
//! Several pipelines on one source each need a replication slot: sharing one capture comes with tenants. Until then a pipeline
//! reads the source's slot if it is the only one there, and every further one says `slot = "own"` (then it is named
//! `SLOT_PIPELINE`) or names one; anything else is refused rather than left to fight over one slot.

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
    GuestSettings, Login, PipelineSettings, SearchEngine, SearchSettings, ServerSettings, Settings, SinkSettings,
    SourceSettings,
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
    let text = std::fs::read_to_string(file).map_err(|error| {
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
    })?;
    parse(&text, file, &|name| std::env::var(name).ok())
}

/// Reads the text of a configuration file; relative paths begin at `file`'s directory.
///
/// # Errors
///
/// Everything that is wrong with it.
pub fn parse(text: &str, file: &Path, environment: &Environment<'_>) -> Result<Loaded, Problems> {
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
        false => read::settings(Table::new(&reading, String::new(), 0..0, document.get_ref()), file),
    };
    let (problems, warnings) = reading.collector.finish();
    match settings {
        Some(settings) if problems.is_empty() => {
            Ok(Loaded { settings, warnings: warnings.iter().map(|warning| warning.in_file(file)).collect() })
        }
        _ => Err(Problems { file: file.to_path_buf(), problems }),
    }
}
