//! What is answered to each path.

use axum::Json;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::http::{StatusCode, Uri};
use axum::response::{Html, IntoResponse};
use serde_json::{Value, json};

use super::Served;
use crate::telemetry::{PausedBy, metrics};

const PAGE: &str = "<!doctype html><html lang=\"en\"><title>docmill</title><h1>docmill</h1><ul>\
    <li><a href=\"/health\">/health</a>: the process is alive\
    <li><a href=\"/ready\">/ready</a>: every pipeline is live or backfilling, or paused on purpose\
    <li><a href=\"/metrics\">/metrics</a>: for Prometheus\
    <li><a href=\"/api/v1/status\">/api/v1/status</a>: the pipelines as they stand\
    </ul></html>";

pub(super) async fn page() -> Html<&'static str> {
    Html(PAGE)
}

/// The process answers, so it is alive; how its pipelines are is what `/ready` says.
pub(super) async fn health() -> Json<Value> {
    Json(json!({ "status": "alive" }))
}

/// 200 when every pipeline is ready, or was paused on purpose; else 503 naming those that are not.
pub(super) async fn ready(State(served): State<Served>) -> impl IntoResponse {
    let on_purpose = |by: Option<PausedBy>| matches!(by, Some(PausedBy::Operator | PausedBy::Configuration));
    let unready: Vec<Value> = served
        .pipelines
        .views()
        .iter()
        .filter(|view| !view.ready && !on_purpose(view.paused_by))
        .map(|view| {
            json!({
                "pipeline": view.pipeline,
                "phase": view.phase,
                "waiting_on": view.waiting_on,
                "waiting_ms": view.waiting_ms,
            })
        })
        .collect();
    let (code, status) = match unready.is_empty() {
        true => (StatusCode::OK, "ready"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
    };
    (code, Json(json!({ "status": status, "not_ready": unready })))
}

pub(super) async fn metrics(State(served): State<Served>) -> ([(HeaderName, &'static str); 1], String) {
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], served.metrics.text())
}

pub(super) async fn status(State(served): State<Served>) -> Json<Value> {
    Json(json!({ "docmill": env!("CARGO_PKG_VERSION"), "pipelines": served.pipelines.views() }))
}

pub(super) async fn pipelines(State(served): State<Served>) -> Json<Value> {
    Json(json!({ "pipelines": served.pipelines.views() }))
}

pub(super) async fn not_found(uri: Uri) -> impl IntoResponse {
    let found = format!("there is nothing at {}", uri.path());
    (StatusCode::NOT_FOUND, Json(json!({ "error": found })))
}
