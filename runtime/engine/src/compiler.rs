//! Compiles modules on one thread of its own, with a deadline.

use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use purlin_abi::Hash32;
use wasmtime::{Engine, Module};

use crate::EngineFault;
use crate::metering::{Metered, meter};

/// Stack of the compiler: deeply nested wasm recurses in the code generator.
const STACK_BYTES: usize = 32 * 1024 * 1024;
/// Modules that wait for the compiler; more make their senders wait.
const QUEUE_MODULES_MAX: usize = 16;

/// Compiled code, and the name of the export that meters its stack.
pub(crate) struct Compiled {
    pub(crate) module: Module,
    pub(crate) stack_export: String,
}

struct Job {
    wasm: Vec<u8>,
    reply: SyncSender<Result<Compiled, String>>,
}

/// The compiler thread; ends when this is dropped.
pub(crate) struct Compiler {
    jobs: SyncSender<Job>,
    timeout: Duration,
}

impl Compiler {
    pub(crate) fn start(engine: Engine, timeout: Duration) -> Result<Self, EngineFault> {
        Self::with(move |wasm| compile(&engine, wasm), timeout)
    }

    fn with(
        compile: impl Fn(&[u8]) -> Result<Compiled, String> + Send + 'static,
        timeout: Duration,
    ) -> Result<Self, EngineFault> {
        let (jobs, queue) = sync_channel::<Job>(QUEUE_MODULES_MAX);
        std::thread::Builder::new()
            .name("purlin-compile".into())
            .stack_size(STACK_BYTES)
            .spawn(move || {
                while let Ok(Job { wasm, reply }) = queue.recv() {
                    // Nobody listens any more after a timeout.
                    let _ = reply.send(compile(&wasm));
                }
            })
            .map_err(|source| EngineFault::Thread { source })?;
        Ok(Self { jobs, timeout })
    }

    /// Compiles a module.
    pub(crate) fn compile(&self, code: &Hash32, wasm: Vec<u8>) -> Result<Compiled, EngineFault> {
        let (reply, answer) = sync_channel(1);
        let gone = || EngineFault::Internal { reason: "the compiler thread ended".into() };
        self.jobs.send(Job { wasm, reply }).map_err(|_| gone())?;
        match answer.recv_timeout(self.timeout) {
            Ok(result) => result.map_err(|reason| EngineFault::Compile { code: *code, reason }),
            Err(RecvTimeoutError::Timeout) => {
                Err(EngineFault::CompileTimeout { code: *code, limit: self.timeout })
            }
            Err(RecvTimeoutError::Disconnected) => Err(gone()),
        }
    }
}

fn compile(engine: &Engine, wasm: &[u8]) -> Result<Compiled, String> {
    let Metered { wasm, export } = meter(wasm)?;
    let module = Module::from_binary(engine, &wasm).map_err(|error| format!("{error:#}"))?;
    Ok(Compiled { module, stack_export: export })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn compiling_has_a_deadline() {
        let (finish, finished) = channel::<()>();
        let slow = move |_: &[u8]| {
            // Ends with an error as well, when the test is over.
            let _ = finished.recv();
            Err("too late to matter".to_owned())
        };
        let limit = Duration::from_millis(1);
        let compiler = Compiler::with(slow, limit).unwrap();
        let fault = compiler.compile(&Hash32::ZERO, Vec::new()).err().unwrap();
        assert!(matches!(fault, EngineFault::CompileTimeout { limit: told, .. } if told == limit), "{fault}");
        drop(finish);
    }
}
