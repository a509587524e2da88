//! The protocols of a node, put together.

use crate::codec::{Budget, Codec};
use crate::dht::Dht;
use crate::gate::Gate;
use crate::names::Genesis;
use crate::{NetworkConfig, NetworkError, Reachability};
use libp2p::gossipsub::{self, MessageId, WhitelistSubscriptionFilter};
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{autonat, dcutr, identify, mdns, ping, relay, request_response, upnp};
use purlin_sync::Topic;
use sha2::{Digest, Sha256};
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

/// The mesh is mended this often.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// Heartbeats for which a message waits for its verdict and can be asked for: a longer wait holds more memory.
const HISTORY: usize = 20;
/// Time for which the network still knows an unjudged message; the task gives up earlier.
pub(crate) const UNJUDGED_MS: u64 = 8_000;
/// Time in which a message is not taken twice. It must be longer than a message travels, and bounds how often the very
/// same bytes can be sent again.
const DUPLICATES: Duration = Duration::from_secs(30);
/// Bytes around a gossiped message: topic name, lengths, tags.
const GOSSIP_FRAME_BYTES: usize = 1_024;
/// Messages that wait for one slow peer. Beyond it the gossip to that peer is lost, and repaired by asking.
const GOSSIP_QUEUE: usize = 2_048;
/// Requests and answers under way on one connection, both directions together. Above what honest nodes have, because
/// what is refused here looks like a broken stream to them.
const STREAMS_PER_CONNECTION_MAX: usize = 128;
/// Pings within the time after which a silent connection is closed.
const PINGS: u32 = 3;
/// Time between repeated identifications.
const IDENTIFY: Duration = Duration::from_secs(120);
/// A relayed connection carries blocks: libp2p's default of 128 KiB is meant for hole punching alone.
const CIRCUIT_BYTES_MAX: u64 = 1024 * 1024 * 1024;
const CIRCUIT_DURATION: Duration = Duration::from_secs(3600);

/// All protocols. The gate comes first: what it refuses no other part hears of.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    pub(crate) gate: Gate,
    pub(crate) identify: identify::Behaviour,
    pub(crate) ping: ping::Behaviour,
    pub(crate) gossip: Gossip,
    pub(crate) requests: request_response::Behaviour<Codec>,
    pub(crate) dht: Dht,
    pub(crate) relay_client: relay::client::Behaviour,
    pub(crate) relay_server: Toggle<relay::Behaviour>,
    pub(crate) dcutr: Toggle<dcutr::Behaviour>,
    pub(crate) autonat_client: Toggle<autonat::v2::client::Behaviour>,
    pub(crate) autonat_server: Toggle<autonat::v2::server::Behaviour>,
    pub(crate) mdns: Toggle<mdns::tokio::Behaviour>,
    pub(crate) upnp: Toggle<upnp::tokio::Behaviour>,
}

pub(crate) type Gossip = gossipsub::Behaviour<gossipsub::IdentityTransform, WhitelistSubscriptionFilter>;

impl Behaviour {
    pub(crate) fn new(
        config: &NetworkConfig,
        genesis: Genesis,
        reserved: BTreeSet<libp2p::PeerId>,
        relay_client: relay::client::Behaviour,
    ) -> Result<Self, NetworkError> {
        let key = config.identity.keypair().public();
        let peer = key.to_peer_id();
        let identify = identify::Config::new(genesis.version(), key)
            .with_agent_version(config.agent.clone())
            .with_interval(IDENTIFY)
            .with_push_listen_addr_updates(true)
            .with_cache_size(0);
        let is_detecting = config.reachability == Reachability::Detect;
        Ok(Self {
            gate: Gate::new(&config.limits, &config.allowed, &config.denied, reserved)?,
            identify: identify::Behaviour::new(identify),
            ping: ping::Behaviour::new(
                ping::Config::new().with_interval(config.limits.silence_timeout / PINGS),
            ),
            gossip: gossip(genesis)?,
            requests: requests(config, genesis),
            dht: Dht::new(config, genesis, peer),
            relay_client,
            relay_server: config.relay_server.is_on().then(|| relay_server(peer)).into(),
            dcutr: config.hole_punching.is_on().then(|| dcutr::Behaviour::new(peer)).into(),
            autonat_client: is_detecting.then(autonat::v2::client::Behaviour::default).into(),
            // Also while this node does not know about itself: were only those asked who know, nobody would ever know.
            autonat_server: (config.reachability != Reachability::Unreachable)
                .then(autonat::v2::server::Behaviour::default)
                .into(),
            mdns: config.mdns.is_on().then(|| mdns(peer)).flatten().into(),
            upnp: config.upnp.is_on().then(upnp::tokio::Behaviour::default).into(),
        })
    }
}

