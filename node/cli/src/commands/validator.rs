//! `purlin validator`: who decides, and what they have at stake.

use clap::Subcommand;
use purlin_api::{ValidatorPage, ValidatorState, ValidatorView};
use purlin_primitives::{Action, Amount, SecretKey};
use purlin_service::Home;
use serde_json::json;
use std::path::PathBuf;

use super::node_args::NodeArgs;
use crate::connection::{Connection, SendArgs, place};
use crate::context::Context;
use crate::error::CliError;
use crate::output::table;

/// What can be done about validators.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show who decides, who waits to, and how this node's own validator is
    Status,
    /// Put native units at stake; it counts from the next change of validators on
    Bond(AmountArgs),
    /// Take native units out of stake: some, or all to leave; they come back after the unbonding time
    Unbond(AmountArgs),
    /// Return from jail, after the term
    Unjail(SignArgs),
}

/// Arguments of `purlin validator bond` and `unbond`.
#[derive(Debug, clap::Args)]
pub(crate) struct AmountArgs {
    /// Native units
    amount: Amount,
    #[command(flatten)]
    sign: SignArgs,
}

/// Which validator, and how the transaction is paid for.
#[derive(Debug, clap::Args)]
pub(crate) struct SignArgs {
    /// Key of the validator, which signs and pays [default: the one that the node of the home folder signs blocks with]
    #[arg(long, value_name = "KEY")]
    from: Option<String>,
    /// File with the key's passphrase; PURLIN_PASSPHRASE and the terminal are asked otherwise
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Most gas to use [default: what a trial run used, and a quarter more]
    #[arg(long, value_name = "GAS")]
    gas_limit: Option<u64>,
    /// Native units to pay [default: the chain's minimum]
    #[arg(long, value_name = "AMOUNT")]
    fee: Option<Amount>,
}

/// Runs a command.
pub(crate) fn run(command: Command, context: &Context) -> Result<(), CliError> {
    match command {
        Command::Status => status(context),
        Command::Bond(args) => {
            let amount = args.amount;
            let done = format!("put {amount} at stake");
            send(context, args.sign, &done, |key| Action::Bond { validator: key.public_key(), amount })
        }
        Command::Unbond(args) => {
            let amount = args.amount;
            let done = format!("took {amount} out of stake");
            send(context, args.sign, &done, |_| Action::Unbond { amount })
        }
        Command::Unjail(args) => send(context, args, "returned from jail", |_| Action::Unjail),
    }
}

/// Signs with the validator's key, sends, and shows what came of it.
fn send(
    context: &Context,
    args: SignArgs,
    done: &str,
    action: impl FnOnce(&SecretKey) -> Action,
) -> Result<(), CliError> {
    let connection = context.connect()?;
    let status = connection.run(connection.client.status())?;
    if status.pow.is_some() {
        return Err(CliError::usage(format!(
            "chain {} runs proof of work: nobody has anything at stake there, who mines decides",
            status.chain_id
        ))
        .hint(
            "a node mines for the key in chain.validator_key, with as many threads as mining.threads says",
        ));
    }
    let from = match args.from {
        Some(from) => from,
        None => node_key(&connection)?,
    };
    let send = SendArgs {
        from: Some(from),
        passphrase_file: args.passphrase_file,
        gas_limit: args.gas_limit,
        fee: args.fee,
    };
    let key = connection.signer(&send)?;
    let committed = connection.send_as(&key, vec![action(&key)], &send)?;
    let account = key.public_key().account_id();
    let page = all(&connection)?;
    let now = page.validators.into_iter().find(|validator| validator.account == account);
    context.output.result(
        || {
            json!({
                "account": account, "transaction": committed.id, "place": committed.place, "validator": now,
                "epoch_end": page.epoch_end
            })
        },
        || {
            let mut lines = vec![format!("{account} {done} ({})", place(&committed))];
            lines.extend(now.as_ref().map(own_text));
            lines.extend(page.epoch_end.map(|end| format!("who decides changes after block {end}")));
            lines.join("\n")
        },
    );
    Ok(())
}

