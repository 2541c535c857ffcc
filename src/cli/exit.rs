//! Exit codes, and what becomes of errors and panics on the way out.

use std::fmt;
use std::process::ExitCode;

use crate::config::Problems;

/// How the program ends; the numbers are documented in [`crate::cli`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    Fine = 0,
    Failed = 1,
    Usage = 2,
    Found = 3,
}

impl Exit {
    pub(super) fn code(self) -> ExitCode {
        ExitCode::from(self as u8)
    }

    /// 2 for what [`wrong_usage`] marked, else 1.
    pub(super) fn of(error: &anyhow::Error) -> Exit {
        match error.downcast_ref::<WrongUsage>() {
            Some(_) => Exit::Usage,
            None => Exit::Failed,
        }
    }
}

/// Wrong usage or configuration: the text as it is printed.
#[derive(Debug)]
struct WrongUsage(String);

impl fmt::Display for WrongUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WrongUsage {}

/// An error that ends with exit code 2.
pub(super) fn wrong_usage(text: impl fmt::Display) -> anyhow::Error {
    WrongUsage(text.to_string()).into()
}

/// Everything that is wrong with a configuration, a line each; ends with exit code 2.
pub(super) fn wrong_configuration(problems: &Problems) -> anyhow::Error {
    let count = match problems.problems.len() {
        1 => "a problem".to_owned(),
        count => format!("{count} problems"),
    };
    wrong_usage(format!("{count} with the configuration\n{problems}"))
}

/// A panic is a mistake of docmill: one line says where. Its message may quote data, so it comes with RUST_BACKTRACE only.
pub(super) fn quiet_panics() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if std::env::var_os("RUST_BACKTRACE").is_some_and(|wish| wish != "0") {
            return default(panic);
        }
        let place = panic.location().map(|place| format!(" at {}:{}", place.file(), place.line()));
        eprintln!(
            "docmill: internal error{}; this is a mistake in docmill, please report it (RUST_BACKTRACE=1 says more)",
            place.unwrap_or_default()
        );
    }));
}
