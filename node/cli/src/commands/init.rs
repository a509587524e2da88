//! `purlin init`: a node's home, with a chain of its own or for one that exists.

use purlin_primitives::{
    AccountId, Amount, ChainId, ConsensusRules, Genesis, GenesisAccount, Parameters, PowRules, SecretKey,
};
use purlin_service::{
    Checkpoint, DEVELOPMENT_HASHES_PER_S, Home, Keystore, NewChain, Protection, check_peer_address,
    development_pow_rules, init_home, is_development, join_home, read_genesis, set_in_file,
};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

use super::dev::now;
use super::key::read_key;
use super::net::EngineName;
use crate::connection::{ask_passphrase, key_error, read_passphrase_file};
use crate::context::Context;
use crate::error::{Attempt, CliError};

/// Where a node listens for peers when it joins a chain: every address, the port of all Purlin nodes. A private network
/// (`network.key`) has to take QUIC out, which cannot carry the key; the node says so when it starts.
const LISTEN_DEFAULT: &str = "/ip4/0.0.0.0/tcp/7421,/ip4/0.0.0.0/udp/7421/quic-v1";

/// Arguments of `purlin init`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the new chain; one that starts with `dev` has funded keys without passphrases
    #[arg(long, value_name = "NAME", required_unless_present = "genesis")]
    chain: Option<ChainId>,
    /// Give an account something at the start, as ACCOUNT=AMOUNT; may be repeated
    #[arg(long, value_name = "ACCOUNT=AMOUNT")]
    fund: Vec<String>,
    /// Least fee per million gas; zero in a consortium
    #[arg(long, value_name = "AMOUNT", default_value = "0")]
    fee_per_million_gas: Amount,
    /// How the new chain agrees
    #[arg(long, value_enum, default_value = "pos")]
    engine: EngineName,
    /// With --engine pow: wanted time from block to block, in milliseconds [default: 10000, on a chain named dev 1000]
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(100..=3_600_000))]
    block_time_ms: Option<u64>,
    /// Take part in the chain of this genesis, instead of starting a new one
    #[arg(long, value_name = "FILE", conflicts_with_all = ["chain", "fund", "fee_per_million_gas", "engine", "block_time_ms"])]
    genesis: Option<PathBuf>,
    /// With --genesis: nodes to ask first, as /ip4/../tcp/../p2p/ID; several with commas between them
    #[arg(
        long,
        value_name = "MULTIADDR",
        value_delimiter = ',',
        requires = "genesis",
        conflicts_with = "chain"
    )]
    join: Vec<String>,
    /// With --genesis: how the node joins, `replay` or `snapshot`; see `purlin config show network.sync`
    #[arg(long, value_name = "METHOD", requires = "genesis", conflicts_with = "chain")]
    sync: Option<String>,
    /// With --genesis: a recent block that you trust, as `purlin status` prints it on another node
    #[arg(long, value_name = "HEIGHT:BLOCKID", requires = "genesis", conflicts_with = "chain")]
    checkpoint: Option<Checkpoint>,
    /// With --genesis: the key to validate with, `new` or a file with 64 hexadecimal digits [default: none, the node
    /// follows the chain]
    #[arg(long, value_name = "new|FILE", requires = "genesis", conflicts_with = "chain")]
    validator_key: Option<String>,
    /// File with a passphrase for the validator key; PURLIN_PASSPHRASE and the terminal are asked otherwise
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

/// Makes the home.
pub(crate) fn run(args: Args, context: &Context) -> Result<(), CliError> {
    let home = Home::new(&context.home);
    match (&args.genesis, &args.chain) {
        (Some(genesis), _) => join(&home, genesis, &args, context),
        (None, Some(chain)) => start(&home, chain, &args, context),
        // clap asks for one of them.
        (None, None) => Err(CliError::usage("neither --chain nor --genesis is given")),
    }
}

