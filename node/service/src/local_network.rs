//! Several nodes of one development chain on this machine.

use purlin_network::{Identity, NetworkError};
use purlin_primitives::{
    Amount, ChainId, ConsensusRules, Genesis, GenesisAccount, GenesisValidator, SecretKey, TimestampMs,
};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use crate::files::create_private_directory;
use crate::home::Home;
use crate::init::{
    DEVELOPMENT_BALANCE, DEVELOPMENT_HASHES_PER_S, InitError, NewChain, development_key,
    development_pow_rules, join_home,
};
use crate::keystore::{Protection, is_development};

/// Most validators: all run on one machine, and each keeps a connection to every other.
pub const LOCAL_VALIDATORS_MAX: u16 = 64;
/// Node `i` talks to peers on port `base + i` and has its API on this much more.
pub const LOCAL_API_PORT_OFFSET: u16 = 100;
/// Power of each validator: large enough to bond and unbond parts of it.
const POWER: u64 = 1_000_000;
/// Blocks come fast enough to watch and slow enough for one machine.
const BLOCK_INTERVAL_MS: u64 = 200;
/// Empty blocks show that the chain lives.
const IDLE_MS: u64 = 2_000;

/// How a local network agrees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalEngine {
    /// Proof of stake; every node is a validator.
    Pos,
    /// Proof of work by [`development_pow_rules`]; every node mines.
    Pow,
}

/// What a local network is made of.
#[derive(Debug, Clone)]
pub struct LocalNetwork {
    /// Gets a folder `node1`, `node2` and so on for each node.
    pub folder: PathBuf,
    /// Name of the chain; starts with `dev`, because the keys are stored in the clear.
    pub chain_id: ChainId,
    /// How it agrees.
    pub engine: LocalEngine,
    /// How many validators or miners, from 1 to [`LOCAL_VALIDATORS_MAX`].
    pub validators: u16,
    /// Node `i`, from 1 on, listens for peers on this port plus `i`.
    pub base_port: u16,
    /// Time of the genesis.
    pub time: TimestampMs,
}

/// One node of a local network.
#[derive(Debug, Clone)]
pub struct LocalNode {
    /// Its directory.
    pub home: Home,
    /// Where it listens for peers, with its id.
    pub address: String,
    /// Address of its API.
    pub api: SocketAddr,
}

