//! `cargo xtask demo`: the whole journey on a temporary network of four processes, told as a tour.

use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::cluster::Cluster;
use crate::command::{self, Programs, root};
use crate::test::APPS;

/// Readings of the example data, beside the repository's own files.
const READINGS: &str = "examples/data/machine_temperature_system_failure.csv";
const WINDOWS: &str = "examples/data/machine_temperature_windows.json";
const MACHINE: &str = "machine-1";
/// Processes of the network.
const NODES: usize = 4;
/// How long the nodes may take to agree on a block; they take a second or two.
const BLOCK_TIMEOUT: Duration = Duration::from_secs(60);

/// Arguments of `cargo xtask demo`.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    programs: Programs,
    /// Leave the nodes running at the end, and say how to talk to them
    #[arg(long)]
    keep: bool,
}

/// Builds what is needed and runs the tour.
pub(crate) fn run(args: &Args) -> Result<()> {
    chapter("Setting up");
    say("The first build compiles RocksDB and wasmtime, which takes a while; later ones do not.");
    let binaries = args.programs.folder(&["purlin-cli", "client-stream-readings"])?;
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
    tour.lose_one()?;
    tour.restart()?;
    tour.prove()?;

    chapter("What to try next");
    if args.keep {
        let folder = folder.keep();
        say("The four nodes run on. Talk to one:");
        let home = tour.net.purlin(1).home().display().to_string();
        say(&format!("  export PURLIN_HOME={home} PATH=\"{}:$PATH\"", tour.binaries.display()));
        say("  purlin status");
        say("  purlin app info smart-factory");
        let processes: Vec<String> =
            (1..=NODES).filter_map(|node| tour.net.process(node)).map(|id| id.to_string()).collect();
        say(&format!("  kill {}            # stops them", processes.join(" ")));
        say(&format!("  rm -r {}", folder.display()));
        tour.net.leave_running();
    } else {
        tour.net.stop_all()?;
        say("  cargo xtask demo --keep           the same, and the nodes stay up for you");
        say("  README.md, 'Your first application in ten minutes'");
        say("  apps/token, apps/smart-factory    real applications to read");
    }
    println!("\nThe demo took {:.0} s and everything it claimed was checked.", start.elapsed().as_secs_f64());
    Ok(())
}

/// A running demo.
struct Tour {
    net: Cluster,
    binaries: PathBuf,
    folder: PathBuf,
}

impl Tour {
    fn start(binaries: PathBuf, folder: &Path) -> Result<Self> {
        chapter("Four nodes");
        say(
            "Each is a process with a folder and a validator key of its own; together they decide. The folders",
        );
        say("also hold the keys of accounts with money: alice, bob, carol, dave.");
        println!("$ purlin net new net --validators {NODES}");
        let (net, printed) = Cluster::new(&binaries.join("purlin"), folder, NODES as u16, &[])?;
        for line in printed.lines() {
            println!("  {}", line.replace(&format!("{}/", folder.display()), ""));
        }
        let mut tour = Self { net, binaries, folder: folder.to_path_buf() };
        (1..=NODES).for_each(|node| println!("node{node}$ purlin run &"));
        tour.net.start_all()?;
        // A final block of the first height says that they found each other.
        tour.net.reach(1, BLOCK_TIMEOUT)?;
        tour.show(1, &["status"])?;
        tour.show(2, &["peers"])?;
        tour.show(3, &["validator", "status"])?;
        Ok(tour)
    }

    /// Types a command at a node: shows it, runs it, shows what it printed.
    fn show(&self, node: usize, arguments: &[&str]) -> Result<String> {
        println!("node{node}$ purlin {}", quoted(arguments));
        let text = self.net.purlin(node).output(arguments)?;
        for line in text.lines() {
            println!("  {line}");
        }
        Ok(text)
    }

    /// Asks every node the same and checks that they answer the same.
    fn ask_all(&self, query: &[&str]) -> Result<serde_json::Value> {
        let mut answers = Vec::new();
        for node in (1..=NODES).filter(|node| self.net.runs(*node)) {
            let answer = self.net.purlin(node).json(query)?["result"].clone();
            println!("node{node}$ purlin {}\n  {answer}", quoted(query));
            answers.push(answer);
        }
        ensure!(answers.windows(2).all(|pair| pair[0] == pair[1]), "the nodes disagree: {answers:?}");
        answers.pop().context("a node runs")
    }

