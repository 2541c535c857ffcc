//! Calls that change something: who may make them, and how they reach whoever runs the pipelines.
//!
//! ```text
//! POST ─▶ guard (Host, Origin) ─▶ bearer token ─▶ Command ─▶ bounded queue ─▶ supervisor ─▶ answer
//! ```
//!
//! Loopback is no authentication: every other user and every container of the machine may have it too.

use std::fmt;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, oneshot};

use super::Served;

/// Commands that wait for their turn at most.
const COMMANDS_MAX: usize = 16;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// End that pipeline in order, and keep its place.
    Pause(String),
    /// Start that pipeline again.
    Resume(String),
    /// Read the configuration again.
    Reload,
}

/// What is asked for, and where the answer goes.
#[derive(Debug)]
pub struct Command {
    /// What.
    pub ask: Ask,
    /// Whoever asked waits for it.
    pub answer: oneshot::Sender<Result<Value, Refusal>>,
}

/// Why nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    status: StatusCode,
    message: String,
    /// Each thing that is wrong, where there may be several.
    problems: Vec<String>,
}

impl Refusal {
    /// There is no such thing.
    pub fn unknown(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// It cannot be done as things stand.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, message)
    }

    /// What it would take is not as it must be.
    pub fn invalid(message: impl Into<String>, problems: Vec<String>) -> Self {
        Self { problems, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, message) }
    }

    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), problems: Vec::new() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.problems.iter().try_for_each(|problem| write!(f, "\n{problem}"))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response =
            (self.status, Json(json!({ "error": self.message, "problems": self.problems }))).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// The way from the server to whoever runs the pipelines. Clones share it.
#[derive(Clone)]
pub struct Controls {
    commands: mpsc::Sender<Command>,
    /// The token's hash: what is compared takes as long whatever is wrong with it.
    token: Option<Arc<[u8; 32]>>,
}

impl fmt::Debug for Controls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Controls")
    }
}

impl Controls {
    /// For calls that show this token; without one every such call is refused. Commands come out at the other end.
    pub fn new(token: Option<&str>) -> (Self, mpsc::Receiver<Command>) {
        let (commands, receiver) = mpsc::channel(COMMANDS_MAX);
        (Self { commands, token: token.map(|token| Arc::new(Sha256::digest(token).into())) }, receiver)
    }

    async fn ask(&self, ask: Ask) -> Result<Json<Value>, Refusal> {
        let (answer, answered) = oneshot::channel();
        self.commands.try_send(Command { ask, answer }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                Refusal::new(StatusCode::TOO_MANY_REQUESTS, "too many commands are waiting already; try again soon")
            }
            mpsc::error::TrySendError::Closed(_) => ending(),
        })?;
        answered.await.map_err(|_| ending())?.map(Json)
    }

    fn admits(&self, authorization: Option<&HeaderValue>) -> bool {
        let shown = authorization.and_then(|value| value.to_str().ok()).and_then(|value| value.split_once(' '));
        let shown = shown.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
        let hash: Option<[u8; 32]> = shown.map(|token| Sha256::digest(token).into());
        hash.is_some() && hash.as_ref() == self.token.as_deref()
    }
}

fn ending() -> Refusal {
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "docmill is ending")
}

/// Lets only those through who show the token.
pub(super) async fn authorized(State(served): State<Served>, request: Request, next: Next) -> Response {
    match served.controls.admits(request.headers().get(header::AUTHORIZATION)) {
        true => next.run(request).await,
        false => {
            let advice = "this call needs `Authorization: Bearer` with the token of [server] or of its file; the command \
                          `docmill` finds it by itself where it may read it";
            Refusal::new(StatusCode::UNAUTHORIZED, advice).into_response()
        }
    }
}

pub(super) async fn pause(State(served): State<Served>, Path(name): Path<String>) -> Result<Json<Value>, Refusal> {
    served.controls.ask(Ask::Pause(name)).await
}

pub(super) async fn resume(State(served): State<Served>, Path(name): Path<String>) -> Result<Json<Value>, Refusal> {
    served.controls.ask(Ask::Resume(name)).await
}

pub(super) async fn reload(State(served): State<Served>) -> Result<Json<Value>, Refusal> {
    served.controls.ask(Ask::Reload).await
}
