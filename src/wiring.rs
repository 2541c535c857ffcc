//! Settings become running pipelines. The only place that names PostgreSQL, WebAssembly and the sinks
//! together.
//!
//! ```text
//! Settings ─▶ builders, one after the other ─▶ per pipeline: sink (shared by name), source (shared by slot) ─▶ Engine::run
//!                                              └─ observers: log, metrics, status, progress ─▶ server
//! ```
//!
//! Pipelines run beside each other; one that fails is reported, and the others go on. They are added, removed, paused and resumed while
//! they run (`supervisor`, `reload`), by calls that show the token (`token`).

mod builders;
mod check;
mod index_names;
mod one;
mod reload;
mod sinks;
mod sources;
mod supervisor;
mod token;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::config::{Secret, Settings};
use crate::edges::Failure;
use crate::pipeline::Summary;
use crate::server::{Controls, Served, Server};
use crate::telemetry::{Metrics, Roster, Screen};
pub use check::check;
use supervisor::Supervisor;
pub use token::{read_token, token_file};

/// How long open requests may take when everything else has ended.
const SERVER_GRACE: Duration = Duration::from_secs(2);

/// How a pipeline ended.
#[derive(Debug)]
pub struct Ended {
    /// Its name.
    pub pipeline: String,
    /// What it did, or why it ended.
    pub result: Result<Summary, Trouble>,
}

/// Why a pipeline ended by itself.
#[derive(Debug)]
pub enum Trouble {
    /// It never began: its builder, or what it is to write, is not as it must be.
    Configuration(Failure),
    /// It failed while it ran.
    Running(Failure),
}

impl Trouble {
    /// What happened.
    pub fn failure(&self) -> &Failure {
        match self {
            Trouble::Configuration(failure) | Trouble::Running(failure) => failure,
        }
    }
}

/// Builders are compiled by the running program, called with `compile-component`: it has to be one that calls
/// `docmill::cli::main`.
///
/// Runs all pipelines until `shutdown`, or until none runs and none is paused; how each of them ended. `reload` asks for the configuration
/// to be read again.
///
/// # Errors
///
/// `Fatal` when the server's port or the runtime for guests cannot be had: then nothing was begun.
pub async fn run(
    settings: Settings,
    screen: Screen,
    shutdown: CancellationToken,
    reload: Arc<Notify>,
) -> Result<Vec<Ended>, Failure> {
    let settings = Arc::new(settings);
    let (metrics, roster) = (Metrics::new(env!("CARGO_PKG_VERSION")), Roster::default());
    // Documents must not wait for that: without a token nobody can change anything, and all else works.
    let token = token::read_or_make_token(&settings.server, &settings.file)
        .inspect_err(|failure| tracing::warn!("no call can pause, resume or reload: {}", failure.chain()));
    let (controls, commands) = Controls::new(token.as_ref().ok().map(Secret::expose));
    let served = Served { metrics: metrics.clone(), pipelines: roster.clone(), controls };
    let server = Server::bind(&settings.server.listen, &settings.server.names, served).await?;
    tracing::info!("serving /health, /ready, /metrics and /api/v1/status on http://{}", server.address());
    let supervisor = Supervisor::new(settings, metrics, roster, screen, shutdown)?;
    let serving = CancellationToken::new();
    let server = async {
        let late = async {
            serving.cancelled().await;
            tokio::time::sleep(SERVER_GRACE).await;
        };
        // Whoever does not finish a request must not hold up the end.
        tokio::select! {
            ended = server.run(serving.clone()) => ended,
            () = late => Ok(()),
        }
    };
    let pipelines = async {
        let ended = supervisor.run(commands, reload).await;
        serving.cancel();
        ended
    };
    let (ended, server) = tokio::join!(pipelines, server);
    if let Err(failure) = server {
        tracing::error!("{}", failure.chain());
    }
    Ok(ended)
}
