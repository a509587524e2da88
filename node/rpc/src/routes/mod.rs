//! One file per kind of thing; each handler is one route.

mod accounts;
mod apps;
mod blocks;
mod devices;
mod events;
mod network;
mod state;
mod status;
mod transactions;
mod validators;

use axum::Router;
use axum::http::{Method, Uri};
use axum::routing::{get, post};
use purlin_api::ErrorCode;
use std::sync::Arc;

use crate::RpcLimits;
use crate::error::ApiError;
#[cfg(test)]
use crate::openapi::CommonAnswers;
use crate::shared::Shared;

/// Collects every route.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    let api = Router::new()
        .route("/status", get(status::status))
        .route("/openapi.json", get(status::openapi_json))
        .route("/peers", get(network::peers))
        .route("/validators", get(validators::list))
        .route("/blocks", get(blocks::list))
        .route("/blocks/stream", get(blocks::stream))
        .route("/blocks/{block}", get(blocks::one))
        .route("/transactions", post(transactions::submit))
        .route("/transactions/batch", post(transactions::submit_batch))
        .route("/transactions/simulate", post(transactions::simulate))
        .route("/transactions/{id}", get(transactions::one))
        .route("/accounts/{id}", get(accounts::one))
        .route("/apps", get(apps::list))
        .route("/apps/{id}", get(apps::one))
        .route("/apps/{id}/schema", get(apps::schema))
        .route("/apps/{id}/queries/{method}", get(apps::query_by_parameters).post(apps::query))
        .route("/apps/{id}/state/{key}", get(state::one))
        .route("/apps/{id}/events", get(events::of_app))
        .route("/apps/{id}/events/stream", get(events::stream_of_app))
        .route("/events", get(events::all))
        .route("/events/stream", get(events::stream_all))
        .route("/devices", get(devices::list))
        .route("/devices/{id}", get(devices::one));
    Router::new()
        .nest("/api/v1", api)
        .route("/livez", get(status::livez))
        .route("/readyz", get(status::readyz))
        .route("/metrics", get(status::metrics))
        .fallback(async |method: Method, uri: Uri| {
            ApiError::new(ErrorCode::RouteNotFound, format!("there is no route {method} {}", uri.path()))
        })
        .method_not_allowed_fallback(async |method: Method, uri: Uri| {
            ApiError::new(ErrorCode::MethodNotAllowed, format!("{} does not take {method}", uri.path()))
        })
        .with_state(shared)
}

/// Checks the size of a page.
fn page_size(limits: &RpcLimits, asked: Option<u64>) -> Result<usize, ApiError> {
    let Some(asked) = asked else { return Ok(RpcLimits::PAGE_SIZE_DEFAULT.min(limits.page_size_max)) };
    match usize::try_from(asked) {
        Ok(size) if (1..=limits.page_size_max).contains(&size) => Ok(size),
        _ => Err(ApiError::new(
            ErrorCode::BadRequest,
            format!("`limit`: {asked} is not from 1 to {}", limits.page_size_max),
        )),
    }
}

/// Describes every route; what it generates is committed, see [`crate::OPENAPI_JSON`].
#[cfg(test)]
#[derive(Debug, utoipa::OpenApi)]
#[openapi(
    info(
        title = "Purlin node API",
        version = "1",
        description = "Reads the chain, submits transactions and follows events of one Purlin node. Errors are \
            Problem Details (RFC 9457) with a stable `code` and a `hint`. Streams are server-sent events that resume \
            behind `Last-Event-ID`.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
    ),
    paths(
        status::status, status::openapi_json, status::livez, status::readyz, status::metrics,
        network::peers, validators::list,
        blocks::list, blocks::one, blocks::stream,
        transactions::submit, transactions::submit_batch, transactions::simulate, transactions::one,
        accounts::one,
        apps::list, apps::one, apps::schema, apps::query, apps::query_by_parameters,
        state::one,
        events::all, events::of_app, events::stream_all, events::stream_of_app,
        devices::list, devices::one,
    ),
    modifiers(&CommonAnswers)
)]
pub(crate) struct ApiDescription;
