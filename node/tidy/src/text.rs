//! Rules on the words and sizes of files.

use crate::Violation;

/// Longest source file, in lines.
const LINES_MAX: usize = 800;

/// Words that say that something is not finished. Written in halves, so that this file does not hold them.
const UNFINISHED: &[&str] = &[
    concat!("to", "do!"),
    concat!("unimplemen", "ted!"),
    concat!("db", "g!"),
    concat!("FIX", "ME"),
    concat!("X", "XX"),
    concat!("for ", "now"),
    concat!("place", "holder"),
    concat!("not ", "implemented"),
];

/// Hosts of package registries: a build must not depend on which one a machine uses.
const REGISTRIES: &[&str] = &[
    concat!("crates", ".io"),
    concat!("registry.npm", "js.org"),
    concat!("pypi", ".org"),
    concat!("proxy.gol", "ang.org"),
];

/// Where people's and machines' own folders are.
const HOMES: &[&str] =
    &[concat!("/ho", "me/"), concat!("/Us", "ers/"), concat!("/ro", "ot/"), concat!("C:\\Us", "ers\\")];

/// The one source that Cargo.lock may name.
const LOCK_SOURCE: &str = concat!("registry+https://github.com/rust-lang/crates", ".io-index");

/// Checks that a source file can be read in one go.
pub fn check_size(path: &str, text: &str) -> Vec<Violation> {
    let lines = text.lines().count();
    if lines <= LINES_MAX {
        return Vec::new();
    }
    let fix = format!("split it into files of one idea each (at most {LINES_MAX})");
    vec![Violation::new(path, format!("{lines} lines"), fix)]
}

/// Checks that nothing is marked as unfinished.
pub fn check_words(path: &str, text: &str) -> Vec<Violation> {
    let mut found = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let lower = line.to_lowercase();
        for word in UNFINISHED {
            // Capitals are part of a mark; a phrase is one in any case.
            let marked = if word.chars().any(char::is_uppercase) {
                has_word(line, word)
            } else {
                has_word(&lower, word)
            };
            if marked {
                found.push(Violation::new(
                    format!("{path}:{number}"),
                    format!("says {word:?}"),
                    "finish it, or open an issue and describe what the code does today",
                ));
            }
        }
    }
    found
}

/// Checks that a file names no registry and no folder of one machine. `own` are further folders of this machine: the
/// repository, the user's home.
pub fn check_machine(path: &str, text: &str, own: &[String]) -> Vec<Violation> {
    let mut found = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let place = || format!("{path}:{number}");
        for host in REGISTRIES.iter().filter(|host| line.contains(**host)) {
            found.push(Violation::new(
                place(),
                format!("names the registry {host}"),
                "say \"the package registry\"; which one is the machine's own setting",
            ));
        }
        let folders = HOMES.iter().copied().chain(own.iter().map(String::as_str));
        for folder in folders.filter(|folder| has_path(line, folder)) {
            found.push(Violation::new(
                place(),
                format!("names {folder}, a folder of one machine"),
                "write a path from the repository's root, or `~`",
            ));
        }
    }
    found
}

/// Checks that Cargo.lock takes packages from the public registry only, not from a mirror of one machine.
pub fn check_lock(text: &str) -> Vec<Violation> {
    let sources =
        text.lines().filter_map(|line| line.strip_prefix("source = ")).map(|line| line.trim_matches('"'));
    let mut other: Vec<&str> = sources.filter(|source| *source != LOCK_SOURCE).collect();
    other.sort_unstable();
    other.dedup();
    let violation = |source| {
        Violation::new(
            "Cargo.lock",
            format!("takes packages from {source}"),
            "use released packages of the public registry",
        )
    };
    other.into_iter().map(violation).collect()
}

/// Checks that the root file of a crate says first what the crate does: `//! Reads, writes and checks packages.`
pub fn check_purpose(path: &str, text: &str) -> Vec<Violation> {
    const WORDS_MIN: usize = 3;
    let first = text.lines().next().unwrap_or_default().strip_prefix("//! ").unwrap_or_default();
    let capital = first.chars().next().is_some_and(char::is_uppercase);
    let verb = first.split(' ').next().is_some_and(|word| word.trim_end_matches(',').ends_with('s'));
    if capital && verb && first.split(' ').count() >= WORDS_MIN {
        return Vec::new();
    }
    vec![Violation::new(
        path,
        "the first line does not say what the crate does",
        "start the file with one sentence that starts with a verb: `//! Keeps bytes on disk.`",
    )]
}