/// Says why a local network was not made.
#[derive(Debug, thiserror::Error)]
pub enum LocalNetworkError {
    /// Too few or too many.
    #[error("a local network has from 1 to {LOCAL_VALIDATORS_MAX} validators, not {validators}")]
    Validators {
        /// What was asked for.
        validators: u16,
    },
    /// A chain with real keys.
    #[error(
        "the keys of a local network are stored in the clear, which is only accepted on chains named `dev..`; \
         this is {chain_id}"
    )]
    NotDevelopment {
        /// The name.
        chain_id: ChainId,
    },
    /// Not enough ports above.
    #[error("ports {base_port} and above do not suffice: {validators} nodes need ports up to {highest}")]
    Ports {
        /// What was asked for.
        base_port: u16,
        /// How many nodes.
        validators: u16,
        /// The highest port, beyond 65535.
        highest: u32,
    },
    /// Another program listens there.
    #[error("port {port} is taken, which node {node} would use for {purpose}: {source}")]
    PortTaken {
        /// Which.
        port: u16,
        /// Number of the node.
        node: u16,
        /// `peers` or `its API`.
        purpose: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// Something is there already.
    #[error("{} exists already", path.display())]
    Exists {
        /// What.
        path: PathBuf,
    },
    /// A home could not be made.
    #[error(transparent)]
    Init(#[from] InitError),
    /// An identity could not be made.
    #[error(transparent)]
    Network(#[from] NetworkError),
}

/// Makes the homes of a local network: one genesis with validators of equal power and the funded development
/// accounts; each home has its validator key, the keys of the accounts, and settings with the addresses of all others.
///
/// # Errors
/// Ports and folders are looked at before anything is written.
pub fn local_network(network: &LocalNetwork) -> Result<(Genesis, Vec<LocalNode>), LocalNetworkError> {
    let ports = check(network)?;
    let keys: Vec<SecretKey> =
        (1..=network.validators).map(|number| development_key(&format!("validator-{number}"))).collect();
    let genesis = genesis(network, &keys);
    let mut nodes = Vec::with_capacity(keys.len());
    for (number, (port, api_port)) in (1..).zip(ports) {
        let home = Home::new(folder(network, number));
        let identity = identity(&home)?;
        let address = format!("/ip4/127.0.0.1/tcp/{port}/p2p/{}", identity.peer_id());
        nodes.push(LocalNode { home, address, api: SocketAddr::from((Ipv4Addr::LOCALHOST, api_port)) });
    }
    for (node, key) in nodes.iter().zip(&keys) {
        let others: Vec<&str> = nodes
            .iter()
            .map(|other| other.address.as_str())
            .filter(|address| *address != node.address)
            .collect();
        let listen = node.address.split("/p2p/").next().unwrap_or_default().to_owned();
        let mut settings = vec![
            ("api.listen", node.api.to_string()),
            ("chain.block_interval_ms", BLOCK_INTERVAL_MS.to_string()),
            ("chain.idle_ms", IDLE_MS.to_string()),
            ("network.listen", listen),
            // On one machine everybody reaches everybody.
            ("network.reachable", "yes".to_owned()),
            ("network.reserved", others.join(",")),
        ];
        if network.engine == LocalEngine::Pow {
            settings.push(("mining.hashes_per_second_max", DEVELOPMENT_HASHES_PER_S.to_string()));
        }
        join_home(&node.home, &genesis, Some((key, Protection::Development(&genesis.chain_id))), &settings)?;
    }
    Ok((genesis, nodes))
}

fn folder(network: &LocalNetwork, number: u16) -> PathBuf {
    network.folder.join(format!("node{number}"))
}

/// Looks whether everything is free, and returns each node's ports.
fn check(network: &LocalNetwork) -> Result<Vec<(u16, u16)>, LocalNetworkError> {
    let LocalNetwork { chain_id, validators, base_port, .. } = network;
    let (validators, base_port) = (*validators, *base_port);
    if !(1..=LOCAL_VALIDATORS_MAX).contains(&validators) {
        return Err(LocalNetworkError::Validators { validators });
    }
    if !is_development(chain_id) {
        return Err(LocalNetworkError::NotDevelopment { chain_id: chain_id.clone() });
    }
    let highest = u32::from(base_port) + u32::from(LOCAL_API_PORT_OFFSET) + u32::from(validators);
    if highest > u32::from(u16::MAX) {
        return Err(LocalNetworkError::Ports { base_port, validators, highest });
    }
    let mut ports = Vec::with_capacity(usize::from(validators));
    for node in 1..=validators {
        let path = folder(network, node);
        if path.exists() {
            return Err(LocalNetworkError::Exists { path });
        }
        let port = base_port + node;
        let api_port = port + LOCAL_API_PORT_OFFSET;
        for (port, purpose) in [(port, "peers"), (api_port, "its API")] {
            TcpListener::bind((Ipv4Addr::LOCALHOST, port))
                .map_err(|source| LocalNetworkError::PortTaken { port, node, purpose, source })?;
        }
        ports.push((port, api_port));
    }
    Ok(ports)
}

fn genesis(network: &LocalNetwork, keys: &[SecretKey]) -> Genesis {
    let mut chain = NewChain::development(network.chain_id.clone(), network.time);
    let member = |key: &SecretKey| GenesisValidator { public_key: key.public_key(), power: POWER };
    let funded = |key: &SecretKey| GenesisAccount {
        account: key.public_key().account_id(),
        balance: Amount::new(DEVELOPMENT_BALANCE.get()),
    };
    if network.engine == LocalEngine::Pow {
        chain.parameters.consensus = ConsensusRules::Pow(development_pow_rules(network.validators));
    }
    // What they can bond and pay fees with.
    chain.accounts.extend(keys.iter().map(funded));
    chain.genesis_of(keys.iter().map(member).collect())
}

fn identity(home: &Home) -> Result<Identity, LocalNetworkError> {
    let folder = home.network();
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| InitError::Io { path, source }
    };
    create_private_directory(&folder).map_err(io(&folder))?;
    Ok(Identity::load_or_create(&home.identity())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{PartialSettings, Settings};
    use crate::init::read_genesis;
    use purlin_network::Reachability;

    /// Finds ports that are free now, below those that the system gives away.
    fn free_base(validators: u16) -> u16 {
        let free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        let node = |base: u16, node: u16| [base + node, base + LOCAL_API_PORT_OFFSET + node];
        (20_000..30_000)
            .step_by(200)
            .find(|base| (1..=validators).flat_map(|number| node(*base, number)).all(free))
            .unwrap()
    }

    fn network(folder: &Path, validators: u16) -> LocalNetwork {
        LocalNetwork {
            folder: folder.to_owned(),
            chain_id: "dev-net".parse().unwrap(),
            engine: LocalEngine::Pos,
            validators,
            base_port: free_base(validators),
            time: TimestampMs::new(1_700_000_000_000),
        }
    }

    #[test]
    fn nodes_share_a_genesis_and_know_each_other() {
        let directory = tempfile::tempdir().unwrap();
        let network = network(directory.path(), 3);
        let (genesis, nodes) = local_network(&network).unwrap();
        assert_eq!((genesis.validators.len(), nodes.len()), (3, 3));
        for (number, node) in (1..).zip(&nodes) {
            assert_eq!(read_genesis(&node.home.genesis()).unwrap(), genesis);
            let layer = PartialSettings::from_file(&node.home.config()).unwrap();
            let settings = Settings::resolve(node.home.clone(), &[layer]).unwrap();
            let listen = format!("/ip4/127.0.0.1/tcp/{}", network.base_port + number);
            assert_eq!(settings.network_listen, [listen]);
            assert_eq!(settings.api_listen, Some(node.api));
            let others: Vec<_> = nodes
                .iter()
                .map(|other| other.address.clone())
                .filter(|address| *address != node.address)
                .collect();
            assert_eq!(settings.network_reserved, others);
            assert_eq!(settings.network_reachable, Reachability::Reachable);
            let identity = Identity::load_or_create(&node.home.identity()).unwrap();
            assert!(node.address.ends_with(&format!("/p2p/{}", identity.peer_id())));
        }
        let again = local_network(&network).unwrap_err();
        assert!(matches!(again, LocalNetworkError::Exists { .. }), "{again}");
    }

    #[test]
    fn miners_share_a_genesis_without_validators() {
        let directory = tempfile::tempdir().unwrap();
        let network = LocalNetwork { engine: LocalEngine::Pow, ..network(directory.path(), 3) };
        let (genesis, nodes) = local_network(&network).unwrap();
        assert!(genesis.validators.is_empty());
        assert_eq!(genesis.parameters.consensus, ConsensusRules::Pow(development_pow_rules(3)));
        for node in &nodes {
            assert_eq!(read_genesis(&node.home.genesis()).unwrap(), genesis);
            let layer = PartialSettings::from_file(&node.home.config()).unwrap();
            let settings = Settings::resolve(node.home.clone(), &[layer]).unwrap();
            assert_eq!(settings.mining_threads, 1);
            assert_eq!(
                settings.mining_hashes_per_second_max.map(|rate| rate.get()),
                Some(DEVELOPMENT_HASHES_PER_S)
            );
        }
    }

    #[test]
    fn what_cannot_be_is_refused_before_anything_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let good = network(directory.path(), 2);
        let taken =
            TcpListener::bind((Ipv4Addr::LOCALHOST, good.base_port + LOCAL_API_PORT_OFFSET + 2)).unwrap();
        let refused = |network: &LocalNetwork, part: &str| {
            let error = local_network(network).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
            assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        };
        refused(&good, &format!("port {} is taken", taken.local_addr().unwrap().port()));
        refused(&LocalNetwork { validators: 0, ..good.clone() }, "not 0");
        refused(&LocalNetwork { validators: 65, ..good.clone() }, "not 65");
        refused(&LocalNetwork { base_port: 65_500, ..good.clone() }, "65602");
        refused(&LocalNetwork { chain_id: "fleet".parse().unwrap(), ..good }, "fleet");
    }
}
