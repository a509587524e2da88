//! `purlin dev`: a chain of one's own, with funded keys and instant blocks.

use purlin_primitives::TimestampMs;
use purlin_service::{DEVELOPMENT_ACCOUNTS, Home, NewChain, Protection, development_key, init_home};
use std::time::{SystemTime, UNIX_EPOCH};

use super::node_args::NodeArgs;
use super::run::serve;
use crate::connection::DEV_FOLDER;
use crate::context::Context;
use crate::error::{Attempt, CliError};

/// Key that makes the blocks of a development chain; public knowledge like the others.
const VALIDATOR_SEED: &str = "validator";
const CHAIN_ID: &str = "dev";

/// Arguments of `purlin dev`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    node: NodeArgs,
    /// Forget the chain of last time and start a new one
    #[arg(long)]
    reset: bool,
}

/// Makes the chain at the first start, then runs it.
pub(crate) fn run(args: Args, context: &Context) -> Result<(), CliError> {
    let home = Home::new(context.home.join(DEV_FOLDER));
    if args.reset && home.root().exists() {
        // Held until the folder is gone, so that no running node loses its files.
        let lock = home
            .lock()
            .map_err(|error| CliError::failure(error.to_string()).hint("stop the running node first"))?;
        std::fs::remove_dir_all(home.root()).attempt(|| format!("remove {}", home.root().display()))?;
        drop(lock);
    }
    if !home.genesis().exists() {
        let chain_id = CHAIN_ID.parse().expect("the literal is a chain id");
        let chain = NewChain::development(chain_id, now()?);
        init_home(&home, &chain, &development_key(VALIDATOR_SEED), Protection::Development(&chain.chain_id))
            .map_err(|error| {
                CliError::failure(error.to_string()).hint("start over with: purlin dev --reset")
            })?;
    }
    let settings = args.node.settings(home)?;
    serve(&settings, None, context, |_| {
        let mut lines = vec!["funded keys, use them with --from:".to_string()];
        for name in DEVELOPMENT_ACCOUNTS {
            lines.push(format!("  {name:<6} {}", development_key(name).public_key().account_id()));
        }
        lines.push(
            "try: purlin status, or purlin app new hello. Ctrl-C stops the node; its data stays.".into(),
        );
        lines.join("\n")
    })
}

/// Milliseconds since 1970; a genesis is not before it.
pub(crate) fn now() -> Result<TimestampMs, CliError> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).attempt(|| "read the clock".into())?;
    u64::try_from(since.as_millis()).map(TimestampMs::new).attempt(|| "read the clock".into())
}
