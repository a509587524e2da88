//! `purlin key`: the keys that sign.

use clap::Subcommand;
use purlin_primitives::{AccountId, ChainId, SecretKey};
use purlin_service::{KeyEntry, KeyKind, KeyName, Keystore, Protection};
use serde_json::{Value, json};
use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use zeroize::Zeroizing;

use crate::connection::{ask_passphrase, key_error, read_passphrase_file};
use crate::context::Context;
use crate::error::{Attempt, CliError};
use crate::output::table;

/// Longest text that may hold a key, in bytes.
const KEY_TEXT_BYTES_MAX: u64 = 1024;

/// What can be done with keys.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a key
    New(NewArgs),
    /// Take over a key: 64 hexadecimal digits, from a file or standard input
    Import(ImportArgs),
    /// List keys and their accounts
    List,
    /// Show a key's account and public half
    Show(NameArgs),
    /// Print a key's secret as 64 hexadecimal digits
    Export(ExportArgs),
}

/// How a new key is kept.
#[derive(Debug, clap::Args)]
pub(crate) struct KeepArgs {
    /// File with the passphrase to encrypt it with; PURLIN_PASSPHRASE and the terminal are asked otherwise
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Keep it unencrypted, for development chains only
    #[arg(long, conflicts_with = "passphrase_file")]
    unencrypted: bool,
}

/// Arguments of `purlin key new`.
#[derive(Debug, clap::Args)]
pub(crate) struct NewArgs {
    /// What to call it
    name: KeyName,
    #[command(flatten)]
    keep: KeepArgs,
}

/// Arguments of `purlin key import`.
#[derive(Debug, clap::Args)]
pub(crate) struct ImportArgs {
    /// What to call it
    name: KeyName,
    /// File with the digits; `-` reads standard input
    #[arg(default_value = "-")]
    file: PathBuf,
    #[command(flatten)]
    keep: KeepArgs,
}

/// Names a key.
#[derive(Debug, clap::Args)]
pub(crate) struct NameArgs {
    /// The key
    name: KeyName,
}

