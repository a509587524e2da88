//! Runs compiled applications in the `purlin` binary, over the test host protocol.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use purlin_abi::AppId;
use purlin_abi::test_host::{PROTOCOL_VERSION, Request, Response, read_frame, write_frame};

/// Names the binary to start; without it, `purlin` is looked for on the path.
pub(crate) const BINARY_VARIABLE: &str = "PURLIN_BIN";
/// Leaves the wasm variant of every test out when it is `1`.
pub(crate) const NATIVE_ONLY_VARIABLE: &str = "PURLIN_TEST_NATIVE_ONLY";
/// How long a host may take to end after its input is closed.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// One running host; it has a chain of its own.
pub(crate) struct TestHost {
    child: Child,
    input: Option<BufWriter<ChildStdin>>,
    output: BufReader<ChildStdout>,
}

impl TestHost {
    /// Starts the binary that the environment names. Panics with what to do when that fails.
    pub(crate) fn start() -> Self {
        Self::run(&env::var_os(BINARY_VARIABLE).unwrap_or_else(|| "purlin".into()))
    }

    /// Starts a binary and agrees on the protocol.
    fn run(binary: &OsStr) -> Self {
        let spawned = Command::new(binary)
            .args(["app", "test-host"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn();
        let mut child = spawned.unwrap_or_else(|error| {
            panic!(
                "cannot run `{} app test-host`: {error}. Run the tests with `purlin app test`, or put `purlin` on \
                 the PATH, or set {BINARY_VARIABLE} to its path; {NATIVE_ONLY_VARIABLE}=1 leaves the wasm tests out",
                Path::new(binary).display()
            )
        });
        let input = child.stdin.take().expect("stdin is piped");
        let output = child.stdout.take().expect("stdout is piped");
        let mut host = Self { child, input: Some(BufWriter::new(input)), output: BufReader::new(output) };
        match host.request(&Request::Hello { version: PROTOCOL_VERSION }) {
            Response::Hello { version: PROTOCOL_VERSION, .. } => host,
            Response::Hello { version, host } => panic!(
                "{host} speaks version {version} of the test host protocol, this purlin-testing version \
                 {PROTOCOL_VERSION}; use the same release of both"
            ),
            other => panic!("the test host greeted with {other:?}"),
        }
    }

    /// Asks and waits for the answer. Panics when the host has gone.
    pub(crate) fn request(&mut self, request: &Request) -> Response {
        let input = self.input.as_mut().expect("the input is open until drop");
        let response = write_frame(input, request).and_then(|()| read_frame(&mut self.output));
        match response {
            Ok(Some(response)) => response,
            Ok(None) => panic!("the test host ended{}; its last words are above", self.status()),
            Err(error) => panic!("cannot talk to the test host{}: {error}", self.status()),
        }
    }

    fn status(&mut self) -> String {
        match self.child.try_wait() {
            Ok(Some(status)) => format!(" ({status})"),
            // Still running, or unknown: nothing to add.
            Ok(None) | Err(_) => String::new(),
        }
    }
}

impl Drop for TestHost {
    fn drop(&mut self) {
        // The end of its input ends the host.
        drop(self.input.take());
        let started = Instant::now();
        while let Ok(None) = self.child.try_wait() {
            if started.elapsed() > END_TIMEOUT {
                eprintln!("the test host did not end within {END_TIMEOUT:?} and was killed");
                // Fails only when it has ended by itself in between.
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Reads the module that `purlin app build` left in an application's folder. Panics with what to do when it is
/// missing or older than the sources.
pub(crate) fn read_module(folder: &Path, app: &AppId) -> Vec<u8> {
    let path = folder.join("target/purlin").join(format!("{app}.wasm"));
    let advice = format!(
        "run `purlin app build` in {} first; {NATIVE_ONLY_VARIABLE}=1 leaves the wasm tests out",
        folder.display()
    );
    let module =
        fs::read(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}; {advice}", path.display()));
    let built = modified(&path);
    let mut sources = vec![folder.join("Cargo.toml"), folder.join("manifest.json")];
    collect_files(&folder.join("src"), &mut sources);
    if let Some(newer) = sources.iter().find(|source| modified(source) > built) {
        panic!("{} is older than {}; {advice}", path.display(), newer.display());
    }
    module
}

fn modified(path: &Path) -> Option<SystemTime> {
    // A file that cannot be looked at is no reason to distrust the module.
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

fn collect_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect_files(&path, files);
        } else {
            files.push(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes an application's folder; `steps` are written in order, a moment apart.
    fn folder(name: &str, steps: &[&str]) -> PathBuf {
        let folder = env::temp_dir().join(format!("purlin-testing-{}-{name}", std::process::id()));
        for step in steps {
            let path = folder.join(step);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, step).unwrap();
            thread::sleep(Duration::from_millis(20));
        }
        folder
    }

    fn read(folder: &Path) -> Vec<u8> {
        read_module(folder, &"token".parse().unwrap())
    }

    #[test]
    fn a_fresh_module_is_read() {
        let folder = folder("fresh", &["src/lib.rs", "manifest.json", "target/purlin/token.wasm"]);
        assert_eq!(read(&folder), b"target/purlin/token.wasm");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    #[should_panic(expected = "run `purlin app build`")]
    fn a_missing_module_is_no_silent_pass() {
        read(&env::temp_dir().join("purlin-testing-nothing"));
    }

    #[test]
    #[should_panic(expected = "deeper.rs; run `purlin app build`")]
    fn a_module_older_than_its_sources_is_no_silent_pass() {
        let folder = folder("stale", &["src/lib.rs", "target/purlin/token.wasm", "src/deep/deeper.rs"]);
        read(&folder);
    }

    #[test]
    #[should_panic(expected = "PURLIN_TEST_NATIVE_ONLY=1 leaves the wasm tests out")]
    fn a_missing_binary_is_no_silent_pass() {
        TestHost::run(OsStr::new("purlin-that-is-not-there"));
    }

    #[test]
    #[should_panic(expected = "test host")]
    fn a_binary_that_is_no_host_is_told() {
        TestHost::run(OsStr::new("true"));
    }
}
