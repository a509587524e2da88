//! Talks to other nodes; the only crate that names libp2p.
//!
//! [`NetworkService::start`] takes a [`NetworkConfig`] and a [`NetworkSink`] and starts one task that owns the libp2p
//! swarm. Its [`NetworkHandle`] implements the port [`Network`](purlin_sync::Network); what happens arrives at the sink
//! as [`NetworkEvent`](purlin_sync::NetworkEvent):
//!
//! ```
//! use purlin_network::{Identity, NetworkConfig, NetworkService, Reachability};
//! use purlin_sync::{Network, NetworkEvent, RequestId};
//! use std::sync::Arc;
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! let listening = |identity: Identity| NetworkConfig {
//!     listen: vec!["/ip4/127.0.0.1/tcp/0".to_owned()],
//!     reachability: Reachability::Reachable,
//!     ..NetworkConfig::new(identity, [7; 32])
//! };
//! let (sink, mut events_a) = tokio::sync::mpsc::channel(64);
//! let a = NetworkService::start(listening(Identity::generate()), Arc::new(sink)).await?;
//!
//! let mut config = listening(Identity::generate());
//! config.bootstrap = vec![format!("{}/p2p/{}", a.handle().listen_addresses()[0], a.handle().peer_id())];
//! let (sink, mut events_b) = tokio::sync::mpsc::channel(64);
//! let b = NetworkService::start(config, Arc::new(sink)).await?;
//!
//! let Some(NetworkEvent::Connected { peer }) = events_b.recv().await else { panic!() };
//! b.handle().request(&peer, RequestId(1), b"how high?".to_vec());
//! while let Some(event) = events_a.recv().await {
//!     if let NetworkEvent::Request { id, .. } = event {
//!         a.handle().respond(id, Some(b"8848".to_vec()));
//!         break;
//!     }
//! }
//! let Some(NetworkEvent::Response { outcome, .. }) = events_b.recv().await else { panic!() };
//! assert_eq!(outcome, Ok(b"8848".to_vec()));
//! b.shutdown().await?;
//! a.shutdown().await?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **What runs.** TCP (Noise, Yamux) and QUIC; gossipsub for the three topics, without authors or signatures, messages
//! named by content and sent on only after [`Relay`](purlin_sync::GossipVerdict::Relay); requests and answers of opaque
//! bytes with a length; a Kademlia DHT for finding peers; identify and ping under their standard names, so that any
//! libp2p node can look; AutoNAT (every node that may be reachable dials others back, and one that does not know
//! whether it is asks them to); relays, hole punching, mDNS and UPnP where the configuration says so.
//!
//! **What holds.** The task waits for nobody: commands and messages lie in queues with limits, and the lowest priority
//! gives way. Every limit is in [`NetworkLimits`] or a constant beside its queue. A peer's score starts at 0, falls with
//! every offence, recovers with time, and ends in a ban that survives a restart. Nodes of another genesis are
//! disconnected with a log line that names both.
//!
//! **Private networks.** With [`NetworkConfig::pre_shared_key`] only TCP is used: QUIC cannot carry the key.
#![forbid(unsafe_code)]

mod behaviour;
mod book;
mod codec;
mod config;
mod convert;
mod counters;
mod dht;
mod error;
mod gate;
mod handle;
mod identity;
mod inbox;
mod names;
mod outbox;
mod rate;
mod service;
mod standing;
mod store;
mod task;
mod transport;

pub use config::{NetworkConfig, NetworkLimits, Reachability, Switch, TopicRates};
pub use convert::{check_peer_address, check_peer_id};
pub use counters::{NetworkCounters, PeerCounters, TopicCounters};
pub use error::NetworkError;
pub use handle::NetworkHandle;
pub use identity::Identity;
pub use inbox::NetworkSink;
pub use service::NetworkService;