    /// Checks that all running nodes have the same block and state, and shows both.
    fn agree(&self) -> Result<()> {
        let height = self.net.height(1)?;
        let (block, root) = self.net.agree(height, BLOCK_TIMEOUT)?;
        let count = (1..=NODES).filter(|node| self.net.runs(*node)).count();
        println!("  on all {count} nodes, at height {height}:");
        println!("    block       {block}\n    state root  {root}");
        Ok(())
    }

    fn install_apps(&self) -> Result<()> {
        chapter("Applications");
        say("Each is Rust compiled to wasm, packed with a manifest that says what it may touch.");
        for app in APPS {
            let path = root().join("apps").join(app);
            println!("node1$ purlin app build --path apps/{app}");
            let mut command = self.net.purlin(1).command(&["app", "build", "--quiet", "--path"]);
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
            let shown = format!("node1$ purlin app install --path apps/{app} --from alice {}", quoted(init));
            println!("{}", shown.trim_end());
            let mut command = self.net.purlin(1).command(&["app", "install", "--from", "alice", "--path"]);
            command.arg(&path).args(init);
            for line in command::capture(command)?.lines() {
                println!("  {line}");
            }
        }
        say("They were installed at node 1; the other nodes have them.");
        self.show(4, &["app", "list"])?;
        Ok(())
    }

