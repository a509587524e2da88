//! What a transaction did.

use borsh::{BorshDeserialize, BorshSerialize};
use purlin_abi::{Amount, CallFailure, Event, Gas, Hash32};

use crate::{TransactionId, merkle_root};

/// Whether the actions took effect.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Outcome {
    /// All did; one borsh result per action, empty for actions without a result.
    Succeeded {
        /// Results in action order.
        outputs: Vec<Vec<u8>>,
    },
    /// None did; fee and nonce are spent.
    Failed {
        /// Zero-based index of the action that failed.
        action: u32,
        /// Why.
        failure: CallFailure,
    },
}

/// The durable, hashed record of what a transaction did.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Receipt {
    /// Which transaction.
    pub transaction: TransactionId,
    /// Whether it took effect.
    pub outcome: Outcome,
    /// Work done.
    pub gas_used: Gas,
    /// Native units paid to the proposer.
    pub fee: Amount,
    /// In order of emission; empty when it failed.
    pub events: Vec<Event>,
}

impl Receipt {
    /// Says whether the actions took effect.
    pub fn succeeded(&self) -> bool {
        matches!(self.outcome, Outcome::Succeeded { .. })
    }

    /// Returns the RFC 9162 Merkle root of borsh receipts, in transaction order.
    pub fn root(receipts: &[Self]) -> Hash32 {
        let leaves: Vec<Vec<u8>> =
            receipts.iter().map(|r| borsh::to_vec(r).expect("writing to memory cannot fail")).collect();
        merkle_root(&leaves)
    }
}
