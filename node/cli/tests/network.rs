//! Four real processes of a local network: they agree, go on without one of them, and take it back.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const NODES: u16 = 4;
/// A node's API is so far above its port for peers.
const API_PORT_OFFSET: u16 = 100;
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// Bound of every wait for blocks, in seconds.
const BLOCKS_TIMEOUT: &str = "30";

/// A running node; killed when it goes out of scope, however that happens.
struct Node {
    home: PathBuf,
    process: Child,
    log: Receiver<String>,
}

impl Node {
    /// Starts a node and waits until it answers.
    fn start(home: &Path) -> Self {
        let mut process = purlin(home, &["run", "--json", "--log", "info"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let (lines, ready) = channel();
        let stdout = process.stdout.take().expect("it is piped");
        // Ends with the process.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if lines.send(line).is_err() {
                    break;
                }
            }
        });
        let (written, log) = channel();
        let mut stderr = process.stderr.take().expect("it is piped");
        std::thread::spawn(move || {
            let mut text = String::new();
            // What cannot be read is not shown.
            let _ = stderr.read_to_string(&mut text);
            written.send(text)
        });
        let mut node = Self { home: home.to_owned(), process, log };
        match ready.recv_timeout(START_TIMEOUT) {
            Ok(line) => {
                let line: Value = serde_json::from_str(&line).expect("one JSON value");
                assert_eq!(line["ready"], true, "{line}");
                assert!(line["network"][0].as_str().expect("an address").contains("/p2p/"), "{line}");
            }
            Err(_) => panic!("{} does not start:\n{}", home.display(), node.kill()),
        }
        node
    }

    /// Kills it without warning, as `kill -9` does, and returns what it wrote to its log.
    fn kill(&mut self) -> String {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
        self.log.recv_timeout(Duration::from_secs(5)).unwrap_or_default()
    }

    /// Runs a command against this node and returns its JSON.
    fn ask(&self, arguments: &[&str]) -> Value {
        let output = purlin(&self.home, arguments).arg("--json").output().expect("the program starts");
        json(&output, arguments)
    }

    /// Waits until the node has a block, and returns how it is then.
    fn reach(&self, height: u64) -> Value {
        self.ask(&["status", "--wait-height", &height.to_string(), "--timeout", BLOCKS_TIMEOUT])
    }

    fn height(&self) -> u64 {
        self.ask(&["status"])["height"].as_u64().expect("a height")
    }

    fn balance_moved(&self, transaction: &str) -> u64 {
        let shown = self.ask(&["tx", "show", transaction]);
        assert_eq!(shown["receipt"]["outcome"]["status"], "succeeded", "{shown}");
        shown["place"]["height"].as_u64().expect("a height")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let log = self.kill();
        if std::thread::panicking() {
            eprintln!("--- {}\n{log}", self.home.display());
        }
    }
}

fn purlin(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_purlin"));
    for variable in ["PURLIN_NODE", "PURLIN_TOKEN", "PURLIN_FROM"] {
        command.env_remove(variable);
    }
    command.arg("--home").arg(home).args(arguments).stdin(Stdio::null());
    command
}

fn json(output: &Output, arguments: &[&str]) -> Value {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "purlin {}: {}", arguments.join(" "), text(&output.stderr));
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("purlin {}: {error}: {}", arguments.join(" "), text(&output.stdout)))
}

/// Finds a base whose ports are free now. They are below those that the system gives to connections.
fn free_base() -> u16 {
    const LOWEST: u32 = 20_000;
    const STEP: u32 = 200;
    const TRIES: u32 = 50;
    let free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    // Processes that run at one time begin at different places.
    let first = std::process::id();
    (0..TRIES)
        .map(|attempt| (LOWEST + first.wrapping_add(attempt) % TRIES * STEP) as u16)
        .find(|base| (1..=NODES).all(|node| free(base + node) && free(base + node + API_PORT_OFFSET)))
        .expect("some ports are free")
}

