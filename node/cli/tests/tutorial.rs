//! Types the README's tutorial into a shell and compares what is printed.
//!
//! A console block after `<!-- tutorial -->` is run in order, in one shell session and one folder; a block after
//! `<!-- tutorial: background -->` is started and left running. In expected output `...` on a line of its own
//! stands for any lines and `[..]` for any text within a line.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const NODE_START_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct Step {
    command: String,
    expected: Vec<String>,
    background: bool,
}

fn readme() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md")
}

fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let background = match line.trim() {
            "<!-- tutorial -->" => false,
            "<!-- tutorial: background -->" => true,
            _ => continue,
        };
        assert_eq!(
            lines.next(),
            Some("```console"),
            "a tutorial mark must stand right above a console block"
        );
        for line in lines.by_ref().take_while(|line| *line != "```") {
            match line.strip_prefix("$ ") {
                Some(command) => {
                    steps.push(Step { command: command.into(), expected: Vec::new(), background })
                }
                None => steps.last_mut().expect("a block starts with a command").expected.push(line.into()),
            }
        }
    }
    steps
}

/// Says whether `actual` is what `expected` describes.
fn matches(expected: &[String], actual: &[&str]) -> bool {
    match expected {
        [] => actual.is_empty(),
        [any, rest @ ..] if any == "..." => (0..=actual.len()).any(|skip| matches(rest, &actual[skip..])),
        [line, rest @ ..] => {
            actual.first().is_some_and(|found| line_matches(line, found)) && matches(rest, &actual[1..])
        }
    }
}

fn line_matches(pattern: &str, line: &str) -> bool {
    match pattern.split_once("[..]") {
        None => pattern.trim_end() == line.trim_end(),
        Some((start, rest)) => line.strip_prefix(start).is_some_and(|tail| {
            tail.char_indices()
                .map(|(at, _)| at)
                .chain([tail.len()])
                .any(|at| line_matches(rest, &tail[at..]))
        }),
    }
}

struct Background(Child);

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Session {
    folder: PathBuf,
    home: PathBuf,
    path: String,
}

impl Session {
    fn shell(&self, script: &str) -> Command {
        let mut command = Command::new("bash");
        command.args(["-c", script]).current_dir(&self.folder).stdin(Stdio::null());
        command.env("HOME", &self.home).env("PATH", &self.path);
        // The user's own tools stay where they are although HOME is another one.
        let real_home = std::env::var("HOME").unwrap_or_default();
        for (variable, default) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
            let value = std::env::var(variable).unwrap_or_else(|_| format!("{real_home}/{default}"));
            command.env(variable, value);
        }
        for variable in
            ["PURLIN_HOME", "PURLIN_NODE", "PURLIN_TOKEN", "PURLIN_FROM", "CARGO", "CARGO_TARGET_DIR"]
        {
            command.env_remove(variable);
        }
        command
    }

    /// Runs one command and returns its output; follows `cd`.
    fn run(&mut self, command: &str) -> (bool, String) {
        let script = format!("exec 2>&1\n{command}\nstatus=$?\npwd > \"$HOME/.folder\"\nexit $status");
        let output = self.shell(&script).output().expect("bash runs");
        if let Ok(folder) = std::fs::read_to_string(self.home.join(".folder")) {
            self.folder = PathBuf::from(folder.trim());
        }
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

#[test]
fn the_tutorial_works_as_written() {
    let steps = steps(&std::fs::read_to_string(readme()).unwrap());
    assert!(steps.len() > 8, "the README must hold the tutorial, found {} commands", steps.len());
    let temporary = tempfile::tempdir().unwrap();
    let home = temporary.path().join("home");
    let folder = temporary.path().join("work");
    std::fs::create_dir_all(&home).unwrap();
    std::fs::create_dir_all(&folder).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_purlin"));
    let path = format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let mut session = Session { folder, home, path };
    let mut running = Vec::new();

    for step in steps {
        if step.background {
            // The API's default port may be in use by another test; the tutorial talks through the socket.
            let command = format!("exec {} --api 127.0.0.1:0", step.command);
            let mut child = session
                .shell(&command)
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .expect("bash runs");
            let deadline = Instant::now() + NODE_START_TIMEOUT;
            while !session.run("purlin status").0 {
                let ended = child.try_wait().unwrap().is_some();
                if ended || Instant::now() > deadline {
                    let _ = child.kill();
                    let mut log = String::new();
                    let _ = child.stderr.take().map(|mut stderr| stderr.read_to_string(&mut log));
                    panic!("`{}` does not answer:\n{log}", step.command);
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            // Drained, so that a full pipe never stops the node.
            let mut stderr = child.stderr.take().unwrap();
            std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
            running.push(Background(child));
            continue;
        }
        let (succeeded, output) = session.run(&step.command);
        let actual: Vec<&str> = output.lines().collect();
        assert!(succeeded, "$ {}\n{output}", step.command);
        assert!(
            matches(&step.expected, &actual),
            "$ {}\nexpected:\n{}\n\nprinted:\n{output}",
            step.command,
            step.expected.join("\n")
        );
    }
}

#[test]
fn the_matcher_can_say_no() {
    let expected = |lines: &[&str]| lines.iter().map(|line| line.to_string()).collect::<Vec<_>>();
    assert!(matches(&expected(&["a [..] c", "...", "z"]), &["a b c", "x", "y", "z"]));
    assert!(!matches(&expected(&["a [..] c"]), &["a b d"]));
    assert!(!matches(&expected(&["a"]), &["a", "b"]));
    assert!(!matches(&expected(&["...", "z"]), &["z", "y"]));
}
