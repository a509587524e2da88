//! Accounts.

use axum::extract::State;
use purlin_api::AccountView;
use purlin_primitives::AccountId;
use std::sync::Arc;

use crate::error::ApiError;
use crate::extract::{Json, Segments, parse};
use crate::shared::Shared;

/// Returns an account; zeros for one that never received anything.
#[utoipa::path(
    get, path = "/api/v1/accounts/{id}", tag = "accounts",
    params(("id" = String, Path, description = "0x and 40 hexadecimal digits")),
    responses((status = 200, body = AccountView))
)]
pub(crate) async fn one(
    State(shared): State<Arc<Shared>>,
    Segments(text): Segments<String>,
) -> Result<Json<AccountView>, ApiError> {
    let id: AccountId = parse("id", &text)?;
    shared
        .blocking(move |shared| {
            let record = shared.node.account(&id)?;
            Ok(Json(AccountView {
                id,
                balance: record.balance,
                nonce: record.nonce,
                next_nonce: record.next_nonce,
            }))
        })
        .await
}
