//! Brings evidence of misbehaviour into a block: as a transaction of the validator that found it.

use purlin_modules::accounts;
use purlin_primitives::{
    Action, Amount, Equivocation, Gas, Height, SecretKey, TransactionBody, VerifiedTransaction,
};
use purlin_rpc::SubmitError;
use purlin_state::KeyValueStore;

use super::core::Core;

/// Gas that a report may use: two signatures and a few records.
const GAS_LIMIT: Gas = Gas::new(5_000_000);
/// Blocks until a report that nobody included expires.
const EXPIRY_BLOCKS: u64 = 1_000;

/// Signs reports with the validator's key, whose account pays the fee.
pub(super) struct Reporter {
    key: SecretKey,
}

impl Reporter {
    pub(super) fn new(key: SecretKey) -> Self {
        Self { key }
    }

    /// Puts a report into the pool.
    pub(super) fn report<S: KeyValueStore>(
        &self,
        core: &Core<S>,
        evidence: Equivocation,
    ) -> Result<VerifiedTransaction, SubmitError> {
        let genesis = core.chain.genesis();
        let sender = self.key.public_key().account_id();
        let (nonce, height) = {
            let pool = core.pool.lock();
            let account = accounts::account(&mut &*pool.view.state, &sender)
                .map_err(|error| SubmitError::from(core.fault(error)))?;
            (pool.mempool.next_nonce(&sender, account.nonce), pool.view.context.height)
        };
        let fee_per_million = genesis.parameters.fee_per_million_gas_min.get();
        let fee = fee_per_million.saturating_mul(u128::from(GAS_LIMIT.get())).div_ceil(1_000_000);
        let transaction = self.key.sign_transaction(TransactionBody {
            chain_id: genesis.chain_id.clone(),
            sender,
            nonce,
            expires_at: height.saturating_add(Height::new(EXPIRY_BLOCKS)),
            gas_limit: GAS_LIMIT,
            fee: Amount::new(fee),
            access: Vec::new(),
            actions: vec![Action::ReportEquivocation { evidence }],
        });
        let verified = core.verify(transaction)?;
        core.admit(verified.clone())?;
        Ok(verified)
    }
}
