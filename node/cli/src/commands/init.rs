//! `purlin init`: a node's home with a chain of its own.

use purlin_primitives::{AccountId, Amount, ChainId, GenesisAccount, Parameters};
use purlin_service::{Home, Keystore, NewChain, Protection, init_home, is_development};
use std::path::PathBuf;
use zeroize::Zeroizing;

use super::dev::now;
use crate::connection::{ask_passphrase, read_passphrase_file};
use crate::context::Context;
use crate::error::{Attempt, CliError};

/// Arguments of `purlin init`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the new chain; one that starts with `dev` has funded keys without passphrases
    #[arg(long, value_name = "NAME")]
    chain: ChainId,
    /// Give an account something at the start, as ACCOUNT=AMOUNT; may be repeated
    #[arg(long, value_name = "ACCOUNT=AMOUNT")]
    fund: Vec<String>,
    /// Least fee per million gas; zero in a consortium
    #[arg(long, value_name = "AMOUNT", default_value = "0")]
    fee_per_million_gas: Amount,
    /// File with a passphrase for the validator key; PURLIN_PASSPHRASE and the terminal are asked otherwise
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

/// Makes the home.
pub(crate) fn run(args: Args, context: &Context) -> Result<(), CliError> {
    let home = Home::new(&context.home);
    let development = is_development(&args.chain);
    let mut chain = NewChain {
        chain_id: args.chain.clone(),
        accounts: Vec::new(),
        parameters: Parameters::default(),
        time: now()?,
    };
    if development {
        chain.accounts = NewChain::development(args.chain.clone(), chain.time).accounts;
    }
    chain.parameters.fee_per_million_gas_min = args.fee_per_million_gas;
    for text in &args.fund {
        chain.accounts.push(parse_fund(text)?);
    }
    let validator = Keystore::generate().attempt(|| "get random bytes for a key".into())?;
    let passphrase = if development { None } else { Some(new_passphrase(args.passphrase_file.as_deref())?) };
    let protection = match &passphrase {
        Some(passphrase) => Protection::Passphrase(passphrase),
        None => Protection::Development(&args.chain),
    };
    let genesis = init_home(&home, &chain, &validator, protection)
        .map_err(|error| CliError::failure(error.to_string()).hint("nothing was overwritten"))?;
    let account = validator.public_key().account_id();
    context.output.result(
        || serde_json::json!({ "home": home.root(), "chain_id": genesis.chain_id, "genesis_id": genesis.id(), "validator": account }),
        || {
            format!(
                "chain {} is ready in {}\n  genesis    {}\n  validator  {account}\nstart it with: purlin run",
                genesis.chain_id,
                home.root().display(),
                genesis.id()
            )
        },
    );
    Ok(())
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
