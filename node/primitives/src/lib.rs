//! Defines what nodes exchange and store: transactions, blocks, receipts, genesis, and their canonical encoding.
//!
//! Stages of trust are types: bytes decode to a [`Transaction`]; [`Transaction::verify`] checks limits and the
//! signature and gives a [`VerifiedTransaction`], the only form that a mempool or an executor accepts.
//!
//! ```
//! use purlin_primitives::{Action, Amount, ChainId, Gas, Height, SecretKey, TransactionBody};
//! let key = SecretKey::from_bytes(&[7; 32])?;
//! let body = TransactionBody {
//!     chain_id: "dev".parse()?,
//!     sender: key.public_key().account_id(),
//!     nonce: 0,
//!     expires_at: Height::new(100),
//!     gas_limit: Gas::new(1_000_000),
//!     fee: Amount::ZERO,
//!     access: Vec::new(),
//!     actions: vec![Action::Transfer { to: key.public_key().account_id(), amount: Amount::new(1) }],
//! };
//! let transaction = key.sign_transaction(body);
//! let verified = transaction.verify(&"dev".parse()?)?;
//! assert_eq!(verified.id(), verified.transaction().body.id());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Every hash is SHA-256 over a domain string and borsh bytes; see [`hash_domain`].
#![forbid(unsafe_code)]

mod block;
mod chain_id;
mod genesis;
mod hash;
mod key;
mod merkle;
mod receipt;
mod transaction;
mod validator;
mod vote;

pub use block::{Block, BlockHeader, Seal};
pub use chain_id::{ChainId, ParseChainIdError};
pub use genesis::{
    ConsensusRules, Genesis, GenesisAccount, GenesisValidator, Parameters, PosRules, PowRules,
};
pub use hash::{BlockId, CodeHash, TransactionId, hash_domain};
pub use key::{KeyError, PublicKey, SecretKey, Signature};
pub use merkle::merkle_root;
pub use purlin_abi::{
    AccountId, Amount, AppId, CallFailure, CallOutcome, DeviceId, Event, FailureCode, Gas, Hash32, Height,
    TimestampMs,
};
pub use receipt::{Outcome, Receipt};
pub use transaction::{
    Action, DecodeTransactionError, Transaction, TransactionBody, VerifiedTransaction,
    VerifyTransactionError, app_account,
};
pub use validator::{
    BlockSignature, Certificate, CertificateError, TOTAL_POWER_MAX, VALIDATORS_MAX, Validator, ValidatorSet,
    ValidatorSetError,
};
pub use vote::{BlockProposal, Equivocation, EvidenceError, SignedProposal, SignedVote, Vote, VoteKind};