/// Makes a home with a chain of its own.
fn start(home: &Home, chain_id: &ChainId, args: &Args, context: &Context) -> Result<(), CliError> {
    let mut chain = NewChain {
        chain_id: chain_id.clone(),
        accounts: Vec::new(),
        parameters: Parameters::default(),
        time: now()?,
    };
    if is_development(chain_id) {
        chain.accounts = NewChain::development(chain_id.clone(), chain.time).accounts;
    }
    chain.parameters.fee_per_million_gas_min = args.fee_per_million_gas;
    for text in &args.fund {
        chain.accounts.push(parse_fund(text)?);
    }
    let member = match pow_rules(chain_id, args)? {
        Some(rules) => {
            chain.parameters.consensus = ConsensusRules::Pow(rules);
            "miner    "
        }
        None => "validator",
    };
    let validator = Keystore::generate().attempt(|| "get random bytes for a key".into())?;
    let passphrase = passphrase(chain_id, args)?;
    let genesis = init_home(home, &chain, &validator, protection(chain_id, passphrase.as_ref()))
        .map_err(|error| CliError::failure(error.to_string()).hint("nothing was overwritten"))?;
    if args.engine == EngineName::Pow && is_development(chain_id) {
        set_in_file(&home.config(), "mining.hashes_per_second_max", &DEVELOPMENT_HASHES_PER_S.to_string())
            .map_err(|error| CliError::failure(error.to_string()))?;
    }
    let account = validator.public_key().account_id();
    context.output.result(
        || serde_json::json!({ "home": home.root(), "chain_id": genesis.chain_id, "genesis_id": genesis.id(), "validator": account }),
        || {
            format!(
                "chain {} is ready in {}\n  genesis    {}\n  {member}  {account}\nstart it with: purlin run",
                genesis.chain_id,
                home.root().display(),
                genesis.id()
            )
        },
    );
    Ok(())
}

/// Returns the rules of proof of work, when the chain is to have them.
fn pow_rules(chain_id: &ChainId, args: &Args) -> Result<Option<PowRules>, CliError> {
    if args.engine == EngineName::Pos {
        return match args.block_time_ms {
            None => Ok(None),
            Some(_) => Err(CliError::usage("--block-time-ms is for proof of work")
                .hint("add --engine pow, or set chain.block_interval_ms for proof of stake")),
        };
    }
    let rules = if is_development(chain_id) { development_pow_rules(1) } else { PowRules::default() };
    let block_time_ms = args.block_time_ms.unwrap_or(rules.block_time_ms);
    // As many blocks as before.
    let half_life_ms = block_time_ms.saturating_mul(rules.half_life_ms / rules.block_time_ms);
    Ok(Some(PowRules { block_time_ms, half_life_ms, ..rules }))
}

/// Refuses to join by a snapshot where there are none.
fn check_sync(genesis: &Genesis, sync: Option<&str>) -> Result<(), CliError> {
    match (&genesis.parameters.consensus, sync) {
        (ConsensusRules::Pow(_), Some("snapshot")) => {
            let error =
                "a chain of proof of work has no certificates to trust a snapshot by; nothing was made";
            Err(CliError::usage(error).hint("leave out --sync: the node executes every block"))
        }
        _ => Ok(()),
    }
}

/// Makes a home for a chain that exists.
fn join(home: &Home, file: &Path, args: &Args, context: &Context) -> Result<(), CliError> {
    let genesis = read_genesis(file).map_err(|error| {
        CliError::usage(error.to_string())
            .hint("ask somebody who runs a node of the chain for its genesis.json")
    })?;
    check_sync(&genesis, args.sync.as_deref())?;
    for address in &args.join {
        check_peer_address(address).map_err(|error| {
            CliError::usage(error.to_string())
                .hint("`purlin run` prints the addresses of a node when it starts")
        })?;
    }
    let key = args.validator_key.as_deref().map(validator_key).transpose()?;
    let passphrase = if key.is_some() { passphrase(&genesis.chain_id, args)? } else { None };
    let validator = key.as_ref().map(|key| (key, protection(&genesis.chain_id, passphrase.as_ref())));
    let mut settings = Vec::new();
    if !args.join.is_empty() {
        settings.push(("network.listen", LISTEN_DEFAULT.to_owned()));
        settings.push(("network.peers", args.join.join(",")));
    }
    if let Some(sync) = &args.sync {
        settings.push(("network.sync", sync.clone()));
    }
    if let Some(checkpoint) = &args.checkpoint {
        settings.push(("network.checkpoint", checkpoint.to_string()));
    }
    join_home(home, &genesis, validator, &settings)
        .map_err(|error| CliError::failure(error.to_string()).hint("nothing was overwritten"))?;
    let is_pow = matches!(genesis.parameters.consensus, ConsensusRules::Pow(_));
    let imported = args.validator_key.as_deref().is_some_and(|text| text != "new") && !is_pow;
    if imported {
        context.output.note(
            "this home's sign state says that the key signed nothing yet. If the key signs on another node, stop that \
             node for good and copy its files sign_state and votes here before the first start: two nodes with one \
             key lose its stake",
        );
    }
    let public_key = key.as_ref().map(SecretKey::public_key);
    let decides = public_key.is_some_and(|key| genesis.validators.iter().any(|one| one.public_key == key));
    let account = public_key.map(|key| key.account_id());
    context.output.result(
        || {
            serde_json::json!({
                "home": home.root(), "chain_id": genesis.chain_id, "genesis_id": genesis.id(), "validator": account,
                "listen": (!args.join.is_empty()).then_some(LISTEN_DEFAULT), "peers": args.join
            })
        },
        || {
            let mut lines = vec![
                format!("a node of chain {} is ready in {}", genesis.chain_id, home.root().display()),
                format!("  genesis    {}; compare it with another node's `purlin status --json`", genesis.id()),
                format!(
                    "  {}  {}",
                    if is_pow { "miner    " } else { "validator" },
                    account.map_or("none, it follows the chain".into(), |id| id.to_string())
                ),
            ];
            if args.join.is_empty() {
                lines.push("say whom it asks: purlin config set network.peers MULTIADDR".into());
            }
            lines.push("start it with: purlin run".into());
            lines.push("see it catch up with: purlin status --wait".into());
            if account.is_some() && !decides && !is_pow {
                lines.push(
                    "once the account has something, it becomes a validator with: purlin validator bond AMOUNT".into(),
                );
            }
            lines.join("\n")
        },
    );
    Ok(())
}

