//! The HTTP server: health, readiness, metrics and status, for machines and for people with a browser. Knows `telemetry`.
//!
//! Loopback is no protection from a web page that the operator has open, so every request must name this server
//! (`guard`); and none from other users of the machine, so what changes something needs a token (`controls`).

mod answers;
mod controls;
mod guard;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::edges::Failure;
use crate::telemetry::{Metrics, Roster};
pub use controls::{Ask, Command, Controls, Refusal};
pub use guard::Names;

/// What is served.
#[derive(Clone)]
pub struct Served {
    /// The metrics of this process.
    pub metrics: Metrics,
    /// The pipelines as they stand.
    pub pipelines: Roster,
    /// Where calls go that change something.
    pub controls: Controls,
}

/// A server that has its port.
pub struct Server {
    listener: TcpListener,
    router: Router,
    address: SocketAddr,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Server {
    /// Takes the port of `listen` (`host:port`; port 0 is any); answers requests that name `listen`, loopback or one of `names`.
    ///
    /// # Errors
    ///
    /// `Fatal` when the address cannot be had.
    pub async fn bind(listen: &str, names: &[String], served: Served) -> Result<Self, Failure> {
        let refused = |error: std::io::Error| {
            let failure = Failure::fatal(format!("failed to listen on {listen}")).with_source(error);
            failure.with_advice("choose another address with `listen` in [server]")
        };
        let listener = TcpListener::bind(listen).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let names = Arc::new(Names::new(listen, names));
        Ok(Self { listener, router: router(served, names), address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `shutdown`.
    ///
    /// # Errors
    ///
    /// `Fatal` when it can answer no more.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Failure> {
        axum::serve(self.listener, self.router)
            .with_graceful_shutdown(shutdown.cancelled_owned())
            .await
            .map_err(|error| Failure::fatal(format!("failed to serve on {}", self.address)).with_source(error))
    }
}

fn router(served: Served, names: Arc<Names>) -> Router {
    let changing = Router::new()
        .route("/api/v1/pipelines/{name}/pause", post(controls::pause))
        .route("/api/v1/pipelines/{name}/resume", post(controls::resume))
        .route("/api/v1/reload", post(controls::reload))
        .route_layer(from_fn_with_state(served.clone(), controls::authorized));
    Router::new()
        .merge(changing)
        .route("/", get(answers::page))
        .route("/health", get(answers::health))
        .route("/ready", get(answers::ready))
        .route("/metrics", get(answers::metrics))
        .route("/api/v1/status", get(answers::status))
        .route("/api/v1/pipelines", get(answers::pipelines))
        .fallback(answers::not_found)
        .layer(from_fn_with_state(names, guard::check))
        .with_state(served)
}
