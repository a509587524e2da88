//! Examines a node's home and says what is wrong and what to do. Changes nothing.

use purlin_chain::{Chain, ChainOptions, Opening};
use purlin_execution::NodeExecutor;
use purlin_primitives::{ConsensusRules, Genesis, Height, Vote, VoteKind};
use purlin_storage::{RocksStore, StorageOptions};
use std::net::TcpListener;

use crate::config::Settings;
use crate::home::LockError;
use crate::init::read_genesis;
use crate::keystore::Keystore;
use crate::node::runtime_config;
use crate::sign_state::{LastSigned, SignStateError, Signer};

/// Below this much free space a node is about to stop, in bytes.
const FREE_BYTES_MIN: u64 = 1 << 30;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Good,
    /// The node runs; something should be done.
    Warning,
    /// The node does not run like this.
    Error,
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Stable name of the check: `disk`, `lock`, `genesis`, `keys`, `sign-state`, `data`, `replay`, `port`.
    pub check: &'static str,
    /// How bad.
    pub level: Level,
    /// What was found, and what to do.
    pub message: String,
}

/// How far to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Examination {
    /// Everything that takes seconds.
    Quick,
    /// Also executes every block again and compares the result. Takes as long as the blocks took.
    Replay,
}

struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, check: &'static str, level: Level, message: impl Into<String>) {
        self.0.push(Finding { check, level, message: message.into() });
    }

    fn error(&mut self, check: &'static str, error: impl std::fmt::Display) {
        self.add(check, Level::Error, error.to_string());
    }
}

/// Examines a home. While its node runs, what belongs to that process is left alone. `progress` is told the
/// heights of a replay. Blocks; needs a stack for guests.
pub fn doctor(settings: &Settings, examination: Examination, progress: impl FnMut(Height)) -> Vec<Finding> {
    let mut findings = Findings(Vec::new());
    let home = &settings.home;
    let genesis = match read_genesis(&home.genesis()) {
        Ok(genesis) => {
            let message = format!("chain {}, genesis {}", genesis.chain_id, genesis.id());
            findings.add("genesis", Level::Good, message);
            genesis
        }
        Err(error) => {
            findings.error("genesis", error);
            return findings.0;
        }
    };
    check_disk(settings, &mut findings);
    check_keys(settings, &genesis, &mut findings);
    match home.lock() {
        Ok(_lock) => {
            findings.add("lock", Level::Good, "no other process uses this home");
            check_port(settings, &mut findings);
            check_data(settings, genesis, examination, progress, &mut findings);
        }
        Err(LockError::InUse { process, .. }) => {
            let process = process.map(|id| format!(" (process {id})")).unwrap_or_default();
            let message =
                format!("the node runs{process}; stop it to have data, port and sign state examined");
            findings.add("lock", Level::Warning, message);
        }
        Err(error) => findings.error("lock", error),
    }
    findings.0
}

fn check_disk(settings: &Settings, findings: &mut Findings) {
    match fs4::available_space(settings.home.root()) {
        Ok(free) if free < FREE_BYTES_MIN => {
            let message = format!("only {} MiB are free; the node stops when the disk is full", free >> 20);
            findings.add("disk", Level::Warning, message);
        }
        Ok(free) => findings.add("disk", Level::Good, format!("{} GiB are free", free >> 30)),
        Err(error) => findings.add("disk", Level::Warning, format!("free space cannot be read: {error}")),
    }
}

fn check_keys(settings: &Settings, genesis: &Genesis, findings: &mut Findings) {
    let keystore = Keystore::new(settings.home.keys());
    match keystore.list() {
        Ok(keys) => findings.add("keys", Level::Good, format!("{} keys", keys.len())),
        Err(error) => findings.error("keys", error),
    }
    let Some(name) = &settings.validator_key else {
        let message = "no validator key is set: this node makes no blocks";
        return findings.add("keys", Level::Warning, message);
    };
    match keystore.get(name) {
        Ok(entry) if matches!(genesis.parameters.consensus, ConsensusRules::Pow(_)) => {
            let message = match settings.mining_threads {
                0 => format!("key {name} ({}) is not mined for: mining.threads is 0", entry.account),
                threads => format!("key {name} ({}) is mined for, by threads: {threads}", entry.account),
            };
            findings.add("keys", Level::Good, message);
        }
        Ok(entry) if genesis.validators.iter().any(|validator| validator.public_key == entry.public_key) => {
            findings.add("keys", Level::Good, format!("key {name} ({}) is a validator", entry.account));
        }
        Ok(entry) if settings.has_network() => {
            let message = format!(
                "key {name} ({}) is not a validator of the genesis; it decides once it has bonded",
                entry.account
            );
            findings.add("keys", Level::Good, message);
        }
        Ok(entry) => {
            findings.error("keys", format_args!("key {name} ({}) is not a validator here", entry.account))
        }
        Err(error) => findings.error("keys", error),
    }
}

