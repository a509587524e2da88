//! `cargo xtask demo`: the whole journey on a temporary node, told as a tour.

use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::command::{self, build, root};
use crate::node::{Purlin, RunningNode};
use crate::setup;
use crate::test::APPS;

/// Readings of the example data, beside the repository's own files.
const READINGS: &str = "examples/data/machine_temperature_system_failure.csv";
const WINDOWS: &str = "examples/data/machine_temperature_windows.json";
const MACHINE: &str = "machine-1";

/// Arguments of `cargo xtask demo`.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Use the programs in this folder instead of building them
    #[arg(long, value_name = "DIR")]
    binaries: Option<PathBuf>,
    /// Leave the node running at the end, and say how to talk to it
    #[arg(long)]
    keep: bool,
}

/// Builds what is needed and runs the tour.
pub(crate) fn run(args: &Args) -> Result<()> {
    chapter("Setting up");
    say("The first build compiles RocksDB and wasmtime, which takes a while; later ones do not.");
    let binaries = match &args.binaries {
        Some(folder) => folder.clone(),
        None => {
            setup::ensure()?;
            build(&["purlin-cli", "client-stream-readings"])?
        }
    };
    tour(args, binaries)
}

/// Runs the tour with programs that are built.
pub(crate) fn tour(args: &Args, binaries: PathBuf) -> Result<()> {
    let start = Instant::now();
    let folder = tempfile::Builder::new().prefix("purlin-demo-").tempdir()?;
    let mut tour = Tour::start(binaries, folder.path())?;
    tour.install_apps()?;
    tour.call_counter()?;
    tour.watch_machine()?;
    tour.move_tokens()?;
    tour.restart()?;
    tour.prove()?;

    chapter("What to try next");
    if args.keep {
        let home = folder.keep();
        let node = tour.node.take().context("the node is running")?;
        say(&format!("The node runs on, process {}, home {}. Talk to it:", node.id(), home.display()));
        say(&format!("  export PURLIN_HOME={} PATH=\"{}:$PATH\"", home.display(), tour.binaries.display()));
        say("  purlin status");
        say("  purlin app info smart-factory");
        say(&format!("  kill {}            # stops it", node.id()));
        node.leave_running();
    } else {
        tour.node.take().context("the node is running")?.stop()?;
        say("  cargo xtask demo --keep           the same, and the node stays up for you");
        say("  README.md, 'Your first application in ten minutes'");
        say("  apps/token, apps/smart-factory    real applications to read");
    }
    println!("\nThe demo took {:.0} s and everything it claimed was checked.", start.elapsed().as_secs_f64());
    Ok(())
}

/// A running demo.
struct Tour {
    purlin: Purlin,
    binaries: PathBuf,
    folder: PathBuf,
    node: Option<RunningNode>,
}

impl Tour {
    fn start(binaries: PathBuf, folder: &Path) -> Result<Self> {
        chapter("A node");
        say("`purlin dev` starts a chain of one validator with funded keys: alice, bob, carol, dave.");
        let purlin = Purlin::new(binaries.join("purlin"), folder.to_path_buf());
        let mut tour = Self { purlin, binaries, folder: folder.to_path_buf(), node: None };
        tour.start_node()?;
        tour.show(&["status"])?;
        Ok(tour)
    }

    fn start_node(&mut self) -> Result<()> {
        println!("$ purlin dev &");
        self.node = Some(self.purlin.start(&["dev", "--api", "127.0.0.1:0"], &self.folder.join("node.log"))?);
        Ok(())
    }

    /// Types a command: shows it, runs it, shows what it printed.
    fn show(&self, arguments: &[&str]) -> Result<String> {
        println!("$ purlin {}", quoted(arguments));
        let text = self.purlin.output(arguments)?;
        for line in text.lines() {
            println!("  {line}");
        }
        Ok(text)
    }

