//! `purlin doctor`: looks for what is wrong with a node's home, and changes nothing.

use purlin_service::{Examination, Home, Level, Settings, doctor, recreate_sign_state};
use serde_json::json;

use super::node_args::NodeArgs;
use crate::connection::DEV_FOLDER;
use crate::context::Context;
use crate::error::{Attempt, CliError, ExitKind};

/// Blocks between two notes on a replay's progress.
const PROGRESS_BLOCKS: u64 = 1_000;

/// Arguments of `purlin doctor`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    node: NodeArgs,
    /// Execute every block again and compare with what is stored
    #[arg(long)]
    replay: bool,
    /// Examine the development chain
    #[arg(long)]
    dev: bool,
    /// Write a lost sign state anew from the stored chain. Only when no copy of this node's data signs elsewhere:
    /// two of them could sign two blocks of one height
    #[arg(long, conflicts_with = "replay")]
    recreate_sign_state: bool,
}

/// Examines and prints; an error if something keeps the node from running.
pub(crate) fn run(args: Args, context: &Context) -> Result<(), CliError> {
    let home = if args.dev { Home::new(context.home.join(DEV_FOLDER)) } else { Home::new(&context.home) };
    let settings = args.node.settings(home)?;
    if args.recreate_sign_state {
        return recreate(&settings, context);
    }
    let examination = if args.replay { Examination::Replay } else { Examination::Quick };
    let output = context.output;
    let examine = move || {
        doctor(&settings, examination, |height| {
            if height.get() % PROGRESS_BLOCKS == 0 {
                output.note(format!("replayed up to block {height}"));
            }
        })
    };
    // Guests run on this thread.
    let findings = std::thread::Builder::new()
        .stack_size(purlin_service::thread_stack_bytes())
        .spawn(examine)
        .attempt(|| "start a thread".into())?
        .join()
        .map_err(|_| CliError::failure("the examination panicked; the message is above"))?;
    let level = |level: Level| match level {
        Level::Good => "good",
        Level::Warning => "warning",
        Level::Error => "error",
    };
    context.output.result(
        || {
            let rows = findings.iter().map(|finding| {
                json!({ "check": finding.check, "level": level(finding.level), "message": finding.message })
            });
            json!(rows.collect::<Vec<_>>())
        },
        || {
            let lines = findings.iter().map(|finding| {
                format!("{:<8} {:<10} {}", level(finding.level), finding.check, finding.message)
            });
            lines.collect::<Vec<_>>().join("\n")
        },
    );
    match findings.iter().filter(|finding| finding.level == Level::Error).count() {
        0 => Ok(()),
        count => Err(CliError::new(ExitKind::CheckFailed, format!("{count} of the checks found an error"))
            .hint("each line above says what to do")),
    }
}

fn recreate(settings: &Settings, context: &Context) -> Result<(), CliError> {
    let last = recreate_sign_state(settings)
        .map_err(|error| CliError::failure(error.to_string()).hint("nothing was written"))?;
    context.output.result(
        || json!({ "height": last.height, "signed": last.to_string() }),
        || format!("the sign state says now: signed up to height {}", last.height),
    );
    Ok(())
}
