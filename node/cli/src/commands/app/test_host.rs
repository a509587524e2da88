//! `purlin app test-host`: the wasm half of an application's tests.

use purlin_capabilities::RuntimeConfig;
use purlin_execution::TestHost;

use crate::error::{Attempt, CliError};

/// Serves requests from standard input until it ends.
pub(crate) fn run() -> Result<(), CliError> {
    let config = RuntimeConfig::default();
    let serve = move || {
        let name = format!("purlin {}", env!("CARGO_PKG_VERSION"));
        let mut host = TestHost::new(&config, name).attempt(|| "start the wasm engine".into())?;
        host.serve(std::io::stdin().lock(), std::io::stdout().lock()).attempt(|| "talk to the test".into())
    };
    let thread = std::thread::Builder::new()
        .name("test-host".into())
        .stack_size(RuntimeConfig::thread_stack_bytes())
        .spawn(serve)
        .attempt(|| "start a thread".into())?;
    thread.join().map_err(|_| CliError::failure("the test host panicked; the message is above"))?
}