/// Makes the folders of a network in `net` below a folder.
fn network(folder: &Path) -> Value {
    let base = free_base().to_string();
    let nodes = NODES.to_string();
    let arguments = ["net", "new", "--validators", &nodes, "--base-port", &base, "--json"];
    let output =
        purlin(Path::new("unused"), &arguments).current_dir(folder).output().expect("the program starts");
    let made = json(&output, &arguments);
    assert_eq!(made["folder"].as_str(), folder.join("net").to_str());
    made
}

/// Checks that all have the same block there, and so the same state before it.
fn agree(nodes: &[Node], height: u64) {
    // The root of what a block left is in the header of the next.
    let (block, next) = (height.to_string(), (height + 1).to_string());
    let seen: Vec<(Value, Value)> = nodes
        .iter()
        .map(|node| {
            node.reach(height + 1);
            let id = node.ask(&["block", "show", &block])["id"].clone();
            let root = node.ask(&["block", "show", &next])["header"]["state_root"].clone();
            assert!(id.is_string() && root.is_string(), "{id} {root}");
            (id, root)
        })
        .collect();
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "at height {height}: {seen:?}");
}

#[test]
fn four_processes_agree_and_take_back_one_that_was_killed() {
    let temporary = tempfile::tempdir().expect("a folder");
    let made = network(temporary.path());
    let homes: Vec<PathBuf> = made["nodes"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|node| node["home"].as_str().expect("a path").into())
        .collect();
    let mut nodes: Vec<Node> = homes.iter().map(|home| Node::start(home)).collect();

    // A transfer through one node is done by all.
    let sent = nodes[0].ask(&["tx", "send", "bob", "5", "--from", "alice"]);
    let transaction = sent["transaction"].as_str().expect("an id").to_owned();
    let height = sent["place"]["height"].as_u64().expect("a height");
    agree(&nodes, height);
    for node in &nodes {
        assert_eq!(node.balance_moved(&transaction), height);
    }
    let validators = nodes[1].ask(&["validator", "status"]);
    assert_eq!(validators["validators"].as_array().expect("a list").len(), usize::from(NODES));
    assert!(!nodes[1].ask(&["peers"])["peers"].as_array().expect("a list").is_empty());

    // Three of four are more than two thirds.
    nodes[3].kill();
    let before = nodes[0].height();
    let sent = nodes[1].ask(&["tx", "send", "carol", "7", "--from", "bob"]);
    let without = sent["place"]["height"].as_u64().expect("a height");
    assert!(without > before.saturating_sub(1), "{without} after {before}");
    nodes[2].reach(without + 2);

    // It comes back to the same chain.
    nodes[3] = Node::start(&homes[3]);
    let status = nodes[3].ask(&[
        "status",
        "--wait",
        "--wait-height",
        &(without + 1).to_string(),
        "--timeout",
        BLOCKS_TIMEOUT,
    ]);
    assert_eq!(status["sync"], "synced", "{status}");
    agree(&nodes, without);
    let head = nodes[0].height();
    agree(&nodes, head);
}

#[test]
fn what_cannot_be_is_refused_with_a_hint() {
    let temporary = tempfile::tempdir().expect("a folder");
    let folder = temporary.path().join("net");
    let folder = folder.to_str().expect("UTF-8");
    let refused = |more: &[&str], exit: i32, parts: [&str; 2]| {
        let arguments = [&["net", "new", folder][..], more].concat();
        let output = purlin(Path::new("unused"), &arguments).output().expect("the program starts");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(exit), "{text}");
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
        assert!(!Path::new(folder).exists());
    };
    refused(&["--validators", "0"], 2, ["not 0", "--validators"]);
    refused(&["--validators", "4", "--chain-id", "fleet"], 2, ["fleet", "purlin init"]);
    refused(&["--validators", "4", "--base-port", "65500"], 2, ["65604", "--base-port"]);
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let base = (taken.local_addr().expect("it is bound").port() - 1).to_string();
    refused(&["--validators", "1", "--base-port", &base], 1, ["is taken", "--base-port"]);
}
