//! From intentions to signed transactions.

use purlin_primitives::{Action, Amount, AppId, Gas, Height, SecretKey, Transaction, TransactionBody};
use serde_json::Value;

use crate::{Client, ClientError};

/// Blocks for which a transaction stays valid unless said otherwise.
const EXPIRY_BLOCKS: u64 = 1_000;

/// What a sender may choose; everything absent is found out from the node.
#[derive(Debug, Clone, Default)]
pub struct TransactionOptions {
    /// Number of the transaction; the node's next for the sender when absent.
    pub nonce: Option<u64>,
    /// Most gas; what a simulation used and a quarter more when absent.
    pub gas_limit: Option<Gas>,
    /// Native units paid; the chain's minimum for the gas limit when absent.
    pub fee: Option<Amount>,
    /// Applications it may touch; any when empty.
    pub access: Vec<AppId>,
}

impl Client {
    /// Completes and signs a transaction. Without a gas limit it is simulated first; a simulation that fails
    /// is not an error here: the block limit is taken, and the receipt will say why.
    pub async fn sign(
        &self,
        key: &SecretKey,
        actions: Vec<Action>,
        options: &TransactionOptions,
    ) -> Result<Transaction, ClientError> {
        let status = self.status().await?;
        let sender = key.public_key().account_id();
        let nonce = match options.nonce {
            Some(nonce) => nonce,
            None => self.account(&sender).await?.next_nonce,
        };
        let lifetime = EXPIRY_BLOCKS.min(status.parameters.expiry_blocks_max);
        let mut body = TransactionBody {
            chain_id: status.chain_id,
            sender,
            nonce,
            expires_at: Height::new(status.height.get().saturating_add(lifetime)),
            gas_limit: status.parameters.block_gas_limit,
            fee: Amount::ZERO,
            access: options.access.clone(),
            actions,
        };
        body.gas_limit = match options.gas_limit {
            Some(limit) => limit,
            None => {
                let simulated = self.simulate(&body).await?;
                if simulated.receipt.succeeded() {
                    let used = simulated.receipt.gas_used.get();
                    Gas::new((used + used / 4).min(body.gas_limit.get()))
                } else {
                    body.gas_limit
                }
            }
        };
        body.fee = options.fee.unwrap_or_else(|| {
            // Rounded up, as the node does.
            let per_million = status.parameters.fee_per_million_gas_min.get();
            Amount::new(per_million.saturating_mul(u128::from(body.gas_limit.get())).div_ceil(1_000_000))
        });
        Ok(key.sign_transaction(body))
    }

    /// Makes a call action from JSON arguments, an object by name or an array, by the application's schema.
    pub async fn call_action(
        &self,
        app: &AppId,
        method: &str,
        arguments: &Value,
    ) -> Result<Action, ClientError> {
        let schema = self.schema(app).await?;
        let found = schema.call(method)?;
        Ok(Action::CallApp {
            app: app.clone(),
            method: method.into(),
            arguments: found.encode_arguments(arguments)?,
            deposit: Amount::ZERO,
        })
    }
}
