//! A node in a temporary folder, and the `purlin` program that talks to it.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::command::capture;

/// How long a node may take to answer after its start.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a node may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// The `purlin` program with a home folder of its own.
#[derive(Debug, Clone)]
pub(crate) struct Purlin {
    program: PathBuf,
    home: PathBuf,
    /// Words before the program when a node is started: a network namespace, say.
    launcher: Vec<String>,
    /// Settings of a node, as environment variables.
    environment: Vec<(String, String)>,
}

impl Purlin {
    /// Uses `program` with `home`.
    pub(crate) fn new(program: PathBuf, home: PathBuf) -> Self {
        Self { program, home, launcher: Vec::new(), environment: Vec::new() }
    }

    /// Has nodes started by `launcher`, which must become the program instead of running it beside itself.
    pub(crate) fn launch_with(&mut self, launcher: Vec<String>) {
        self.launcher = launcher;
    }

    /// Gives nodes another setting than their file: `PURLIN_NETWORK_LISTEN` for `network.listen`.
    pub(crate) fn set(&mut self, variable: &str, value: impl Into<String>) {
        self.environment.push((variable.to_owned(), value.into()));
    }

    /// The home folder.
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// Prepares a command.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.prepare(Command::new(&self.program), arguments)
    }

    fn prepare(&self, mut command: Command, arguments: &[&str]) -> Command {
        command.args(arguments).env("PURLIN_HOME", &self.home);
        for variable in ["PURLIN_NODE", "PURLIN_TOKEN", "PURLIN_FROM"] {
            command.env_remove(variable);
        }
        command
    }

    /// Runs a command and returns what it printed.
    pub(crate) fn output(&self, arguments: &[&str]) -> Result<String> {
        capture(self.command(arguments))
    }

    /// Runs a command with `--json` and returns the value.
    pub(crate) fn json(&self, arguments: &[&str]) -> Result<serde_json::Value> {
        let text = capture({
            let mut command = self.command(arguments);
            command.arg("--json");
            command
        })?;
        serde_json::from_str(&text)
            .with_context(|| format!("purlin {} printed no JSON: {text}", arguments.join(" ")))
    }

    /// Starts a node with `arguments` and waits until it answers; its log goes to `log`.
    pub(crate) fn start(&self, arguments: &[&str], log: &Path) -> Result<RunningNode> {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(log)?;
        let mut words = self.launcher.iter().map(std::ffi::OsStr::new).chain([self.program.as_os_str()]);
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).envs(self.environment.iter().map(|(name, value)| (name, value)));
        let child = self
            .prepare(command, arguments)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .context("could not start the node")?;
        let mut node = RunningNode { child: Some(child) };
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if let Some(status) = node.child.as_mut().and_then(|child| child.try_wait().ok().flatten()) {
                bail!("the node ended at its start ({status}):\n{}", std::fs::read_to_string(log)?);
            }
            if self.output(&["status", "--json"]).is_ok() {
                return Ok(node);
            }
            if Instant::now() > deadline {
                bail!("the node did not answer in {START_TIMEOUT:?}:\n{}", std::fs::read_to_string(log)?);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// A node's process; killed when dropped, so that nothing is left running.
#[derive(Debug)]
pub(crate) struct RunningNode {
    child: Option<Child>,
}

impl RunningNode {
    /// Process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Asks the node to stop, as a service manager would, and waits.
    pub(crate) fn stop(mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        let mut kill = Command::new("kill");
        kill.args(["-TERM", &child.id().to_string()]);
        crate::command::run(kill)?;
        let deadline = Instant::now() + STOP_TIMEOUT;
        loop {
            if let Some(status) = child.try_wait()? {
                if status.success() {
                    return Ok(());
                }
                bail!("the node stopped with {status}");
            }
            if Instant::now() > deadline {
                child.kill()?;
                child.wait()?;
                bail!("the node did not stop in {STOP_TIMEOUT:?} and was killed");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Kills the process the way a power cut would, and waits for its end.
    pub(crate) fn kill(mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Leaves the process running after this program ends.
    pub(crate) fn leave_running(mut self) {
        self.child = None;
    }
}

impl Drop for RunningNode {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Already on the way out with an error; there is nobody to tell of another.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
