//! What a script can rely on: each kind of failure has its exit code, and `--json` errors are JSON.

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

struct Node(Child);

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
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

/// Expects an exit code, and an error as text and as JSON that says the same.
fn ends(home: &Path, arguments: &[&str], exit: i32) {
    let output = purlin(home, arguments).output().expect("the program starts");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(exit), "{arguments:?}: {text}");
    if exit == 0 {
        return;
    }
    assert!(text.starts_with("error"), "{arguments:?}: {text}");
    let output = purlin(home, arguments).arg("--json").output().expect("the program starts");
    assert_eq!(output.status.code(), Some(exit), "{arguments:?}");
    let shown = String::from_utf8_lossy(&output.stderr);
    let error: Value = serde_json::from_str(&shown).unwrap_or_else(|_| panic!("{arguments:?}: {shown}"));
    assert!(!error["error"]["message"].as_str().unwrap_or_default().is_empty(), "{arguments:?}: {shown}");
}

#[test]
fn each_kind_of_failure_has_its_exit_code() {
    let temporary = tempfile::tempdir().expect("a folder");
    let home = temporary.path();
    let mut node = Node(
        purlin(home, &["dev", "--json", "--api", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts"),
    );
    let mut line = String::new();
    let stdout = node.0.stdout.take().expect("it is piped");
    BufReader::new(stdout).read_line(&mut line).expect("it says when it is ready");
    assert!(line.contains("\"ready\":true"), "{line}");

    ends(home, &["status"], 0);
    ends(home, &["status", "--nonsense"], 2);
    ends(home, &["tx", "show", "0x1234"], 2);
    ends(home, &["key", "show", "nobody"], 2);
    ends(home, &["app", "start", "nothing"], 4);
    ends(home, &["app", "query", "nothing", "anything"], 4);
    ends(home, &["tx", "show", &format!("0x{}", "0".repeat(64))], 4);
    let proof = home.join("proof.json");
    std::fs::write(&proof, "{}").expect("a file");
    let genesis = home.join("dev/genesis.json");
    let (proof, genesis) = (proof.to_str().expect("UTF-8"), genesis.to_str().expect("UTF-8"));
    ends(home, &["state", "verify", proof, "--genesis", genesis], 5);

    drop(node);
    ends(home, &["status"], 3);
    let dev = home.join("dev");
    ends(&dev, &["doctor"], 0);
    std::fs::write(genesis, "{}").expect("a file");
    ends(&dev, &["doctor"], 5);
}
