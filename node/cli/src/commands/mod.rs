//! One module per verb.

pub(crate) mod app;
pub(crate) mod block;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod dev;
pub(crate) mod device;
pub(crate) mod doctor;
pub(crate) mod init;
pub(crate) mod key;
pub(crate) mod net;
mod node_args;
pub(crate) mod peers;
pub(crate) mod run;
pub(crate) mod snapshot;
pub(crate) mod state;
pub(crate) mod status;
pub(crate) mod token;
pub(crate) mod tx;
pub(crate) mod validator;

use crate::args::Command;
use crate::context::Context;
use crate::error::CliError;

/// Runs a command.
pub(crate) fn dispatch(command: Command, context: &Context) -> Result<(), CliError> {
    match command {
        Command::Init(args) => init::run(args, context),
        Command::Run(args) => run::run(args, context),
        Command::Dev(args) => dev::run(args, context),
        Command::Config(command) => config::run(command, context),
        Command::Snapshot(command) => snapshot::run(command, context),
        Command::Doctor(args) => doctor::run(args, context),
        Command::Status(args) => status::run(&args, context),
        Command::Peers => peers::run(context),
        Command::Validator(command) => validator::run(command, context),
        Command::Net(command) => net::run(command, context),
        Command::App(command) => app::run(command, context),
        Command::Device(command) => device::run(command, context),
        Command::State(command) => state::run(command, context),
        Command::Tx(command) => tx::run(command, context),
        Command::Block(command) => block::run(command, context),
        Command::Key(command) => key::run(command, context),
        Command::Token(command) => token::run(command, context),
        Command::Completions(args) => {
            completions::run(&args);
            Ok(())
        }
    }
}
