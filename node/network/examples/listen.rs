//! A node that only listens: something for other libp2p implementations to talk to.
//!
//! ```text
//! cargo run -p purlin-network --example listen -- <genesis id, 64 hex> [address to listen on] [bootstrap peer ...]
//! ```
//!
//! Prints its addresses, one a line, then every event; logs to standard error as RUST_LOG says; Ctrl-C ends it.

use purlin_network::{Identity, NetworkConfig, NetworkService, Reachability};
use std::sync::Arc;

const EVENTS_MAX: usize = 256;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let mut arguments = std::env::args().skip(1);
    let genesis = arguments.next().ok_or("the first argument is the genesis id: 64 hex digits")?;
    let genesis: [u8; 32] = hex::decode(genesis)?.try_into().map_err(|_| "a genesis id has 64 hex digits")?;
    let listen = arguments.next().unwrap_or_else(|| "/ip4/127.0.0.1/tcp/0".to_owned());

    let (sink, mut events) = tokio::sync::mpsc::channel(EVENTS_MAX);
    let config = NetworkConfig {
        listen: vec![listen],
        bootstrap: arguments.collect(),
        reachability: Reachability::Reachable,
        ..NetworkConfig::new(Identity::generate(), genesis)
    };
    let service = NetworkService::start(config, Arc::new(sink)).await?;
    let handle = service.handle();
    for address in handle.listen_addresses() {
        println!("{address}/p2p/{}", handle.peer_id());
    }

    loop {
        tokio::select! {
            Some(event) = events.recv() => println!("{event:?}"),
            result = tokio::signal::ctrl_c() => break result?,
        }
    }
    service.shutdown().await?;
    Ok(())
}
