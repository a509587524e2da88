//! Real nodes on loopback. One program, so that libp2p is linked once.

mod common;
mod discovery;
mod flood;
mod gossip;
mod lifecycle;
mod peers;
mod requests;
