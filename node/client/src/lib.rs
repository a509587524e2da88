//! Talks to a node: typed HTTP client, transaction building and event streams.
//!
//! ```no_run
//! use purlin_client::{Client, Endpoint, TransactionOptions};
//! use purlin_primitives::SecretKey;
//! # async fn example(key: SecretKey) -> Result<(), purlin_client::ClientError> {
//! let client = Client::new(Endpoint::Unix("node.sock".into()), None);
//! let call = client.call_action(&"counter".parse().expect("an app id"), "increment", &serde_json::json!({ "by": 2 })).await?;
//! let transaction = client.sign(&key, vec![call], &TransactionOptions::default()).await?;
//! let committed = client.submit_and_wait(&transaction).await?;
//! println!("{:?}", committed.receipt);
//! # Ok(())
//! # }
//! ```
//!
//! Nouns: [`Client`] keeps connections alive and is cheap to clone; [`Endpoint`] is a unix socket or an http
//! address; [`ClientError`] tells an unreachable node from a refusal, which carries the node's [`Problem`];
//! [`EventStream`] resumes by cursor after a lost connection and loses nothing.
//!
//! Every future may be dropped at any time. A submission that was dropped may still have reached the node: ask for
//! the transaction by id before sending another.
#![forbid(unsafe_code)]

mod client;
mod endpoint;
mod error;
mod stream;
mod transaction;
mod transport;

pub use client::{Client, DeviceQuery, EventQuery, Finality};
pub use endpoint::{Endpoint, ParseEndpointError};
pub use error::ClientError;
pub use purlin_api::{EventCursor, Problem};
pub use stream::EventStream;
pub use transaction::TransactionOptions;
