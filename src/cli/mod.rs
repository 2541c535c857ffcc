//! The command line: one file for each command. The only place with clap, anyhow and printing.
//!
//! | exit code | means |
//! |---|---|
//! | 0 | fine |
//! | 1 | failed at run time |
//! | 2 | wrong usage or configuration |
//! | 3 | `check`, or the comparison of `demo`, found something |

mod check;
mod demo;
mod exit;
mod run;
mod signals;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::telemetry::{LogForm, Screen, start_logging};
use crate::wasm::{COMPILE_COMMAND, compile_component};
use exit::Exit;

/// Keeps a search engine in step with PostgreSQL; your mapping is a sandboxed WebAssembly component.
#[derive(Parser)]
#[command(name = "docmill", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    logs: Logs,
}

#[derive(Subcommand)]
enum Command {
    /// Run the pipelines of a configuration until SIGTERM or Ctrl-C
    Run(run::Arguments),
    /// Look at everything that can be wrong, without changing anything
    Check(check::Arguments),
    /// See it work: a throw-away PostgreSQL with a small shop, changes trickling in
    Demo(demo::Arguments),
    /// Compile a component from standard input: docmill starts itself like this, with limits of the system
    #[command(name = COMPILE_COMMAND, hide = true)]
    CompileComponent,
}

#[derive(Args)]
struct Logs {
    /// Form of log lines
    #[arg(long, value_enum, default_value_t = Form::People, global = true)]
    log: Form,
    /// error, warn, info, debug, trace, or a filter such as docmill=debug; else RUST_LOG, else info
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Form {
    People,
    Json,
}

/// Which configuration.
#[derive(Args)]
struct ConfigFile {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = "docmill.toml", env = "DOCMILL_CONFIG")]
    config: PathBuf,
}

/// The whole program: reads the process's arguments, does what they say, and answers the exit code.
pub fn main() -> ExitCode {
    exit::quiet_panics();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too, with 0; wrong usage is clap's 2 and ours.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    // Nothing else of a program is set up: it runs in a small cage.
    if matches!(cli.command, Command::CompileComponent) {
        return compile_component();
    }
    let screen = Screen::default();
    match dispatch(cli, &screen) {
        Ok(exit) => exit.code(),
        Err(error) => {
            let lines: Vec<String> = error.chain().map(ToString::to_string).collect();
            screen.beside(|| eprintln!("docmill: {}", lines.join(": ")));
            Exit::of(&error).code()
        }
    }
}

fn dispatch(cli: Cli, screen: &Screen) -> anyhow::Result<Exit> {
    // The library leaves the choice to its host; with two providers compiled in, whoever connects first would make it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let form = match cli.logs.log {
        Form::People => LogForm::People,
        Form::Json => LogForm::Json,
    };
    // The demo tells its own story; logs would talk in between.
    let quiet = matches!(cli.command, Command::Demo(_)) && std::env::var_os("RUST_LOG").is_none();
    let level = cli.logs.log_level.as_deref().or(quiet.then_some("warn"));
    start_logging(form, level, screen).map_err(exit::wrong_usage)?;
    let workers = std::thread::available_parallelism().map_or(2, |cores| cores.get().max(2));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build()?;
    let exit = runtime.block_on(async {
        match cli.command {
            Command::Run(arguments) => run::run(arguments, screen).await,
            Command::Check(arguments) => check::run(arguments).await,
            Command::Demo(arguments) => demo::run(arguments, screen).await,
            Command::CompileComponent => Ok(Exit::Fine),
        }
    });
    // What still runs in the background (a compilation that was given up) must not hold up the exit.
    runtime.shutdown_background();
    exit
}
