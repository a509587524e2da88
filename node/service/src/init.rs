//! Making a node's directory.

use purlin_primitives::{
    Amount, ChainId, ConsensusRules, Genesis, GenesisAccount, GenesisValidator, Parameters, PowRules,
    SecretKey, TimestampMs,
};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

use crate::config::{self, ConfigError};
use crate::files::{Access, create_private_directory, write_atomic};
use crate::home::Home;
use crate::keystore::{KeyName, Keystore, KeystoreError, Protection, is_development};
use crate::sign_state::{SignStateError, Signer};

/// Name of the key that signs blocks unless the settings name another.
pub const VALIDATOR_KEY: &str = "validator";
/// Accounts of a development chain. Their keys are public knowledge.
pub const DEVELOPMENT_ACCOUNTS: [&str; 4] = ["alice", "bob", "carol", "dave"];
/// What each development account starts with.
pub const DEVELOPMENT_BALANCE: Amount = Amount::new(1_000_000_000_000_000);
/// Largest genesis file, in bytes.
const GENESIS_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Hashes per second that each node of a development chain under proof of work does: few enough to leave a laptop
/// cool.
pub const DEVELOPMENT_HASHES_PER_S: u64 = 20_000;

/// Returns rules of proof of work for a development chain that `miners` mine on one machine at
/// [`DEVELOPMENT_HASHES_PER_S`] each: a block a second, final after six.
///
/// The first target, which is also the easiest, takes half of what they do in a second, so that blocks come though
/// some of them stop.
pub fn development_pow_rules(miners: u16) -> PowRules {
    let hashes = u64::from(miners.max(1)) * DEVELOPMENT_HASHES_PER_S / 2;
    PowRules {
        block_time_ms: 1_000,
        half_life_ms: 40_000,
        target_start: compact_target(hashes.ilog2()),
        confirmations: 6,
        ..PowRules::default()
    }
}

/// Returns the compact form of a target that one hash in 2^`bits` meets, for up to 200 bits.
fn compact_target(bits: u32) -> u32 {
    // The target is 2^(256 - bits); its first byte may not be above 0x7f, which would be a sign.
    let exponent = 256 - bits.min(200);
    let (length, rest) = (exponent / 8 + 1, exponent % 8);
    if rest == 7 { (length + 1) << 24 | 1 << 15 } else { length << 24 | 1 << (16 + rest) }
}

