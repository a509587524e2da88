//! Serves the HTTP API; the only crate that names axum.
//!
//! [`Node`] is the port to what it serves, [`testing::FakeNode`] its twin for tests. A [`Server`] takes its addresses
//! first and answers later, so that a port in use is known before a node starts:
//!
//! ```
//! use purlin_rpc::{RpcLimits, Server, ServerConfig, testing::FakeNode};
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! let home = tempfile::tempdir()?;
//! let server = Server::bind(ServerConfig {
//!     tcp: Some("127.0.0.1:0".parse()?),
//!     unix: Some(home.path().join("node.sock")),
//!     tokens: home.path().join("tokens.json"),
//!     limits: RpcLimits::default(),
//! })?;
//! assert_ne!(server.tcp_address().map(|address| address.port()), Some(0));
//! server.serve(FakeNode::new("dev"), async {}).await;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! On TCP every route but `/livez` and `/readyz` needs a bearer token of [`TokenStore`]; the unix socket has mode 0600
//! and needs none. TCP is plain HTTP and therefore loopback only. Every error is Problem Details
//! ([`purlin_api::Problem`]), except two that hyper answers before a request exists: a malformed head (400) and a head
//! over [`RpcLimits::header_bytes_max`] (431).
//!
//! Streams and pages of events are of final blocks, and what they told stays. Under proof of work a block is final with
//! enough blocks on top, and `unfinalised=true` tells events as soon as a block has them: a stream then sends `removed`
//! for each whose block left the chain, newest first, and reads on where the branches part. Cursors name their block
//! there, so that a client that returns is told what it missed, or [`ErrorCode::CursorGone`](purlin_api::ErrorCode) when
//! that is not remembered. Only a branch longer than the confirmations takes back what was told as final; that is told
//! the same way.
#![forbid(unsafe_code)]

mod access;
mod error;
mod extract;
mod limits;
mod node;
mod openapi;
mod routes;
mod schema;
mod server;
mod shared;
mod stream;
pub mod testing;
mod token;

pub use limits::RpcLimits;
pub use node::{
    AccountRecord, BlockRecord, BlockSelector, Conclusion, DeviceDetails, EventFilter, EventRecord,
    EventRecords, EventScope, Inclusion, Node, NodeError, ProvenStateRecord, QueryRecord, SimulationRecord,
    StateRecord, SubmitError, TransactionRecord,
};
pub use openapi::OPENAPI_JSON;
pub use server::{BindError, Server, ServerConfig};
pub use token::{ParseScopeError, Scope, TokenError, TokenRecord, TokenStore};
