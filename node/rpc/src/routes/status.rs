//! Status, probes, metrics and the API's own description.

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use purlin_api::Status;
use std::sync::Arc;

use crate::error::ApiError;
use crate::extract::Json;
use crate::openapi;
use crate::shared::Shared;

/// Returns what the node says about itself and its chain.
#[utoipa::path(get, path = "/api/v1/status", tag = "node", responses((status = 200, body = Status)))]
pub(crate) async fn status(State(shared): State<Arc<Shared>>) -> Json<Status> {
    Json(shared.node.status())
}

/// Returns this description.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "node", responses((status = 200, body = Object)))]
pub(crate) async fn openapi_json() -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], openapi::OPENAPI_JSON)
        .into_response()
}

/// Answers while the process runs. Needs no token.
#[utoipa::path(get, path = "/livez", tag = "node", security(()), responses((status = 200, body = String, content_type = "text/plain")))]
pub(crate) async fn livez() -> &'static str {
    "ok\n"
}

/// Answers 200 while the node takes transactions and queries, else 503. Needs no token.
#[utoipa::path(get, path = "/readyz", tag = "node", security(()), responses((status = 200, body = String, content_type = "text/plain")))]
pub(crate) async fn readyz(State(shared): State<Arc<Shared>>) -> Result<&'static str, ApiError> {
    shared.node.readiness()?;
    Ok("ok\n")
}

/// Returns metrics in Prometheus text format.
#[utoipa::path(get, path = "/metrics", tag = "node", responses((status = 200, body = String, content_type = "text/plain")))]
pub(crate) async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let mut text = String::with_capacity(4096);
    shared.node.metrics(&mut text);
    shared.metrics.write(shared.streams_open(), &mut text);
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}