/// Returns the name of the key that the connected node signs blocks with, by its settings.
fn node_key(connection: &Connection) -> Result<String, CliError> {
    let home: Home = connection.home().clone();
    let shown = home.root().display().to_string();
    let key = NodeArgs::default().settings(home)?.validator_key;
    key.map(|name| name.to_string()).ok_or_else(|| {
        CliError::usage(format!("the node in {shown} has no validator key")).hint(
            "name the key with --from KEY; `purlin config set chain.validator_key KEY` makes the node use it",
        )
    })
}

/// Reads all pages into one.
pub(crate) fn all(connection: &Connection) -> Result<ValidatorPage, CliError> {
    let mut page = connection.run(connection.client.validators(None))?;
    while let Some(after) = page.next {
        let more = connection.run(connection.client.validators(Some(&after)))?;
        page = ValidatorPage { validators: [page.validators, more.validators].concat(), ..more };
    }
    Ok(page)
}

/// Says whether the connected node has all the power.
pub(crate) fn decides_alone(connection: &Connection) -> Result<bool, CliError> {
    let page = all(connection)?;
    Ok(page
        .validators
        .iter()
        .any(|validator| validator.own && validator.power > 0 && validator.power == page.total_power))
}

fn status(context: &Context) -> Result<(), CliError> {
    let connection = context.connect()?;
    let mut page = all(&connection)?;
    // Who decides first, the most powerful on top.
    page.validators.sort_by(|a, b| (b.power, b.stake, a.account).cmp(&(a.power, a.stake, b.account)));
    let own = page.validators.iter().find(|validator| validator.own);
    let account = connection.run(connection.client.status())?.validator;
    context.output.result(
        || json!(page),
        || {
            let Some((epoch, end)) = page.epoch.zip(page.epoch_end) else {
                let mines = match account {
                    Some(account) => format!("this node mines for {account}, unless mining.threads is 0"),
                    None => "this node has no key and does not mine".into(),
                };
                return format!("proof of work decides on this chain; it has no validators\n{mines}");
            };
            let mut lines = vec![
                format!("height       {}", page.height),
                format!("epoch        {epoch}, until block {end}"),
                format!("total power  {}", page.total_power),
                format!(
                    "this node    {}",
                    match (own, account) {
                        (Some(own), _) => own_text(own),
                        (None, Some(account)) => {
                            format!(
                                "{account} has nothing at stake; put some there: purlin validator bond AMOUNT"
                            )
                        }
                        (None, None) => "has no validator key".into(),
                    }
                ),
            ];
            let header = ["", "ACCOUNT", "POWER", "STAKE", "UNBONDING", "STATUS", "MISSED TURNS"];
            lines.push(table(&header, &page.validators.iter().map(row).collect::<Vec<_>>()));
            lines.join("\n")
        },
    );
    Ok(())
}

fn row(validator: &ValidatorView) -> Vec<String> {
    vec![
        if validator.own { "*" } else { "" }.into(),
        validator.account.to_string(),
        validator.power.to_string(),
        validator.stake.to_string(),
        validator.unbonding.to_string(),
        status_text(validator),
        validator.missed_turns.to_string(),
    ]
}

fn own_text(own: &ValidatorView) -> String {
    let account = own.account;
    let decides = match (own.power, own.status) {
        (0, ValidatorState::Active) => "waits for the next change of validators".to_owned(),
        (0, _) => "does not decide".to_owned(),
        (power, _) => format!("decides with power {power}"),
    };
    format!("{account} has {} at stake, {}, {decides}", own.stake, status_text(own))
}

fn status_text(validator: &ValidatorView) -> String {
    match (validator.status, validator.jailed_until_epoch) {
        (ValidatorState::Active, _) if validator.stake == Amount::ZERO => "leaving".into(),
        (ValidatorState::Active, _) => "active".into(),
        (ValidatorState::Jailed, Some(epoch)) => format!("jailed until epoch {epoch}"),
        (ValidatorState::Jailed, None) => "jailed".into(),
        (ValidatorState::Tombstoned, _) => "out for double signing".into(),
    }
}