    fn call_counter(&self) -> Result<()> {
        chapter("Calling one");
        say("Arguments are checked against the schema inside the wasm, as JSON or as flags.");
        self.show(2, &["app", "call", "counter", "increment", r#"{"by":2}"#, "--from", "alice"])?;
        let last = ["app", "call", "counter", "increment", "--by", "40", "--from", "bob"];
        self.show(3, &last)?;
        let called = self.net.height(3)?;
        self.net.reach(called, BLOCK_TIMEOUT)?;
        say("Whoever is asked, the answer is one:");
        let value = self.ask_all(&["app", "query", "counter", "count"])?;
        ensure!(value == 42, "the counter must be at 42, it is at {value}");
        self.agree()?;
        say("A wrong argument is refused before anything is sent:");
        let refused =
            self.refused(4, &["app", "call", "counter", "increment", "--by", "two", "--from", "alice"])?;
        ensure!(refused.contains("by"), "the refusal must name the argument: {refused}");
        Ok(())
    }

    /// Runs a command that must fail, and shows what it says.
    fn refused(&self, node: usize, arguments: &[&str]) -> Result<String> {
        println!("node{node}$ purlin {}", quoted(arguments));
        let output = self.net.purlin(node).command(arguments).output()?;
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
            "node3$ purlin device register {MACHINE} --description examples/data/machine-1.td.json --area hall-2/line-1 --new-key"
        );
        let text = self.net.purlin(3).output(&[
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
        let add = ["app", "call", "smart-factory", "add_machine", "--machine", MACHINE, "--from", "alice"];
        self.show(3, &add)?;

        say("Three months of temperatures, 22,695 readings from the Numenta Anomaly Benchmark:");
        println!("node3$ client-stream-readings {READINGS} --machine {MACHINE} --windows {WINDOWS}");
        let mut stream = Command::new(self.binaries.join("client-stream-readings"));
        stream
            .arg(root().join(READINGS))
            .args(["--machine", MACHINE, "--from", "alice", "--windows"])
            .arg(root().join(WINDOWS))
            .env("PURLIN_HOME", self.net.purlin(3).home());
        command::run(stream)
    }

    fn move_tokens(&self) -> Result<()> {
        chapter("Tokens");
        let bob = self.account("bob")?;
        let send = ["app", "call", "token", "transfer", "--to", &bob, "--amount", "2500", "--from", "alice"];
        self.show(2, &send)?;
        let balance = self.token_balance(2, &bob)?;
        println!("node2$ purlin app query token balance_of --owner {bob}\n  {balance}");
        ensure!(balance == "2500", "bob must have 2500, has {balance}");
        self.show(2, &["app", "events", "token", "--limit", "5"])?;
        say("Nobody spends what they do not have, and the refusal says so:");
        let too_much = ["app", "call", "token", "transfer", "--to", &bob, "--amount", "1", "--from", "carol"];
        let refused = self.refused(2, &too_much)?;
        ensure!(refused.contains("token"), "the refusal must name the application: {refused}");
        Ok(())
    }

    fn account(&self, name: &str) -> Result<String> {
        let key = self.net.purlin(1).json(&["key", "show", name])?;
        Ok(key["account"].as_str().context("key show prints the account")?.to_string())
    }

    fn token_balance(&self, node: usize, owner: &str) -> Result<String> {
        let query = ["app", "query", "token", "balance_of", "--owner", owner];
        let value = self.net.purlin(node).json(&query)?;
        Ok(value["result"].as_str().context("a balance is a decimal string")?.to_string())
    }

    fn lose_one(&mut self) -> Result<()> {
        chapter("A validator dies");
        say("Three of four are more than two thirds: the others go on without it.");
        println!("$ kill -9 {}                    # node4", self.net.process(4).context("node4 runs")?);
        self.net.kill(4)?;
        let without = ["app", "call", "counter", "increment", "--by", "58", "--from", "carol"];
        self.show(1, &without)?;
        let height = self.net.height(1)?;
        say("It starts again, fetches what it missed, executes it, and takes part:");
        println!("node4$ purlin run &");
        self.net.start(4)?;
        self.net.reach(height, BLOCK_TIMEOUT)?;
        self.show(4, &["status", "--wait"])?;
        let value = self.ask_all(&["app", "query", "counter", "count"])?;
        ensure!(value == 100, "the counter must be at 100, it is at {value}");
        self.agree()
    }

    fn restart(&mut self) -> Result<()> {
        chapter("Stop and start");
        let before = self.snapshot()?;
        println!("$ kill -TERM                         # all four");
        self.net.stop_all()?;
        (1..=NODES).for_each(|node| println!("node{node}$ purlin run &"));
        self.net.start_all()?;
        let after = self.snapshot_at(&before)?;
        for (name, value) in &before.values {
            println!("  {name:<24} {value}");
        }
        ensure!(before.values == after, "a restart must change nothing:\n  {before:?}\n  after  {after:?}");
        self.net.reach(before.height + 2, BLOCK_TIMEOUT)?;
        say("Blocks, state roots and balances are what they were, and the chain goes on.");
        Ok(())
    }

    fn snapshot(&self) -> Result<Snapshot> {
        let mut snapshot = Snapshot { height: self.net.height(1)?, values: Vec::new() };
        self.net.reach(snapshot.height + 1, BLOCK_TIMEOUT)?;
        snapshot.values = self.snapshot_at(&snapshot)?;
        Ok(snapshot)
    }

    /// What is known of a height, and what does not change after it here.
    fn snapshot_at(&self, Snapshot { height, .. }: &Snapshot) -> Result<Vec<(String, String)>> {
        let (block, root) = self.net.agree(*height, BLOCK_TIMEOUT)?;
        let mut values =
            vec![(format!("block {height}"), block), ("the state root it left".to_owned(), root)];
        for name in ["alice", "bob"] {
            let account = self.account(name)?;
            values.push((format!("{name}'s tokens"), self.token_balance(4, &account)?));
        }
        Ok(values)
    }

    fn prove(&self) -> Result<()> {
        chapter("Proof");
        say("A value with its path to a block that the validators signed; checking it needs no node.");
        let file = self.folder.join("proof.json");
        let genesis = self.net.purlin(1).home().join("genesis.json");
        let (file, genesis) = (utf8(&file)?, utf8(&genesis)?);
        println!("node1$ purlin state get token total_supply --proof --out proof.json");
        let text = self.net.purlin(1).output(&[
            "state",
            "get",
            "token",
            "total_supply",
            "--proof",
            "--out",
            file,
        ])?;
        text.lines().for_each(|line| println!("  {line}"));
        println!("$ purlin state verify proof.json --genesis genesis.json        (offline)");
        let verified = self.net.purlin(1).output(&["state", "verify", file, "--genesis", genesis])?;
        verified.lines().for_each(|line| println!("  {line}"));

        let mut proof: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(file)?)?;
        let hex = proof["proof"].as_str().context("a proof file holds the proof in hex")?.to_string();
        let middle = hex.len() / 2;
        let flipped = if hex.as_bytes()[middle] == b'0' { '1' } else { '0' };
        proof["proof"] = format!("{}{flipped}{}", &hex[..middle], &hex[middle + 1..]).into();
        std::fs::write(file, proof.to_string())?;
        say("The same proof with one digit changed:");
        let output = self.net.purlin(1).command(&["state", "verify", file, "--genesis", genesis]).output()?;
        if output.status.success() {
            bail!("a changed proof must not verify");
        }
        String::from_utf8_lossy(&output.stderr).lines().for_each(|line| println!("  {line}"));
        Ok(())
    }
}

/// What a restart must not change.
#[derive(Debug)]
struct Snapshot {
    height: u64,
    values: Vec<(String, String)>,
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