/// Arguments of `purlin key export`.
#[derive(Debug, clap::Args)]
pub(crate) struct ExportArgs {
    /// The key
    name: KeyName,
    /// File with its passphrase; PURLIN_PASSPHRASE and the terminal are asked otherwise
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

/// Runs a command.
pub(crate) fn run(command: Command, context: &Context) -> Result<(), CliError> {
    match command {
        Command::New(args) => {
            let key = Keystore::generate().attempt(|| "make a key".into())?;
            store(&args.name, &key, &args.keep, context)
        }
        Command::Import(args) => {
            let key = Keystore::parse_hex(&read_key(&args.file)?).map_err(key_error)?;
            store(&args.name, &key, &args.keep, context)
        }
        Command::List => list(context),
        Command::Show(args) => show(&args.name, context),
        Command::Export(args) => export(&args, context),
    }
}

fn store(name: &KeyName, key: &SecretKey, keep: &KeepArgs, context: &Context) -> Result<(), CliError> {
    for keystore in context.keystores() {
        if keystore.get(name).is_ok() {
            return Err(CliError::usage(format!("key {name} exists already"))
                .hint("choose another name; `purlin key list` shows those taken"));
        }
    }
    let keystore = Keystore::new(purlin_service::Home::new(&context.home).keys());
    let development = development_chain();
    let passphrase;
    let protection = if keep.unencrypted {
        Protection::Development(&development)
    } else {
        passphrase = new_passphrase(name, keep)?;
        Protection::Passphrase(&passphrase)
    };
    let entry = keystore.store(name, key, protection).map_err(key_error)?;
    context.output.result(|| as_json(&entry), || format!("{} {}", entry.name, entry.account));
    Ok(())
}

/// Finds a passphrase for a new key; what is typed is typed twice.
fn new_passphrase(name: &KeyName, keep: &KeepArgs) -> Result<Zeroizing<String>, CliError> {
    if let Some(passphrase) = read_passphrase_file(keep.passphrase_file.as_deref())? {
        return Ok(passphrase);
    }
    let typed = std::env::var_os("PURLIN_PASSPHRASE").is_none();
    let first = ask_passphrase(&format!("new passphrase for {name}: ")).ok_or_else(|| {
        CliError::usage(format!("key {name} needs a passphrase")).hint(
            "give one with --passphrase-file FILE or PURLIN_PASSPHRASE, run this in a terminal, or keep the key \
             --unencrypted for a development chain",
        )
    })?;
    if typed && ask_passphrase("the same again: ").is_none_or(|second| *second != *first) {
        return Err(CliError::usage("the two passphrases differ").hint("nothing was stored; try again"));
    }
    Ok(first)
}

/// Reads the digits of a key; `-` is standard input.
pub(crate) fn read_key(file: &std::path::Path) -> Result<Zeroizing<String>, CliError> {
    let mut text = Zeroizing::new(String::new());
    if file.as_os_str() == "-" {
        if std::io::stdin().is_terminal() {
            return Err(CliError::usage("no key was given").hint(
                "name a file, or pipe the 64 digits in; they are not read from a terminal, which shows them",
            ));
        }
        let stdin = std::io::stdin().lock();
        stdin.take(KEY_TEXT_BYTES_MAX).read_to_string(&mut text).attempt(|| "read standard input".into())?;
    } else {
        let opened = std::fs::File::open(file).attempt(|| format!("open {}", file.display()))?;
        let limited = &mut opened.take(KEY_TEXT_BYTES_MAX);
        limited.read_to_string(&mut text).attempt(|| format!("read {}", file.display()))?;
    }
    Ok(text)
}

fn list(context: &Context) -> Result<(), CliError> {
    let mut entries: Vec<KeyEntry> = Vec::new();
    for keystore in context.keystores() {
        entries.extend(keystore.list().map_err(key_error)?);
    }
    context.output.result(
        || entries.iter().map(as_json).collect(),
        || {
            if entries.is_empty() {
                return "there is no key; make one with `purlin key new NAME`".into();
            }
            let rows: Vec<Vec<String>> = entries
                .iter()
                .map(|entry| vec![entry.name.to_string(), entry.account.to_string(), kept(entry).into()])
                .collect();
            table(&["KEY", "ACCOUNT", "KEPT"], &rows)
        },
    );
    Ok(())
}

fn show(name: &KeyName, context: &Context) -> Result<(), CliError> {
    let (_, entry) = find(name, context)?;
    context.output.result(
        || as_json(&entry),
        || {
            let (account, public_key) = (&entry.account, &entry.public_key);
            format!(
                "key         {name}\naccount     {account}\npublic key  {public_key}\nkept        {}",
                kept(&entry)
            )
        },
    );
    Ok(())
}

fn export(args: &ExportArgs, context: &Context) -> Result<(), CliError> {
    // Also one whose public half is lost: opening it writes that again.
    let keystore = match context.keystores().into_iter().find(|keystore| keystore.has(&args.name)) {
        Some(keystore) => keystore,
        None => find(&args.name, context)?.0,
    };
    let given = read_passphrase_file(args.passphrase_file.as_deref())?;
    let key = keystore
        .unlock(&args.name, &development_chain(), |name| {
            given.or_else(|| ask_passphrase(&format!("passphrase of {name}: ")))
        })
        .map_err(key_error)?;
    context.output.note("this is the secret: whoever reads it can sign as you");
    let digits = Keystore::export_hex(&key);
    context.output.result(|| json!({ "name": args.name.as_str(), "secret": *digits }), || digits.to_string());
    Ok(())
}

fn find(name: &KeyName, context: &Context) -> Result<(Keystore, KeyEntry), CliError> {
    let mut missing = None;
    for keystore in context.keystores() {
        match keystore.get(name) {
            Ok(entry) => return Ok((keystore, entry)),
            Err(error) => missing = missing.or(Some(error)),
        }
    }
    Err(missing.map_or_else(|| CliError::usage(format!("there is no key {name}")), key_error))
}

/// Reads an account, or the name of a key whose account is meant.
pub(crate) fn account(text: &str, context: &Context) -> Result<AccountId, CliError> {
    if text.starts_with("0x") {
        return text.parse().map_err(|error| CliError::usage(format!("{text}: {error}")));
    }
    let name: KeyName = text.parse().map_err(|_| {
        CliError::usage(format!("{text:?} is neither an account nor a key"))
            .hint("an account is 0x and 40 hexadecimal digits; `purlin key list` shows the keys")
    })?;
    Ok(find(&name, context)?.1.account)
}

/// The chain that unencrypted keys are read and stored for; a real chain refuses them when they sign.
fn development_chain() -> ChainId {
    "dev".parse().expect("a valid chain id")
}

fn kept(entry: &KeyEntry) -> &'static str {
    match entry.kind {
        KeyKind::Encrypted => "encrypted",
        KeyKind::Development => "unencrypted, for development",
    }
}

fn as_json(entry: &KeyEntry) -> Value {
    json!({
        "name": entry.name.as_str(),
        "account": entry.account,
        "public_key": entry.public_key,
        "encrypted": entry.kind == KeyKind::Encrypted,
    })
}
