//! Applications' storage and proofs.

use axum::extract::State;
use purlin_api::{ErrorCode, HeaderView, HexBytes, ProofView, StateView};
use purlin_primitives::AppId;
use serde::Deserialize;
use std::sync::Arc;
use utoipa::IntoParams;

use crate::error::ApiError;
use crate::extract::{Json, Parameters, Segments, parse};
use crate::shared::Shared;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct StateParameters {
    /// Whether to prove the entry, or its absence, against a block header.
    #[serde(default)]
    proof: bool,
}

/// Returns an entry of an application's storage.
#[utoipa::path(
    get, path = "/api/v1/apps/{id}/state/{key}", tag = "apps",
    params(
        ("id" = String, Path, description = "App id"),
        ("key" = String, Path, description = "Storage key as text, or 0x and hexadecimal digits"),
        StateParameters
    ),
    responses((status = 200, body = StateView))
)]
pub(crate) async fn one(
    State(shared): State<Arc<Shared>>,
    Segments((app, key)): Segments<(String, String)>,
    Parameters(parameters): Parameters<StateParameters>,
) -> Result<Json<StateView>, ApiError> {
    let app: AppId = parse("id", &app)?;
    let key = if key.starts_with("0x") { parse::<HexBytes>("key", &key)?.0 } else { key.into_bytes() };
    let (record, proof) = if parameters.proof {
        known(&shared, &app).await?;
        let proven =
            tokio::time::timeout(shared.limits.request_timeout, shared.node.prove_state(&app, &key)).await;
        let proven = proven.map_err(|_| {
            ApiError::new(ErrorCode::RequestTimeout, "no block committed to the state in time")
        })??;
        let certificate = borsh::to_vec(&proven.certificate).expect("writing to memory cannot fail");
        let proof = ProofView {
            state_key: HexBytes(proven.state_key),
            merkle: HexBytes(proven.merkle),
            header: HeaderView::from(&proven.header),
            certificate: HexBytes(certificate),
        };
        (proven.entry, Some(proof))
    } else {
        let (app, key) = (app.clone(), key.clone());
        let record = shared
            .blocking(move |shared| {
                let record = shared.node.state(&app, &key)?;
                if record.value.is_none() {
                    require(shared, &app)?;
                    let key = HexBytes(key);
                    let detail = format!("`{app}` stores nothing under {}", readable(&key));
                    return Err(ApiError::new(ErrorCode::StateNotFound, detail));
                }
                Ok(record)
            })
            .await?;
        (record, None)
    };
    shared
        .blocking(move |shared| {
            let decoded = match &record.value {
                Some(value) => shared.schemas.state(&*shared.node, &app, &key, value)?,
                None => None,
            };
            Ok(Json(StateView {
                app,
                key: HexBytes(key),
                value: record.value.map(HexBytes),
                decoded,
                height: record.height,
                proof,
            }))
        })
        .await
}

async fn known(shared: &Arc<Shared>, app: &AppId) -> Result<(), ApiError> {
    let app = app.clone();
    shared.blocking(move |shared| require(shared, &app)).await
}

fn require(shared: &Shared, app: &AppId) -> Result<(), ApiError> {
    match shared.node.app_code_hash(app)? {
        Some(_) => Ok(()),
        None => Err(ApiError::new(ErrorCode::AppNotFound, format!("no application `{app}` is installed"))),
    }
}

/// Shows a key as text when it is text.
fn readable(key: &HexBytes) -> String {
    match std::str::from_utf8(&key.0) {
        Ok(text) if !text.chars().any(char::is_control) => format!("the key `{text}`"),
        _ => format!("the key {key}"),
    }
}