    fn install_apps(&self) -> Result<()> {
        chapter("Applications");
        say("Each is Rust compiled to wasm, packed with a manifest that says what it may touch.");
        for app in APPS {
            let path = root().join("apps").join(app);
            println!("$ purlin app build --path apps/{app}");
            let mut command = self.purlin.command(&["app", "build", "--quiet", "--path"]);
            command.arg(&path);
            for line in command::capture(command)?.lines() {
                println!("  {}", line.replace(&format!("{}/", root().display()), ""));
            }
            let init: &[&str] = match *app {
                "token" => {
                    &["--args", r#"{"name":"Kilowatt hour","symbol":"KWH","decimals":3,"supply":"1000000"}"#]
                }
                _ => &[],
            };
            println!("$ purlin app install --path apps/{app} {}", quoted(init));
            let mut command = self.purlin.command(&["app", "install", "--from", "alice", "--path"]);
            command.arg(&path).args(init);
            for line in command::capture(command)?.lines() {
                println!("  {line}");
            }
        }
        self.show(&["app", "list"])?;
        Ok(())
    }

    fn call_counter(&self) -> Result<()> {
        chapter("Calling one");
        say("Arguments are checked against the schema inside the wasm, as JSON or as flags.");
        self.show(&["app", "call", "counter", "increment", r#"{"by":2}"#, "--from", "alice"])?;
        self.show(&["app", "call", "counter", "increment", "--by", "40", "--from", "bob"])?;
        let value = self.purlin.json(&["app", "query", "counter", "count"])?;
        println!("$ purlin app query counter count\n  {}", value["result"]);
        ensure!(value["result"] == 42, "the counter must be at 42, it is at {}", value["result"]);
        say("A wrong argument is refused before anything is sent:");
        let refused =
            self.refused(&["app", "call", "counter", "increment", "--by", "two", "--from", "alice"])?;
        ensure!(refused.contains("by"), "the refusal must name the argument: {refused}");
        Ok(())
    }

    /// Runs a command that must fail, and shows what it says.
    fn refused(&self, arguments: &[&str]) -> Result<String> {
        println!("$ purlin {}", quoted(arguments));
        let output = self.purlin.command(arguments).output()?;
        ensure!(!output.status.success(), "purlin {} must be refused", quoted(arguments));
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        for line in text.lines() {
            println!("  {line}");
        }
        Ok(text)
    }

    fn watch_machine(&self) -> Result<()> {
        chapter("A machine that speaks");
        say(
            "A device is registered with its own key; smart-factory asks the registry before it believes one.",
        );
        let description = root().join("examples/data/machine-1.td.json");
        let path = description.to_str().context("the repository's path is UTF-8")?;
        println!(
            "$ purlin device register {MACHINE} --description examples/data/machine-1.td.json --area hall-2/line-1 --new-key"
        );
        let text = self.purlin.output(&[
            "device",
            "register",
            MACHINE,
            "--description",
            path,
            "--area",
            "hall-2/line-1",
            "--new-key",
            "--from",
            "alice",
        ])?;
        text.lines().for_each(|line| println!("  {line}"));
        self.show(&["app", "call", "smart-factory", "add_machine", "--machine", MACHINE, "--from", "alice"])?;

        say("Three months of temperatures, 22,695 readings from the Numenta Anomaly Benchmark:");
        println!("$ client-stream-readings {READINGS} --machine {MACHINE} --windows {WINDOWS}");
        let mut stream = Command::new(self.binaries.join("client-stream-readings"));
        stream
            .arg(root().join(READINGS))
            .args(["--machine", MACHINE, "--from", "alice", "--windows"])
            .arg(root().join(WINDOWS))
            .env("PURLIN_HOME", self.purlin.home());
        command::run(stream)
    }

    fn move_tokens(&self) -> Result<()> {
        chapter("Tokens");
        let bob = self.account("bob")?;
        self.show(&[
            "app", "call", "token", "transfer", "--to", &bob, "--amount", "2500", "--from", "alice",
        ])?;
        let balance = self.token_balance(&bob)?;
        println!("$ purlin app query token balance_of --owner {bob}\n  {balance}");
        ensure!(balance == "2500", "bob must have 2500, has {balance}");
        self.show(&["app", "events", "token", "--limit", "5"])?;
        say("Nobody spends what they do not have, and the refusal says so:");
        let refused = self.refused(&[
            "app", "call", "token", "transfer", "--to", &bob, "--amount", "1", "--from", "carol",
        ])?;
        ensure!(refused.contains("token"), "the refusal must name the application: {refused}");
        Ok(())
    }

    fn account(&self, name: &str) -> Result<String> {
        let key = self.purlin.json(&["key", "show", name])?;
        Ok(key["account"].as_str().context("key show prints the account")?.to_string())
    }

    fn token_balance(&self, owner: &str) -> Result<String> {
        let value = self.purlin.json(&["app", "query", "token", "balance_of", "--owner", owner])?;
        Ok(value["result"].as_str().context("a balance is a decimal string")?.to_string())
    }

    fn restart(&mut self) -> Result<()> {
        chapter("Stop and start");
        let before = self.snapshot()?;
        println!("$ kill -TERM <node>");
        self.node.take().context("the node is running")?.stop()?;
        self.start_node()?;
        let after = self.snapshot()?;
        for (name, value) in &before {
            println!("  {name:<14} {value}");
        }
        ensure!(before == after, "a restart must change nothing:\n  before {before:?}\n  after  {after:?}");
        say("Height, state root and balances are what they were.");
        Ok(())
    }

    fn snapshot(&self) -> Result<Vec<(&'static str, String)>> {
        let status = self.purlin.json(&["status"])?;
        let alice = self.account("alice")?;
        let bob = self.account("bob")?;
        Ok(vec![
            ("height", status["height"].to_string()),
            ("state root", status["state_root"].as_str().unwrap_or_default().to_string()),
            ("alice's tokens", self.token_balance(&alice)?),
            ("bob's tokens", self.token_balance(&bob)?),
        ])
    }

    fn prove(&self) -> Result<()> {
        chapter("Proof");
        say("A value with its path to a block that the validator signed; checking it needs no node.");
        let file = self.folder.join("proof.json");
        let genesis = self.folder.join("dev/genesis.json");
        let (file, genesis) = (utf8(&file)?, utf8(&genesis)?);
        println!("$ purlin state get token total_supply --proof --out proof.json");
        let text =
            self.purlin.output(&["state", "get", "token", "total_supply", "--proof", "--out", file])?;
        text.lines().for_each(|line| println!("  {line}"));
        println!("$ purlin state verify proof.json --genesis genesis.json        (offline)");
        let verified = self.purlin.output(&["state", "verify", file, "--genesis", genesis])?;
        verified.lines().for_each(|line| println!("  {line}"));

        let mut proof: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(file)?)?;
        let hex = proof["proof"].as_str().context("a proof file holds the proof in hex")?.to_string();
        let middle = hex.len() / 2;
        let flipped = if hex.as_bytes()[middle] == b'0' { '1' } else { '0' };
        proof["proof"] = format!("{}{flipped}{}", &hex[..middle], &hex[middle + 1..]).into();
        std::fs::write(file, proof.to_string())?;
        say("The same proof with one digit changed:");
        let output = self.purlin.command(&["state", "verify", file, "--genesis", genesis]).output()?;
        if output.status.success() {
            bail!("a changed proof must not verify");
        }
        String::from_utf8_lossy(&output.stderr).lines().for_each(|line| println!("  {line}"));
        Ok(())
    }
}

fn utf8(path: &Path) -> Result<&str> {
    path.to_str().context("the temporary folder's path is UTF-8")
}

fn quoted(arguments: &[&str]) -> String {
    let quote = |word: &&str| {
        if word.contains(['{', ' ', '"']) { format!("'{word}'") } else { (*word).to_string() }
    };
    arguments.iter().map(quote).collect::<Vec<_>>().join(" ")
}

fn chapter(title: &str) {
    println!("\n=== {title}\n");
}

fn say(text: &str) {
    println!("{text}");
}
