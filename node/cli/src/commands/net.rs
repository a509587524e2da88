//! `purlin net`: networks of several nodes on this machine.

use clap::{Subcommand, ValueEnum};
use purlin_primitives::ChainId;
use purlin_service::{LocalEngine, LocalNetwork, LocalNetworkError, LocalNode, local_network};
use serde_json::json;
use std::path::{Path, PathBuf};

use super::dev::now;
use crate::context::Context;
use crate::error::{Attempt, CliError, ExitKind};

/// What can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write the folders of a local network for development, and print the commands that run it
    New(NewArgs),
}

/// How a network agrees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EngineName {
    /// Proof of stake: validators vote, a committed block is final
    Pos,
    /// Proof of work: the heaviest chain; a block is final with enough blocks on top
    Pow,
}

impl From<EngineName> for LocalEngine {
    fn from(name: EngineName) -> Self {
        match name {
            EngineName::Pos => Self::Pos,
            EngineName::Pow => Self::Pow,
        }
    }
}

/// Arguments of `purlin net new`.
#[derive(Debug, clap::Args)]
pub(crate) struct NewArgs {
    /// Folder to make; gets node1, node2 and so on
    #[arg(default_value = "net")]
    folder: PathBuf,
    /// How many nodes, all of them validators of equal power, or miners
    #[arg(long, value_name = "COUNT")]
    validators: u16,
    /// Name of the chain; starts with dev, since the keys are public knowledge
    #[arg(long, value_name = "NAME", default_value = "dev-net")]
    chain_id: ChainId,
    /// Node i listens for peers on this port plus i, and its API on 100 more
    #[arg(long, value_name = "PORT", default_value_t = 7500)]
    base_port: u16,
    /// How they agree
    #[arg(long, value_enum, default_value = "pos")]
    engine: EngineName,
}

/// Runs a command.
pub(crate) fn run(command: Command, context: &Context) -> Result<(), CliError> {
    match command {
        Command::New(args) => new(args, context),
    }
}

fn new(args: NewArgs, context: &Context) -> Result<(), CliError> {
    // The printed commands work from any folder.
    let folder = std::path::absolute(&args.folder).attempt(|| format!("find {}", args.folder.display()))?;
    let network = LocalNetwork {
        folder,
        chain_id: args.chain_id,
        engine: args.engine.into(),
        validators: args.validators,
        base_port: args.base_port,
        time: now()?,
    };
    let (genesis, nodes) = local_network(&network).map_err(network_error)?;
    let steps = steps(&nodes, args.engine);
    let members = match args.engine {
        EngineName::Pos => "validators",
        EngineName::Pow => "miners",
    };
    context.output.result(
        || {
            let list = |node: &LocalNode| json!({ "home": node.home.root(), "address": node.address, "api": format!("http://{}", node.api) });
            json!({
                "chain_id": genesis.chain_id, "genesis_id": genesis.id(), "folder": network.folder,
                "nodes": nodes.iter().map(list).collect::<Vec<_>>(),
                "next": steps.iter().flat_map(|step| &step.commands).collect::<Vec<_>>(),
            })
        },
        || {
            let mut lines = vec![
                format!("{} {members} of chain {} are ready in {}", nodes.len(), genesis.chain_id, network.folder.display()),
                format!("genesis {}", genesis.id()),
            ];
            for step in &steps {
                lines.push(String::new());
                lines.push(format!("{}:", step.what));
                lines.extend(step.commands.iter().map(|command| format!("  {command}")));
            }
            lines.join("\n")
        },
    );
    Ok(())
}

/// Something to do next.
struct Step {
    what: &'static str,
    commands: Vec<String>,
}

/// What to type, from the first start to an application that all nodes share.
fn steps(nodes: &[LocalNode], engine: EngineName) -> Vec<Step> {
    let homes: Vec<String> = nodes.iter().map(|node| shell_word(node.home.root())).collect();
    let (first, last) = (&homes[0], &homes[homes.len() - 1]);
    let mut looks =
        vec![format!("purlin status --wait --home {first}"), format!("purlin peers --home {first}")];
    if engine == EngineName::Pos {
        looks.push(format!("purlin validator status --home {first}"));
    }
    vec![
        Step {
            what: "run each node, in a terminal of its own",
            commands: homes.iter().map(|home| format!("purlin run --home {home}")).collect(),
        },
        Step { what: "see how they are", commands: looks },
        Step {
            what: "install an application on one, call it there, and ask another",
            commands: vec![
                "purlin app new hello && cd hello && purlin app build".into(),
                format!("purlin app install --home {first}"),
                format!("purlin app call hello greet --name Ada --home {first}"),
                format!("purlin app query hello greetings --home {last}"),
            ],
        },
    ]
}

/// Quotes a path where a shell would take it apart.
fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+=@%:,".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

fn network_error(error: LocalNetworkError) -> CliError {
    let (kind, hint) = match &error {
        LocalNetworkError::PortTaken { .. } => {
            (ExitKind::Failure, "choose other ports with --base-port PORT; nothing was written")
        }
        LocalNetworkError::Ports { .. } => (ExitKind::Usage, "choose a lower --base-port"),
        LocalNetworkError::Validators { .. } => (ExitKind::Usage, "choose another --validators"),
        LocalNetworkError::NotDevelopment { .. } => (
            ExitKind::Usage,
            "choose a --chain-id that starts with dev; `purlin init` makes a node of a real chain",
        ),
        LocalNetworkError::Exists { .. } => {
            (ExitKind::Failure, "use another folder, or remove this one; nothing was overwritten")
        }
        LocalNetworkError::Init(_) | LocalNetworkError::Network(_) => {
            (ExitKind::Failure, "remove the folder and try again")
        }
    };
    CliError::new(kind, error.to_string()).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_survive_a_shell() {
        assert_eq!(shell_word(Path::new("/tmp/net-1/node1")), "/tmp/net-1/node1");
        assert_eq!(shell_word(Path::new("/tmp/my net's")), r"'/tmp/my net'\''s'");
    }
}
