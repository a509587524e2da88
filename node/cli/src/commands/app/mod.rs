//! `purlin app`: applications, from an empty folder to a running one.

mod arguments;
mod build;
mod call;
mod events;
mod install;
mod lifecycle;
mod list;
mod new;
mod project;
mod sdk;
mod test;
mod test_host;

use clap::Subcommand;

use crate::context::Context;
use crate::error::CliError;

/// What can be done with applications.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create a folder with a small application, its tests and the SDK
    New(new::Args),
    /// Compile to wasm and pack for installation
    Build(build::Args),
    /// Run the application's tests natively and as wasm
    Test(test::Args),
    /// Install a package; the signer becomes the owner
    Install(install::InstallArgs),
    /// List the installed applications
    List,
    /// Show one application: owner, status, methods
    Info(list::InfoArgs),
    /// Start an installed application; the first start initialises it
    Start(lifecycle::Args),
    /// Stop a running application
    Stop(lifecycle::Args),
    /// Replace an application by a newer version
    Upgrade(install::UpgradeArgs),
    /// Remove a stopped application and all it stored
    Uninstall(lifecycle::Args),
    /// Call a method: purlin app call counter increment --by 2
    Call(call::CallArgs),
    /// Ask without changing anything: purlin app query counter value
    Query(call::QueryArgs),
    /// Print an application's events, oldest first
    Events(events::Args),
    /// Host an application's tests; started by purlin-testing, speaks over standard input and output
    #[command(hide = true)]
    TestHost,
}

/// Runs a command.
pub(crate) fn run(command: Command, context: &Context) -> Result<(), CliError> {
    match command {
        Command::New(args) => new::run(args, context),
        Command::Build(args) => build::run(args, context),
        Command::Test(args) => test::run(args, context),
        Command::Install(args) => install::install(args, context),
        Command::List => list::list(context),
        Command::Info(args) => list::info(args, context),
        Command::Start(args) => lifecycle::start(args, context),
        Command::Stop(args) => lifecycle::stop(args, context),
        Command::Upgrade(args) => install::upgrade(args, context),
        Command::Uninstall(args) => lifecycle::uninstall(args, context),
        Command::Call(args) => call::call(args, context),
        Command::Query(args) => call::query(args, context),
        Command::Events(args) => events::run(args, context),
        Command::TestHost => test_host::run(),
    }
}
