//! Admits, orders and bounds the transactions waiting for a block.
//!
//! A [`Mempool`] keeps one queue per sender, its nonces without a gap, so that everything in it could be
//! included now if a block were large enough. It is pure: it reads neither state nor clock. The caller gives
//! the sender's nonce and the next height, and checks fee, gas and balance before.
//!
//! ```
//! use purlin_mempool::{Budget, Limits, Mempool};
//! use purlin_primitives::{Action, Amount, Gas, Height, SecretKey, TransactionBody};
//! # let chain: purlin_primitives::ChainId = "dev".parse()?;
//! # let key = SecretKey::from_bytes(&[7; 32])?;
//! # let sender = key.public_key().account_id();
//! # let body = TransactionBody {
//! #     chain_id: chain.clone(), sender, nonce: 0, expires_at: Height::new(9), gas_limit: Gas::new(1_000),
//! #     fee: Amount::new(5), access: vec![], actions: vec![Action::Transfer { to: sender, amount: Amount::ZERO }],
//! # };
//! let mut pool = Mempool::new(Limits::default());
//! let transaction = key.sign_transaction(body).verify(&chain)?;
//! pool.admit(transaction.clone(), 0, Height::new(1))?;
//!
//! let block = pool.take(Budget { gas: Gas::new(1_000_000), bytes: 1_000_000, transactions: 10 });
//! assert_eq!(block, [transaction]);
//! pool.committed(block.iter());
//! assert!(pool.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Admission, replacement and removal cost O(log n), about a microsecond; [`Mempool::take`] O(k log n) for k
//! transactions. No result depends on anything but the order of the calls.
#![forbid(unsafe_code)]

mod limits;
mod pool;
mod price;

pub use limits::{Budget, EVICTIONS_MAX, Limits, MISFITS_MAX};
pub use pool::{AdmitError, Admitted, Mempool, Removal, Removed};
pub use price::Price;
