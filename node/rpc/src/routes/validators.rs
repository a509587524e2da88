//! Validators.

use axum::extract::State;
use purlin_api::ValidatorPage;
use purlin_primitives::AccountId;
use serde::Deserialize;
use std::sync::Arc;
use utoipa::IntoParams;

use super::page_size;
use crate::error::ApiError;
use crate::extract::{Json, Parameters, parse};
use crate::shared::Shared;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListParameters {
    /// Only after this account: `next` of the page before.
    after: Option<String>,
    /// Most validators to return, 1 to 100; 20 when absent.
    limit: Option<u64>,
}

/// Lists validators in account order: who decides, who waits to be chosen, who is jailed or leaving.
#[utoipa::path(
    get, path = "/api/v1/validators", tag = "node", params(ListParameters),
    responses((status = 200, body = ValidatorPage))
)]
pub(crate) async fn list(
    State(shared): State<Arc<Shared>>,
    Parameters(parameters): Parameters<ListParameters>,
) -> Result<Json<ValidatorPage>, ApiError> {
    let limit = page_size(&shared.limits, parameters.limit)?;
    let after: Option<AccountId> = parameters.after.map(|text| parse("after", &text)).transpose()?;
    shared.blocking(move |shared| Ok(Json(shared.node.validators(after.as_ref(), limit)?))).await
}
