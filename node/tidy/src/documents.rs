//! Rules on Markdown: what a document points at must be there.

use std::path::{Component, Path, PathBuf};

use crate::Violation;
use crate::commands::Tree;

/// Checks that relative links lead to files or folders. `exists` is asked for paths from the root.
pub fn check_links(path: &str, text: &str, exists: impl Fn(&str) -> bool) -> Vec<Violation> {
    let folder = Path::new(path).parent().unwrap_or(Path::new(""));
    let mut found = Vec::new();
    for (number, line) in prose(text) {
        for target in targets(line) {
            let file = target.split(['#', '?']).next().unwrap_or_default();
            // A place in the same document, or another site.
            if file.is_empty() || file.contains("://") || file.starts_with("mailto:") {
                continue;
            }
            let resolved = normal(&folder.join(file));
            if !resolved.as_deref().is_some_and(&exists) {
                found.push(Violation::new(
                    format!("{path}:{number}"),
                    format!("links to {target}, which is not there"),
                    "correct the link, or add the file",
                ));
            }
        }
    }
    found
}

/// Checks that commands of one program, named anywhere in a document, exist. `program` is `purlin` or `cargo xtask`.
pub fn check_commands(path: &str, text: &str, program: &str, known: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut in_block = false;
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
            continue;
        }
        let pieces: Vec<&str> = if in_block { vec![line] } else { inline_code(line) };
        for words in pieces.iter().flat_map(|piece| calls(piece, program)) {
            if let Err(word) = known.resolve(&words) {
                found.push(Violation::new(
                    format!("{path}:{number}"),
                    format!("names `{program} {}`, and there is no {word:?}", words.join(" ")),
                    "correct the command, or add it",
                ));
            }
        }
    }
    found
}

/// Lines outside code blocks.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_block = false;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        in_block ^= fence;
        !in_block && !fence
    })
}

/// Targets of `[text](target)`.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("](").filter_map(|(start, mark)| {
        let rest = &line[start + mark.len()..];
        // A title may follow the target.
        rest.split(')').next()?.split_whitespace().next()
    })
}

/// Resolves `.` and `..`; `None` when the path leaves the repository.
fn normal(path: &Path) -> Option<String> {
    let mut result = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => result.push(name),
            Component::CurDir => {}
            Component::ParentDir => {
                if !result.pop() {
                    return None;
                }
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(result.to_string_lossy().replace('\\', "/"))
}

/// Pieces between backticks.
fn inline_code(line: &str) -> Vec<&str> {
    line.split('`').skip(1).step_by(2).collect()
}

/// Finds calls of a program at the start of a shell command, and returns the plain words after it.
fn calls<'a>(code: &'a str, program: &str) -> Vec<Vec<&'a str>> {
    let code = code.split(" #").next().unwrap_or_default();
    let commands = code.split("&&").flat_map(|part| part.split(['|', ';']));
    commands
        .filter_map(|command| {
            let command = command.trim().trim_start_matches("$ ");
            let rest = command.strip_prefix(program)?.strip_prefix(' ')?;
            let plain = |word: &&str| {
                word.starts_with(|c: char| c.is_ascii_lowercase())
                    && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
            };
            let words: Vec<&str> = rest.split_whitespace().take_while(plain).collect();
            (!words.is_empty()).then_some(words)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(text: &str) -> Vec<String> {
        let exists = |path: &str| matches!(path, "README.md" | "docs" | "docs/a.md");
        check_links("docs/index.md", text, exists).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn dead_links_are_found() {
        assert_eq!(
            links("[a](a.md) [b](../README.md#top \"title\") [c](#here) [d](https://x.org/y) [e](.)"),
            [""; 0]
        );
        assert_eq!(links("```\n[a](gone.md)\n```\n[a](mailto:x@y.org)"), [""; 0]);
        let found = links("text\n[a](gone.md) and [b](../docs/a.md) and [c](../../etc/x)");
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("docs/index.md:2: links to gone.md, which is not there"), "{found:?}");
        assert_eq!(links("[a](/docs/a.md)").len(), 1, "an absolute path leads elsewhere on every machine");
    }

    #[test]
    fn commands_that_do_not_exist_are_found() {
        let tree = Tree::from([("run", Tree::leaf()), ("app", Tree::from([("build", Tree::leaf())]))]);
        let check = |text: &str| {
            let found = check_commands("README.md", text, "purlin", &tree);
            found.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let good = "Type `purlin run`.\n```sh\n$ purlin app build --path x && purlin run\npurlin run | less # purlin x\n```";
        assert_eq!(check(good), [""; 0]);
        assert_eq!(
            check("The purlin node, `purlin`, `purlin --help`, `purlin-cli run`, `purlin app`"),
            [""; 0]
        );
        assert_eq!(check("`purlin run hello`"), [""; 0], "an argument is no command");
        for bad in
            ["`purlin walk`", "```\ncd x && purlin walk\n```", "`purlin app walk`", "`purlin app walk x`"]
        {
            let found = check(bad);
            assert!(found.len() == 1 && found[0].contains("there is no \"walk\""), "{bad}: {found:?}");
        }
    }
}
