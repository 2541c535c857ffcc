//! The set-up of `tracing`: lines for people or JSON, on standard error, beside progress bars.

use std::io::{self, IsTerminal, Write};

use indicatif::MultiProgress;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

/// The form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogForm {
    /// For people.
    #[default]
    People,
    /// One JSON object a line.
    Json,
}

/// Libraries that say little of use below `warn`.
const QUIET: &str =
    "wasmtime=warn,cranelift=warn,hyper=warn,reqwest=warn,rustls=warn,tokio_postgres=warn,pgwire_replication=warn";

/// Logs could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The filter is not understood.
    #[error(
        "expected a log level (error, warn, info, debug, trace) or a filter such as docmill=debug, found {found:?}"
    )]
    Filter {
        /// It.
        found: String,
    },
}

/// Standard error, shared by log lines and progress bars: a line goes above the bars.
#[derive(Clone, Debug, Default)]
pub struct Screen {
    bars: MultiProgress,
}

impl Screen {
    /// Whether somebody looks at it.
    pub fn is_terminal(&self) -> bool {
        io::stderr().is_terminal()
    }

    /// Where bars are put.
    pub fn bars(&self) -> &MultiProgress {
        &self.bars
    }

    /// Runs something that writes to the terminal while no bar is drawn.
    pub fn beside<T>(&self, write: impl FnOnce() -> T) -> T {
        self.bars.suspend(write)
    }
}

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.beside(|| io::stderr().write_all(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl<'a> MakeWriter<'a> for Screen {
    type Writer = Screen;

    fn make_writer(&'a self) -> Screen {
        self.clone()
    }
}

/// Sends log lines to `screen` from now on. `level` wins over `RUST_LOG`; without both it is `info`. A second call keeps what
/// the first one set up.
///
/// # Errors
///
/// `level` or `RUST_LOG` is no filter.
pub fn start_logging(form: LogForm, level: Option<&str>, screen: &Screen) -> Result<(), LoggingError> {
    let from_environment = std::env::var("RUST_LOG").ok().filter(|filter| !filter.is_empty());
    let wish = level.map(str::to_owned).or(from_environment).unwrap_or_else(|| "info".to_owned());
    let refused = |_| LoggingError::Filter { found: wish.clone() };
    // A plain level is for docmill; whoever writes a filter means it as it is.
    let text = match wish.contains(['=', ',']) {
        true => wish.clone(),
        false => format!("{wish},{QUIET}"),
    };
    if !wish.contains(['=', ',']) && wish.parse::<tracing_subscriber::filter::LevelFilter>().is_err() {
        return Err(LoggingError::Filter { found: wish });
    }
    let filter = EnvFilter::builder().parse(&text).map_err(refused)?;
    let colours = screen.is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(BoxMakeWriter::new(screen.clone()))
        .with_ansi(colours);
    let _ = match form {
        LogForm::People => builder.with_target(false).try_init(),
        LogForm::Json => builder.json().flatten_event(true).with_current_span(false).try_init(),
    };
    Ok(())
}
