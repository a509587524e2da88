//! `purlin token`: who may use the HTTP API.

use clap::Subcommand;
use purlin_rpc::{Scope, TokenError, TokenStore};
use purlin_service::Home;
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::CliError;
use crate::output::table;

/// What can be done with tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a token; it is printed once and stored hashed
    Create(CreateArgs),
    /// List tokens and what they allow
    List,
    /// Refuse a token from now on
    Revoke(RevokeArgs),
}

/// Arguments of `purlin token create`.
#[derive(Debug, clap::Args)]
pub(crate) struct CreateArgs {
    /// What to call it
    name: String,
    /// What it allows: `read`, `submit` (and read), or `admin` (everything)
    #[arg(long, default_value = "read")]
    scope: Scope,
}

/// Arguments of `purlin token revoke`.
#[derive(Debug, clap::Args)]
pub(crate) struct RevokeArgs {
    /// The token's name
    name: String,
}

/// Runs a command on the token file of the running node, else of the home folder.
pub(crate) fn run(command: Command, context: &Context) -> Result<(), CliError> {
    let home = home(context)?;
    let store = TokenStore::open(home.tokens()).map_err(refused)?;
    match command {
        Command::Create(args) => {
            let token = store.create(&args.name, args.scope).map_err(refused)?;
            context.output.note("keep it: it cannot be shown again");
            context.output.result(
                || json!({ "name": args.name, "scope": args.scope, "token": token }),
                || token.clone(),
            );
        }
        Command::List => {
            let tokens = store.list().map_err(refused)?;
            context.output.result(
                || {
                    let entry = |token: &purlin_rpc::TokenRecord| -> Value {
                        json!({ "name": token.name, "scope": token.scope, "created_at_ms": token.created_at_ms })
                    };
                    tokens.iter().map(entry).collect()
                },
                || {
                    if tokens.is_empty() {
                        return "there is no token; make one with `purlin token create NAME`".into();
                    }
                    let rows: Vec<Vec<String>> =
                        tokens.iter().map(|token| vec![token.name.clone(), token.scope.to_string()]).collect();
                    table(&["TOKEN", "SCOPE"], &rows)
                },
            );
        }
        Command::Revoke(args) => {
            store.revoke(&args.name).map_err(refused)?;
            context.output.result(
                || json!({ "name": args.name, "revoked": true }),
                || format!("token {} is refused from now on", args.name),
            );
        }
    }
    Ok(())
}

fn home(context: &Context) -> Result<Home, CliError> {
    let homes = context.homes();
    let running = homes.iter().find(|home| std::os::unix::net::UnixStream::connect(home.socket()).is_ok());
    let made = || homes.iter().find(|home| home.genesis().exists());
    running.or_else(made).cloned().ok_or_else(|| {
        CliError::failure(format!("{} is not the home of a node", context.home.display()))
            .hint("make one with `purlin init` or `purlin dev`, or name one with --home")
    })
}

fn refused(error: TokenError) -> CliError {
    let message = error.to_string();
    match error {
        TokenError::NameTaken { .. }
        | TokenError::BadName { .. }
        | TokenError::NotFound { .. }
        | TokenError::TooMany { .. } => {
            CliError::usage(message).hint("`purlin token list` shows what there is")
        }
        TokenError::Malformed { .. } => CliError::failure(message).hint(
            "restore the file, or remove it; without it every token is refused and new ones can be made",
        ),
        TokenError::File { .. } | TokenError::Random { .. } => CliError::failure(message),
    }
}