/// Checks that a crate forbids unsafe code.
pub fn check_unsafe(path: &str, text: &str) -> Vec<Violation> {
    if text.lines().any(|line| line.trim() == "#![forbid(unsafe_code)]") {
        return Vec::new();
    }
    vec![Violation::new(
        path,
        "the crate does not forbid unsafe code",
        "add `#![forbid(unsafe_code)]`, or list the crate with its reason in node/tidy/tests/repository.rs",
    )]
}

/// Finds a word that is not part of a longer one.
fn has_word(text: &str, word: &str) -> bool {
    let is_letter = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(start, _)| {
        !text[..start].ends_with(is_letter) && !text[start + word.len()..].starts_with(is_letter)
    })
}

/// Finds a folder that is not the end of a relative path or of an address.
fn has_path(text: &str, folder: &str) -> bool {
    let continues = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '}' | '~' | '*' | '$');
    text.match_indices(folder).any(|(start, _)| !text[..start].ends_with(continues))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Rule = fn(&str, &str) -> Vec<Violation>;

    #[track_caller]
    fn check(rule: Rule, text: &str, expected: Option<&str>) {
        let found: Vec<String> = rule("file.rs", text).iter().map(ToString::to_string).collect();
        match expected {
            None => assert_eq!(found, [""; 0], "{text}"),
            Some(expected) => assert!(found.len() == 1 && found[0].contains(expected), "{text}: {found:?}"),
        }
    }

    #[test]
    fn unfinished_work_is_found() {
        check(check_words, "fn f() {\n    to\u{64}o!()\n}", Some("file.rs:2: says"));
        check(check_words, "// X\u{58}X later", Some("says"));
        check(check_words, "//! Fo\u{72} now, in memory.", Some("finish it"));
        check(check_words, "/// A place\u{68}older.", Some("says"));
        check(check_words, "const A_PLACE\u{48}OLDER_B: u8 = 1; // xxxx for nowhere", None);
        check(check_words, "X\u{58}XX methodo!", None);
    }

    #[test]
    fn traces_of_a_machine_are_found() {
        let rule: Rule = |path, text| check_machine(path, text, &["/checkout/purlin".to_owned()]);
        check(rule, "see /hom\u{65}/ann/purlin", Some("a folder of one machine"));
        check(rule, "cd \"/checkout/purlin/node\"", Some("/checkout/purlin"));
        check(rule, "https://crate\u{73}.io/crates/x", Some("registry"));
        check(rule, "GET node/hom\u{65}/page and ${X}/roo\u{74}/y", None);
        check(rule, "https://example.org/hom\u{65}/x", None);
    }

    #[test]
    fn sizes_purposes_and_unsafety_are_checked() {
        check(check_size, &"\n".repeat(801), Some("801 lines"));
        check(check_size, &"\n".repeat(800), None);
        for bad in [
            "",
            "fn main() {}",
            "//! token",
            "//! The crate of things.",
            "//!Keeps bytes on disk.",
            "//! Keeps.",
        ] {
            check(check_purpose, bad, Some("starts with a verb"));
        }
        check(check_purpose, "//! Keeps bytes on disk.", None);
        check(check_purpose, "//! Admits, orders and bounds transactions.", None);
        check(check_unsafe, "#![deny(unsafe_code)]", Some("forbid"));
        check(check_unsafe, "//! X\n#![forbid(unsafe_code)]\n", None);
    }

    #[test]
    fn mirrors_in_the_lock_file_are_found() {
        let good = format!("source = \"{LOCK_SOURCE}\"\n");
        assert_eq!(check_lock(&good), []);
        let bad =
            format!("{good}source = \"registry+https://mirror.example/index\"\nsource = \"git+https://x\"\n");
        assert_eq!(check_lock(&bad).len(), 2);
    }
}
