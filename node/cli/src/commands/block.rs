//! `purlin block`: what the chain is made of.

use clap::Subcommand;
use purlin_primitives::Height;
use serde_json::json;

use crate::context::Context;
use crate::error::CliError;
use crate::output::table;

/// Most blocks that the node returns at once.
const PAGE: u32 = 100;

/// What can be done with blocks.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show a block
    Show(ShowArgs),
    /// List blocks, newest first
    List(ListArgs),
}

/// Arguments of `purlin block show`.
#[derive(Debug, clap::Args)]
pub(crate) struct ShowArgs {
    /// Height, id, or `latest`
    #[arg(default_value = "latest")]
    block: String,
}

/// Arguments of `purlin block list`.
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// At most so many
    #[arg(long, default_value_t = 20)]
    limit: u32,
    /// Only below this height
    #[arg(long, value_name = "HEIGHT")]
    before: Option<u64>,
}

/// Runs a command.
pub(crate) fn run(command: Command, context: &Context) -> Result<(), CliError> {
    match command {
        Command::Show(args) => show(&args, context),
        Command::List(args) => list(&args, context),
    }
}

fn show(args: &ShowArgs, context: &Context) -> Result<(), CliError> {
    let connection = context.connect()?;
    let block = connection.run(connection.client.block(&args.block))?;
    context.output.result(
        || json!(block),
        || {
            let header = &block.header;
            let signers: Vec<String> = block.signers.iter().map(ToString::to_string).collect();
            let mut lines = vec![
                format!("block              {}", block.id),
                format!("height             {}", header.height),
                format!("time               {} ms since 1970", header.time),
                format!("parent             {}", header.parent),
                format!("proposer           {}", header.proposer),
                format!("signed by          {}", signers.join(", ")),
                format!("state root before  {}", header.state_root),
                format!("gas used           {}", block.gas_used),
                format!("events             {}", block.events),
                format!("transactions       {}", block.transactions.len()),
            ];
            lines.extend(block.transactions.iter().map(|transaction| {
                let outcome = if transaction.succeeded { "succeeded" } else { "failed" };
                format!("  {} {} {outcome}", transaction.id, transaction.sender)
            }));
            lines.join("\n")
        },
    );
    Ok(())
}

fn list(args: &ListArgs, context: &Context) -> Result<(), CliError> {
    let connection = context.connect()?;
    let mut blocks = Vec::new();
    let mut before = args.before.map(Height::new);
    while (blocks.len() as u64) < u64::from(args.limit) {
        let missing = args.limit - blocks.len() as u32;
        let page = connection.run(connection.client.blocks(before, Some(missing.min(PAGE))))?;
        blocks.extend(page.blocks);
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    context.output.result(
        || json!(blocks),
        || {
            if blocks.is_empty() {
                return "there is no block yet, only the genesis".into();
            }
            let rows: Vec<Vec<String>> = blocks
                .iter()
                .map(|block| {
                    let (transactions, events) = (block.transactions.to_string(), block.events.to_string());
                    vec![block.height.to_string(), block.id.to_string(), transactions, events]
                })
                .collect();
            table(&["HEIGHT", "BLOCK", "TRANSACTIONS", "EVENTS"], &rows)
        },
    );
    Ok(())
}