fn check_port(settings: &Settings, findings: &mut Findings) {
    let Some(address) = settings.api_listen else { return };
    match TcpListener::bind(address) {
        Ok(_) => findings.add("port", Level::Good, format!("{address} is free")),
        Err(error) => {
            let message = format!("cannot listen on {address}: {error}; choose another with `api.listen`");
            findings.add("port", Level::Error, message);
        }
    }
}

fn check_data(
    settings: &Settings,
    genesis: Genesis,
    examination: Examination,
    progress: impl FnMut(Height),
    findings: &mut Findings,
) {
    let data = settings.home.data();
    if !data.exists() {
        return findings.add("data", Level::Good, "no blocks yet");
    }
    let store = match RocksStore::open(&data, &StorageOptions::default()) {
        Ok(store) => store,
        Err(error) => return findings.error("data", error),
    };
    let executor = match NodeExecutor::new(&runtime_config(settings)) {
        Ok(executor) => executor,
        Err(error) => return findings.error("data", error),
    };
    let chain = match Chain::open(store, genesis, &executor, ChainOptions::default()) {
        Ok(chain) => chain,
        Err(error) => return findings.error("data", error),
    };
    let head = chain.head();
    if let Opening::Repaired { reason } = chain.opening() {
        let message = format!("the state tree was damaged ({reason}) and was built again from the values");
        findings.add("data", Level::Warning, message);
    }
    let message = format!("head {} at height {}, state root {}", head.block, head.height, head.state_root);
    findings.add("data", Level::Good, message);
    let history = chain.history();
    if history.oldest_block > Height::new(1) {
        let message = format!(
            "blocks are kept from {} on; a replay can begin with the state of block {}",
            history.oldest_block, head.oldest_state
        );
        findings.add("data", Level::Good, message);
    }
    check_sign_state(settings, &chain, findings);
    if examination == Examination::Replay {
        match chain.verify_from_blocks(&executor, progress) {
            Ok(report) => {
                let from = match report.from.get() {
                    1 => String::new(),
                    from => format!(" from {from} on"),
                };
                let message = format!(
                    "{} blocks{from} with {} transactions give the stored state root {}",
                    report.blocks, report.transactions, report.state_root
                );
                findings.add("replay", Level::Good, message);
            }
            Err(error) => findings.error("replay", error),
        }
    }
}

fn check_sign_state(settings: &Settings, chain: &Chain<RocksStore>, findings: &mut Findings) {
    // Nobody signs under proof of work.
    if let ConsensusRules::Pow(_) = chain.parameters().consensus {
        return;
    }
    let Some(name) = &settings.validator_key else { return };
    // A missing key was reported already.
    let Ok(entry) = Keystore::new(settings.home.keys()).get(name) else { return };
    let head = chain.head().height;
    // Who decides alone signs what is stored; one of several votes on the next block.
    let deciding = purlin_modules::staking::validators_at(&mut &*chain.state(), head.next());
    let alone = deciding.is_ok_and(|deciding| deciding.validators().len() == 1);
    let highest = if alone { head } else { head.next() };
    match Signer::inspect(&settings.home.signing(), chain.genesis_id(), &entry.public_key) {
        Ok(LastSigned { height, .. }) if height > highest => {
            findings.error("sign-state", SignStateError::AheadOfChain { signed: height, head });
        }
        Ok(last) => findings.add("sign-state", Level::Good, format!("signed up to height {}", last.height)),
        Err(error) => findings.error("sign-state", error),
    }
}

/// Writes a new sign state as signed up to the chain's head. Safe only when no other copy of the validator key has
/// signed or will sign; the caller has asked. Refused while the node runs.
pub fn recreate_sign_state(settings: &Settings) -> Result<LastSigned, crate::StartError> {
    let home = &settings.home;
    let genesis = read_genesis(&home.genesis())?;
    let _lock = home.lock()?;
    let genesis_id = genesis.id();
    let name = settings.validator_key.clone();
    let name = name.map_or_else(|| crate::VALIDATOR_KEY.parse(), Ok)?;
    let public_key = Keystore::new(home.keys()).get(&name)?.public_key;
    let store = RocksStore::open(home.data(), &StorageOptions::default())?;
    let executor = NodeExecutor::new(&runtime_config(settings))?;
    let chain_id = genesis.chain_id.clone();
    let head = Chain::open(store, genesis, &executor, ChainOptions::default())?.head();
    // A single validator may have to sign its last block again.
    let last = LastSigned::vote(&Vote {
        chain_id,
        height: head.height,
        round: 0,
        kind: VoteKind::Precommit,
        block: Some(head.block),
    });
    let files = home.signing();
    // What the log says of a chain that is gone would win over the new state.
    if let Err(source) = std::fs::remove_file(&files.votes)
        && source.kind() != std::io::ErrorKind::NotFound
    {
        return Err(crate::StartError::Votes { path: files.votes, source });
    }
    Signer::recreate(&files.state, genesis_id, &public_key, last)?;
    Ok(last)
}
