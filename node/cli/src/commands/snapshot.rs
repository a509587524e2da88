//! `purlin snapshot`: the state of a block in a file.

use purlin_primitives::Height;
use purlin_service::{Checkpoint, Home, SnapshotError, SnapshotSummary, create_snapshot, restore_snapshot};
use serde_json::json;
use std::path::PathBuf;

use super::node_args::NodeArgs;
use crate::context::Context;
use crate::error::{Attempt, CliError};
use crate::output::Output;

/// Thousandths between two lines about progress.
const NOTE_PERMILLE: u32 = 100;

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Write the state of a block to a file, with proofs and signatures
    Create(CreateArgs),
    /// Begin the chain of a fresh home with a file from somebody else; every byte of it is checked
    Restore(RestoreArgs),
}

/// Arguments of `purlin snapshot create`.
#[derive(Debug, clap::Args)]
pub(crate) struct CreateArgs {
    #[command(flatten)]
    node: NodeArgs,
    /// File to write; must not exist
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// Block after which the state was so: the last 256 while the node is stopped, one that it serves while it runs
    /// [default: the newest]
    #[arg(long, value_name = "HEIGHT")]
    height: Option<u64>,
}

/// Arguments of `purlin snapshot restore`.
#[derive(Debug, clap::Args)]
pub(crate) struct RestoreArgs {
    #[command(flatten)]
    node: NodeArgs,
    /// File that `purlin snapshot create` wrote
    #[arg(value_name = "FILE")]
    from: PathBuf,
    /// A recent block that you trust, as `purlin status` prints it on another node; needed when the snapshot is further
    /// from the genesis than the unbonding period
    #[arg(long, value_name = "HEIGHT:BLOCKID")]
    checkpoint: Option<Checkpoint>,
}

/// Makes or restores a snapshot.
pub(crate) fn run(command: Command, context: &Context) -> Result<(), CliError> {
    let home = Home::new(&context.home);
    let output = context.output;
    match command {
        Command::Create(args) => {
            let settings = args.node.settings(home)?;
            let to = args.to.clone();
            let height = args.height.map(Height::new);
            let made = on_guest_stack(move || create_snapshot(&settings, &to, height, notes(output)))?;
            report(&made, "state of block", "is in", &args.to, output);
        }
        Command::Restore(args) => {
            let settings = args.node.settings(home)?;
            let (from, checkpoint) = (args.from.clone(), args.checkpoint);
            let restored =
                on_guest_stack(move || restore_snapshot(&settings, &from, checkpoint, notes(output)))?;
            report(&restored, "the chain begins with the state of block", "from", &args.from, output);
        }
    }
    Ok(())
}

/// Opening a chain may run guests.
fn on_guest_stack(
    work: impl FnOnce() -> Result<SnapshotSummary, SnapshotError> + Send + 'static,
) -> Result<SnapshotSummary, CliError> {
    std::thread::Builder::new()
        .stack_size(purlin_service::thread_stack_bytes())
        .spawn(work)
        .attempt(|| "start a thread".into())?
        .join()
        .map_err(|_| CliError::failure("it panicked; the message is above"))?
        .map_err(|error| {
            let hint = match &error {
                SnapshotError::Genesis(_) => {
                    "make the home first, with the chain's genesis: purlin init --genesis FILE"
                }
                SnapshotError::NotEmpty { .. } | SnapshotError::Lock(_) => {
                    "a snapshot is restored into a home that has no chain, while its node is stopped"
                }
                _ => "nothing was left behind",
            };
            CliError::failure(error.to_string()).hint(hint)
        })
}

fn notes(output: Output) -> impl FnMut(u32) {
    let mut noted = 0;
    move |permille| {
        if permille >= noted + NOTE_PERMILLE {
            noted = permille;
            output.note(format!("{} %", permille / 10));
        }
    }
}

fn report(summary: &SnapshotSummary, what: &str, where_: &str, file: &std::path::Path, output: Output) {
    output.result(
        || {
            json!({
                "file": file, "height": summary.height, "block_id": summary.block,
                "checkpoint": summary.checkpoint.to_string(), "state_root": summary.state_root,
                "entries": summary.entries, "bytes": summary.bytes
            })
        },
        || {
            format!(
                "{what} {} {where_} {}\n  block       {}\n  state root  {}\n  checkpoint  {}\n  size        {} bytes",
                summary.height,
                file.display(),
                summary.block,
                summary.state_root,
                summary.checkpoint,
                summary.bytes
            )
        },
    );
}
