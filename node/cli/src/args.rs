//! The command line's shape. Help, completions and documents come from here.

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

use crate::commands;

/// Runs and talks to a Purlin node: a host for smart-contract applications that share devices and data.
#[derive(Debug, Parser)]
#[command(
    name = "purlin",
    version,
    propagate_version = true,
    after_help = "Start here:  purlin dev            (a local chain with funded keys)\n             purlin app new hello  (an application to build on)\n\n\
                  Exit codes: 0 done, 1 failed on this machine, 2 wrong usage, 3 no node answered,\n            4 refused by the node or an application, 5 a check found a problem."
)]
pub(crate) struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub(crate) global: Global,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Folder of the node: configuration, keys, data [default: ~/.purlin]
    #[arg(long, global = true, value_name = "DIR", env = "PURLIN_HOME", hide_env_values = true)]
    pub(crate) home: Option<PathBuf>,
    /// Node to talk to: unix:PATH or http://HOST:PORT [default: the one in the home folder]
    #[arg(long, global = true, value_name = "ADDRESS", env = "PURLIN_NODE", hide_env_values = true)]
    pub(crate) node: Option<String>,
    /// Access token for an http node
    #[arg(long, global = true, value_name = "TOKEN", env = "PURLIN_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// Print one JSON value instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Say nothing but results and errors
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a node's home, with a chain of its own or for one that exists
    Init(commands::init::Args),
    /// Run the node of the home folder
    Run(commands::run::Args),
    /// Run a chain for development: funded keys, instant blocks, kept in the folder `dev` of the home
    Dev(commands::dev::Args),
    /// Show and change settings
    #[command(subcommand)]
    Config(commands::config::Command),
    /// Write the state of a block to a file, and begin a node with such a file
    #[command(subcommand)]
    Snapshot(commands::snapshot::Command),
    /// Look for what is wrong with a node's home
    Doctor(commands::doctor::Args),
    /// Say how the node is: height, state root, peers, progress, what waits
    Status(commands::status::Args),
    /// List the nodes that are connected to this one
    Peers,
    /// Show who decides; put units at stake, take them out, return from jail
    #[command(subcommand)]
    Validator(commands::validator::Command),
    /// Make networks of several nodes on this machine
    #[command(subcommand)]
    Net(commands::net::Command),
    /// Create, build, install and call applications
    #[command(subcommand)]
    App(commands::app::Command),
    /// Register devices and look them up
    #[command(subcommand)]
    Device(commands::device::Command),
    /// Show what an application stores, prove it, and check proofs
    #[command(subcommand)]
    State(commands::state::Command),
    /// Show and send transactions
    #[command(subcommand)]
    Tx(commands::tx::Command),
    /// Show blocks
    #[command(subcommand)]
    Block(commands::block::Command),
    /// Make and show the keys that sign
    #[command(subcommand)]
    Key(commands::key::Command),
    /// Make and revoke tokens of the HTTP API
    #[command(subcommand)]
    Token(commands::token::Command),
    /// Print a completion script for a shell
    Completions(commands::completions::Args),
}