/// Anonymous and unsigned: what is gossiped carries the signatures that matter (of accounts and validators), and a second
/// one by the publisher would cost time and say who publishes.
fn gossip(genesis: Genesis) -> Result<Gossip, NetworkError> {
    let failed = |reason: String| NetworkError::Setup { part: "gossipsub", reason };
    let mut builder = gossipsub::ConfigBuilder::default();
    let largest = Topic::ALL.into_iter().map(Topic::bytes_max).max().unwrap_or_default();
    builder
        .validation_mode(gossipsub::ValidationMode::Anonymous)
        .validate_messages()
        .message_id_fn(message_id)
        .heartbeat_initial_delay(Duration::from_millis(100))
        .heartbeat_interval(HEARTBEAT)
        .history_length(HISTORY)
        .history_gossip(6)
        .duplicate_cache_time(DUPLICATES)
        // In a network of ten everybody is a neighbour; a mesh of fewer than four is mended at every heartbeat.
        .mesh_n(6)
        .mesh_n_low(4)
        .mesh_n_high(12)
        .mesh_outbound_min(2)
        .flood_publish(true)
        .prune_backoff(Duration::from_secs(15))
        .connection_handler_queue_len(GOSSIP_QUEUE)
        .max_transmit_size(largest + GOSSIP_FRAME_BYTES);
    let mut topics = std::collections::HashSet::new();
    for topic in Topic::ALL {
        let hash = genesis.topic(topic).hash();
        builder.max_transmit_size_for_topic(topic.bytes_max() + GOSSIP_FRAME_BYTES, hash.clone());
        topics.insert(hash);
    }
    let config = builder.build().map_err(|error| failed(error.to_string()))?;
    let mut gossip = Gossip::new_with_subscription_filter(
        gossipsub::MessageAuthenticity::Anonymous,
        config,
        WhitelistSubscriptionFilter(topics),
    )
    .map_err(|reason| failed(reason.to_owned()))?;
    gossip.with_peer_score(score_params(), score_thresholds()).map_err(failed)?;
    for topic in Topic::ALL {
        gossip.subscribe(&genesis.topic(topic)).map_err(|error| failed(error.to_string()))?;
    }
    Ok(gossip)
}

/// The same content is the same message, whoever sends it and however often. The topic is part of it, so that bytes
/// seen on one topic do not block another.
fn message_id(message: &gossipsub::Message) -> MessageId {
    let mut hasher = Sha256::new();
    let topic = message.topic.as_str().as_bytes();
    hasher.update((topic.len() as u64).to_be_bytes());
    hasher.update(topic);
    hasher.update(&message.data);
    MessageId::new(&hasher.finalize())
}

/// Gossipsub takes over the score of this crate, and adds only what it alone can see: peers that break the rules of the
/// mesh or do not read. Rates of delivery say nothing in a network where whole topics fall silent.
fn score_params() -> gossipsub::PeerScoreParams {
    gossipsub::PeerScoreParams {
        topics: HashMap::new(),
        app_specific_weight: 1.0,
        // The gate limits subnets; many nodes on one machine are normal here.
        ip_colocation_factor_weight: 0.0,
        behaviour_penalty_weight: -1.0,
        behaviour_penalty_threshold: 6.0,
        behaviour_penalty_decay: 0.9,
        retain_score: Duration::from_secs(600),
        slow_peer_weight: -0.02,
        slow_peer_threshold: 100.0,
        ..gossipsub::PeerScoreParams::default()
    }
}

fn score_thresholds() -> gossipsub::PeerScoreThresholds {
    gossipsub::PeerScoreThresholds {
        gossip_threshold: -40.0,
        publish_threshold: -60.0,
        graylist_threshold: -80.0,
        accept_px_threshold: 1_000.0,
        opportunistic_graft_threshold: 0.0,
    }
}

fn requests(config: &NetworkConfig, genesis: Genesis) -> request_response::Behaviour<Codec> {
    let limits = &config.limits;
    let codec = Codec {
        request_bytes_max: limits.request_bytes_max,
        response_bytes_max: limits.response_bytes_max,
        requests: Budget::new(limits.buffered_bytes_max),
        responses: Budget::new(limits.buffered_bytes_max),
    };
    let settings = request_response::Config::default()
        .with_request_timeout(limits.request_timeout)
        .with_max_concurrent_streams(STREAMS_PER_CONNECTION_MAX);
    let protocol = (genesis.sync(), request_response::ProtocolSupport::Full);
    request_response::Behaviour::with_codec(codec, [protocol], settings)
}

fn relay_server(peer: libp2p::PeerId) -> relay::Behaviour {
    relay::Behaviour::new(
        peer,
        relay::Config {
            max_circuit_bytes: CIRCUIT_BYTES_MAX,
            max_circuit_duration: CIRCUIT_DURATION,
            ..relay::Config::default()
        },
    )
}

/// A convenience: a machine without multicast runs without it.
fn mdns(peer: libp2p::PeerId) -> Option<mdns::tokio::Behaviour> {
    mdns::tokio::Behaviour::new(mdns::Config::default(), peer)
        .inspect_err(
            |error| tracing::warn!(%error, "cannot search the local network by multicast; going on without"),
        )
        .ok()
}
