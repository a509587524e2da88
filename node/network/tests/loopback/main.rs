//! Real nodes on loopback. One program, so that libp2p is linked once.

mod common;
mod gossip;
mod lifecycle;
mod peers;
mod requests;
