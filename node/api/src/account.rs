//! Accounts.

use purlin_primitives::{AccountId, Amount};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An account. One that never received anything has zeros.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AccountView {
    /// Whose.
    #[schema(value_type = String)]
    pub id: AccountId,
    /// Native units.
    #[schema(value_type = String)]
    pub balance: Amount,
    /// Number of its committed transactions.
    pub nonce: u64,
    /// Nonce for its next transaction, after those that wait for a block.
    pub next_nonce: u64,
}