/// Says why a directory could not be made into a node's.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// It is one already.
    #[error("{} is a node's home already; use another directory, or start it with `purlin run`", home.display())]
    Exists {
        /// Which.
        home: PathBuf,
    },
    /// An unprotected validator key on a chain that is not for development.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// The sign state cannot be written.
    #[error(transparent)]
    SignState(#[from] SignStateError),
    /// A setting does not fit.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Says why a genesis cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum GenesisError {
    /// No file.
    #[error("there is no genesis at {}; make a node's home with `purlin init` first", path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// Not a genesis.
    #[error("{} is not a genesis: {detail}", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What the parser said, with line and column.
        detail: String,
    },
    /// A genesis that no chain can start from.
    #[error("{}: {detail}", path.display())]
    Invalid {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// What a new chain of one validator starts from.
#[derive(Debug, Clone)]
pub struct NewChain {
    /// Its name.
    pub chain_id: ChainId,
    /// Who has what.
    pub accounts: Vec<GenesisAccount>,
    /// Its rules.
    pub parameters: Parameters,
    /// Not before this.
    pub time: TimestampMs,
}

impl NewChain {
    /// A development chain: `alice`, `bob`, `carol` and `dave` have funds.
    pub fn development(chain_id: ChainId, time: TimestampMs) -> Self {
        let account = |name: &&str| GenesisAccount {
            account: development_key(name).public_key().account_id(),
            balance: DEVELOPMENT_BALANCE,
        };
        let accounts = DEVELOPMENT_ACCOUNTS.iter().map(account).collect();
        Self { chain_id, accounts, parameters: Parameters::default(), time }
    }

    /// Returns the genesis with `validator` as the only one who decides.
    pub fn genesis(&self, validator: &SecretKey) -> Genesis {
        self.genesis_of(vec![GenesisValidator { public_key: validator.public_key(), power: 1 }])
    }

    /// Returns the genesis with these validators; under proof of work with none, because who mines decides.
    pub fn genesis_of(&self, validators: Vec<GenesisValidator>) -> Genesis {
        let validators = match self.parameters.consensus {
            ConsensusRules::Pos(_) => validators,
            ConsensusRules::Pow(_) => Vec::new(),
        };
        Genesis {
            chain_id: self.chain_id.clone(),
            time: self.time,
            validators,
            accounts: self.accounts.clone(),
            parameters: self.parameters.clone(),
        }
    }
}

/// Returns the key of a development account: SHA-256 of `purlin.development.key:` and the name, so that it is the
/// same on every machine. Worth nothing as a secret.
pub fn development_key(name: &str) -> SecretKey {
    let digest: [u8; 32] = Sha256::digest(format!("purlin.development.key:{name}")).into();
    SecretKey::from_bytes(&digest).expect("a hash is zero or above the group order once in 2^128")
}

/// Makes a home with a new chain of one validator; see [`join_home`].
pub fn init_home(
    home: &Home,
    chain: &NewChain,
    validator: &SecretKey,
    protection: Protection<'_>,
) -> Result<Genesis, InitError> {
    let genesis = chain.genesis(validator);
    join_home(home, &genesis, Some((validator, protection)), &[])?;
    Ok(genesis)
}

/// Makes a home for a chain: validator key, sign state, settings, genesis. Without a validator key the node makes no
/// blocks. On a development chain the keys of the funded accounts are stored too. The genesis is written last, so
/// that a directory with one is complete. `settings` are names and values for the file, as in
/// [`set_in_file`](crate::set_in_file); a file that is there already is added to.
///
/// A fresh sign state says that the key signed nothing yet: a key that signs elsewhere needs its own one instead.
pub fn join_home(
    home: &Home,
    genesis: &Genesis,
    validator: Option<(&SecretKey, Protection<'_>)>,
    settings: &[(&str, String)],
) -> Result<(), InitError> {
    let io = |path: PathBuf| move |source| InitError::Io { path, source };
    if home.genesis().exists() {
        return Err(InitError::Exists { home: home.root().into() });
    }
    create_private_directory(home.root()).map_err(io(home.root().into()))?;
    let keystore = Keystore::new(home.keys());
    if let Some((key, protection)) = validator {
        store_key(&keystore, VALIDATOR_KEY, key, protection)?;
    }
    if is_development(&genesis.chain_id) {
        for name in DEVELOPMENT_ACCOUNTS {
            store_key(&keystore, name, &development_key(name), Protection::Development(&genesis.chain_id))?;
        }
    }
    if let Some((key, _)) = validator {
        let state = home.sign_state();
        if state.exists() {
            // Left by an attempt that was interrupted, or of another chain: the check tells which.
            Signer::inspect(&home.signing(), genesis.id(), &key.public_key())?;
        } else {
            Signer::create(&state, genesis.id(), &key.public_key())?;
        }
    }
    if !home.config().exists() {
        let text = config::template();
        write_atomic(&home.config(), text.as_bytes(), Access::Readable).map_err(io(home.config()))?;
    }
    if validator.is_none() {
        config::set_in_file(&home.config(), "chain.validator_key", "off")?;
    }
    for (key, value) in settings {
        config::set_in_file(&home.config(), key, value)?;
    }
    write_genesis(&home.genesis(), genesis)
}

/// Stores a key unless the same one is there under that name.
fn store_key(
    keystore: &Keystore,
    name: &str,
    key: &SecretKey,
    protection: Protection<'_>,
) -> Result<(), KeystoreError> {
    let name: KeyName = name.parse()?;
    match keystore.store(&name, key, protection) {
        Err(KeystoreError::Exists { .. }) if keystore.get(&name)?.public_key == key.public_key() => Ok(()),
        other => other.map(drop),
    }
}

/// Writes a genesis as JSON.
pub fn write_genesis(path: &Path, genesis: &Genesis) -> Result<(), InitError> {
    let mut text = serde_json::to_string_pretty(genesis).expect("a genesis has string keys only");
    text.push('\n');
    write_atomic(path, text.as_bytes(), Access::Readable)
        .map_err(|source| InitError::Io { path: path.into(), source })
}

/// Reads and checks a genesis.
pub fn read_genesis(path: &Path) -> Result<Genesis, GenesisError> {
    use std::io::Read;
    let io = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound => GenesisError::Missing { path: path.into() },
        _ => GenesisError::Io { path: path.into(), source },
    };
    let mut text = String::new();
    std::fs::File::open(path).map_err(io)?.take(GENESIS_BYTES_MAX).read_to_string(&mut text).map_err(io)?;
    let genesis: Genesis = serde_json::from_str(&text)
        .map_err(|error| GenesisError::Malformed { path: path.into(), detail: error.to_string() })?;
    let invalid = |detail: &str| Err(GenesisError::Invalid { path: path.into(), detail: detail.to_owned() });
    let parameters = &genesis.parameters;
    if let ConsensusRules::Pos(_) = &parameters.consensus
        && genesis.validators.is_empty()
    {
        return invalid("proof of stake takes at least one validator");
    }
    if parameters.block_transactions_max as usize > purlin_sync::limits::BLOCK_TRANSACTIONS_MAX {
        return invalid("a block of more than 15000 transactions cannot be announced to peers");
    }
    if let ConsensusRules::Pow(rules) = &parameters.consensus {
        if !genesis.validators.is_empty() {
            return invalid("proof of work has no validators: who mines decides");
        }
        if let Err(error) = purlin_consensus::pow::Target::from_compact(rules.target_start) {
            return invalid(&format!("target_start: {error}"));
        }
        if rules.block_time_ms == 0 || rules.half_life_ms == 0 {
            return invalid("block_time_ms and half_life_ms must not be zero");
        }
        if rules.confirmations > purlin_chain::WINDOW_BLOCKS_DEFAULT {
            return invalid(
                "confirmations beyond 256 are never reached: deeper blocks cannot leave the chain",
            );
        }
    }
    if let Err(error) = genesis.validator_set() {
        return invalid(&error.to_string());
    }
    if parameters.block_transactions_max == 0 || parameters.block_bytes_max == 0 {
        return invalid("a block must have room for a transaction");
    }
    let total = genesis.accounts.iter().try_fold(Amount::ZERO, |sum, entry| sum.checked_add(entry.balance));
    if total.is_none() {
        return invalid("the balances add up to more than 2^128-1");
    }
    let mut accounts: Vec<_> = genesis.accounts.iter().map(|entry| entry.account).collect();
    accounts.sort();
    if accounts.windows(2).any(|pair| pair[0] == pair[1]) {
        return invalid("an account is named twice");
    }
    Ok(genesis)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn development() -> (NewChain, SecretKey) {
        let chain = NewChain::development("dev".parse().unwrap(), TimestampMs::new(1_700_000_000_000));
        (chain, development_key(VALIDATOR_KEY))
    }

    #[test]
    fn development_keys_never_change() {
        let alice = development_key("alice").public_key().account_id();
        assert_eq!(alice.to_string(), "0xea2C3bEfbCcA35d19BA1806623ee0906fDEE3996");
    }

    #[test]
    fn a_home_is_complete_and_made_once() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::new(directory.path().join("node"));
        let (chain, validator) = development();
        let protection = Protection::Development(&chain.chain_id);
        let genesis = init_home(&home, &chain, &validator, protection).unwrap();
        assert_eq!(read_genesis(&home.genesis()).unwrap(), genesis);
        let names: Vec<_> = Keystore::new(home.keys())
            .list()
            .unwrap()
            .into_iter()
            .map(|entry| entry.name.to_string())
            .collect();
        assert_eq!(names, ["alice", "bob", "carol", "dave", "validator"]);
        let again = init_home(&home, &chain, &validator, protection).unwrap_err();
        assert!(matches!(again, InitError::Exists { .. }), "{again}");
        // An interrupted attempt can be repeated.
        std::fs::remove_file(home.genesis()).unwrap();
        init_home(&home, &chain, &validator, protection).unwrap();
    }

    #[test]
    fn a_compact_target_is_met_by_one_hash_in_two_to_its_bits() {
        for bits in 1..=120 {
            let target = purlin_consensus::pow::Target::from_compact(compact_target(bits)).unwrap();
            let work = target.work().to_be_bytes();
            let (high, low) = work.split_at(16);
            assert_eq!(high, [0; 16], "{bits}");
            // 2^256 / (2^(256 - bits) + 1), rounded down.
            assert_eq!(u128::from_be_bytes(low.try_into().unwrap()), (1 << bits) - 1, "{bits}");
        }
        assert_eq!(compact_target(16), 0x1f01_0000);
    }

    #[test]
    fn a_node_without_a_key_joins_a_chain() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::new(directory.path().join("node"));
        let (chain, validator) = development();
        let chain_id: ChainId = "fleet".parse().unwrap();
        let genesis = Genesis { chain_id, ..chain.genesis(&validator) };
        let peers = "/ip4/192.0.2.1/tcp/7421".to_owned();
        join_home(&home, &genesis, None, &[("network.peers", peers.clone())]).unwrap();
        assert_eq!(read_genesis(&home.genesis()).unwrap(), genesis);
        let layer = config::PartialSettings::from_file(&home.config()).unwrap();
        let settings = config::Settings::resolve(home.clone(), &[layer]).unwrap();
        assert_eq!((settings.validator_key, settings.network_peers), (None, vec![peers]));
        assert!(!home.sign_state().exists());
        assert!(Keystore::new(home.keys()).list().unwrap().is_empty());
    }

    #[test]
    fn a_bad_genesis_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("genesis.json");
        assert!(matches!(read_genesis(&path), Err(GenesisError::Missing { .. })));
        let (chain, validator) = development();
        let good = chain.genesis(&validator);
        let refused = |genesis: &Genesis, part: &str| {
            write_genesis(&path, genesis).unwrap();
            let error = read_genesis(&path).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        };
        let mut twice = good.clone();
        twice.accounts.push(twice.accounts[0].clone());
        refused(&twice, "named twice");
        let mut rich = good.clone();
        rich.accounts[0].balance = Amount::MAX;
        refused(&rich, "add up");
        refused(&Genesis { validators: vec![], ..good.clone() }, "at least one validator");
        let pow = |change: fn(&mut PowRules), validators: Vec<GenesisValidator>| {
            let mut rules = development_pow_rules(1);
            change(&mut rules);
            let parameters = Parameters { consensus: ConsensusRules::Pow(rules), ..good.parameters.clone() };
            Genesis { validators, parameters, ..good.clone() }
        };
        write_genesis(&path, &pow(|_| {}, vec![])).unwrap();
        read_genesis(&path).unwrap();
        refused(&pow(|_| {}, good.validators.clone()), "no validators");
        refused(&pow(|rules| rules.target_start = 0, vec![]), "target_start");
        refused(&pow(|rules| rules.half_life_ms = 0, vec![]), "not be zero");
        refused(&pow(|rules| rules.confirmations = 257, vec![]), "never reached");
        std::fs::write(&path, "{\"chain_id\": \"dev\", \"chian\": 1}").unwrap();
        let error = read_genesis(&path).unwrap_err().to_string();
        assert!(error.contains("chian"), "{error}");
    }
}