/// Makes a key, or reads one.
fn validator_key(text: &str) -> Result<SecretKey, CliError> {
    if text == "new" {
        return Keystore::generate().attempt(|| "get random bytes for a key".into());
    }
    Keystore::parse_hex(&read_key(Path::new(text))?).map_err(key_error)
}

/// Asks for a passphrase, which a development chain does without.
fn passphrase(chain_id: &ChainId, args: &Args) -> Result<Option<Zeroizing<String>>, CliError> {
    if is_development(chain_id) {
        return Ok(None);
    }
    new_passphrase(args.passphrase_file.as_deref()).map(Some)
}

fn protection<'a>(chain_id: &'a ChainId, passphrase: Option<&'a Zeroizing<String>>) -> Protection<'a> {
    match passphrase {
        Some(passphrase) => Protection::Passphrase(passphrase),
        None => Protection::Development(chain_id),
    }
}

fn parse_fund(text: &str) -> Result<GenesisAccount, CliError> {
    let refused = |reason: String| {
        CliError::usage(format!("--fund {text:?}: {reason}")).hint("for example: --fund 0x5aAe...=1000000")
    };
    let (account, amount) = text.split_once('=').ok_or_else(|| refused("expected ACCOUNT=AMOUNT".into()))?;
    let account: AccountId =
        account.parse().map_err(|error: purlin_abi::ParseIdError| refused(error.to_string()))?;
    let balance: Amount =
        amount.parse().map_err(|error: purlin_abi::ParseAmountError| refused(error.to_string()))?;
    Ok(GenesisAccount { account, balance })
}

/// Gets a passphrase for a new key; in a terminal it is typed twice.
pub(crate) fn new_passphrase(file: Option<&std::path::Path>) -> Result<Zeroizing<String>, CliError> {
    if let Some(passphrase) = read_passphrase_file(file)? {
        return not_empty(passphrase);
    }
    let missing = || {
        CliError::usage("a passphrase is needed to protect the key")
            .hint("give it with --passphrase-file FILE or PURLIN_PASSPHRASE, or run this in a terminal")
    };
    let first = ask_passphrase("new passphrase: ").ok_or_else(missing)?;
    if std::env::var_os("PURLIN_PASSPHRASE").is_none() {
        let second = ask_passphrase("the same again: ").ok_or_else(missing)?;
        if first != second {
            return Err(CliError::usage("the two passphrases differ").hint("nothing was stored; try again"));
        }
    }
    not_empty(first)
}

fn not_empty(passphrase: Zeroizing<String>) -> Result<Zeroizing<String>, CliError> {
    if passphrase.is_empty() {
        return Err(CliError::usage("the passphrase is empty").hint("choose one that is hard to guess"));
    }
    Ok(passphrase)
}

#[cfg(test)]
mod tests {
    use super::*;
    use purlin_primitives::TimestampMs;

    #[test]
    fn only_a_chain_with_certificates_is_joined_by_snapshot() {
        let mut chain = NewChain::development("dev".parse().unwrap(), TimestampMs::new(1));
        let stake = chain.genesis_of(Vec::new());
        chain.parameters.consensus = ConsensusRules::Pow(development_pow_rules(1));
        let work = chain.genesis_of(Vec::new());
        for (genesis, sync, is_good) in [
            (&stake, Some("snapshot"), true),
            (&work, None, true),
            (&work, Some("replay"), true),
            (&work, Some("snapshot"), false),
        ] {
            assert_eq!(check_sync(genesis, sync).is_ok(), is_good, "{sync:?}");
        }
    }
}
