//! `purlin run`, and what it shares with `purlin dev`.

use purlin_rpc::BindError;
use purlin_service::{Home, LogFormat, Node, Settings, StartError, StopReason};
use std::io::Write;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::node_args::NodeArgs;
use crate::connection::ask_passphrase;
use crate::context::Context;
use crate::error::{Attempt, CliError, ExitKind};

/// Arguments of `purlin run`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    node: NodeArgs,
    /// File with the validator key's passphrase; PURLIN_PASSPHRASE and the terminal are asked otherwise
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<std::path::PathBuf>,
}

/// Runs the node of the home folder until it is told to stop.
pub(crate) fn run(args: Args, context: &Context) -> Result<(), CliError> {
    let settings = args.node.settings(Home::new(&context.home))?;
    serve(&settings, args.passphrase_file.as_deref(), context, |_| String::new())
}

/// Runs a node until SIGINT or SIGTERM; `greeting` is printed once it answers.
pub(crate) fn serve(
    settings: &Settings,
    passphrase_file: Option<&std::path::Path>,
    context: &Context,
    greeting: impl FnOnce(&Node) -> String,
) -> Result<(), CliError> {
    start_log(settings)?;
    let given = crate::connection::read_passphrase_file(passphrase_file)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_stack_size(purlin_service::thread_stack_bytes())
        .build()
        .attempt(|| "start the asynchronous runtime".into())?;
    let reason = runtime.block_on(async {
        // Before the start, so that a signal during it is not lost.
        let mut interrupt = signal(SignalKind::interrupt()).attempt(|| "listen for SIGINT".into())?;
        let mut terminate = signal(SignalKind::terminate()).attempt(|| "listen for SIGTERM".into())?;
        let passphrase = |name: &_| given.or_else(|| ask_passphrase(&format!("passphrase of {name}: ")));
        // Joining a chain by snapshot takes as long as it takes.
        let node = tokio::select! {
            node = Node::start(settings, passphrase) => node.map_err(start_error)?,
            _ = interrupt.recv() => return Ok(StopReason::Requested),
            _ = terminate.recv() => return Ok(StopReason::Requested),
        };
        announce(&node, settings, context);
        context.output.note(greeting(&node));
        tokio::select! {
            reason = node.stopped() => return Ok::<_, CliError>(reason),
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        context.output.note("stopping");
        Ok(node.shutdown().await)
    })?;
    match reason {
        StopReason::Requested => Ok(()),
        StopReason::Failed(reason) => Err(CliError::failure(format!("the node stopped: {reason}"))
            .hint("nothing that was acknowledged is lost; remove the cause and start it again")),
    }
}

/// Says where the node listens: one JSON line with `--json`, so that programs can wait for it.
fn announce(node: &Node, settings: &Settings, context: &Context) {
    let api = node.api_address().map(|address| format!("http://{address}"));
    let socket = node.api_socket().map(|path| path.display().to_string());
    let (peer_id, network) = (node.peer_id(), node.network_addresses());
    context.output.result(
        || {
            serde_json::json!({
                "ready": true, "home": settings.home.root(), "api": api, "socket": socket, "peer_id": peer_id,
                "network": network, "pid": std::process::id()
            })
        },
        || {
            let mut lines = vec![format!("the node is running, home {}", settings.home.root().display())];
            lines.extend(api.iter().map(|api| format!("  api     {api}")));
            lines.extend(socket.iter().map(|socket| format!("  socket  {socket}")));
            lines.extend(peer_id.iter().map(|id| format!("  peer    {id}")));
            lines.extend(network.iter().map(|address| format!("  listen  {address}")));
            lines.join("\n")
        },
    );
    let _ = std::io::stdout().flush();
}

/// Libraries that say at `info` or `warn` what only their authors need: every vote, every repeated message. Who wants
/// it names them in `log.filter`, which comes after this.
const LOG_QUIET: &str = "arc_malachitebft_core_consensus=warn,libp2p_gossipsub=error";

fn start_log(settings: &Settings) -> Result<(), CliError> {
    let filter = EnvFilter::try_new(format!("{LOG_QUIET},{}", settings.log_filter)).map_err(|error| {
        CliError::usage(format!("`log.filter` is {:?}: {error}", settings.log_filter))
            .hint("for example: info, or warn,purlin_service=debug")
    })?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match settings.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}

fn start_error(error: StartError) -> CliError {
    let hint = match &error {
        StartError::Bind(BindError::PortInUse { .. } | BindError::Tcp { .. }) => {
            "another program may use the port: choose one with --api 127.0.0.1:PORT, or 127.0.0.1:0 for any"
        }
        StartError::Bind(BindError::NotLoopback { .. }) => {
            "choose an address of this machine: --api 127.0.0.1:PORT"
        }
        StartError::Bind(BindError::SocketInUse { .. }) => "`purlin status` asks the node that runs there",
        StartError::Bind(BindError::Tokens(_)) => {
            "repair the file, or move it away and make tokens again with `purlin token create`"
        }
        StartError::Bind(_) => "choose another home with --home DIR",
        StartError::Genesis(_) => {
            "make a node's home with `purlin init`, or a development chain with `purlin dev`"
        }
        StartError::Keystore(error) => return crate::connection::key_error_ref(error),
        _ => {
            return CliError::new(ExitKind::Failure, format!("the node does not start: {error}"))
                .hint("`purlin doctor` looks for the cause");
        }
    };
    CliError::failure(format!("the node does not start: {error}")).hint(hint)
}
