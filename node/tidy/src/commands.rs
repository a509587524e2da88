//! The commands of a program, read from the enums that clap derives them from.

use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use syn::{Fields, Item, ItemEnum, Type, Variant};

/// Commands by name, each with its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    below: BTreeMap<String, Tree>,
}

impl Tree {
    /// A command without commands of its own.
    pub fn leaf() -> Self {
        Self::default()
    }

    /// Checks that words name a command, and returns the first that does not. What follows a command without commands of
    /// its own is an argument.
    pub fn resolve<'a>(&self, words: &[&'a str]) -> Result<(), &'a str> {
        let [first, rest @ ..] = words else { return Ok(()) };
        if self.below.is_empty() || *first == "help" {
            return Ok(());
        }
        self.below.get(*first).ok_or(*first)?.resolve(rest)
    }

    /// Returns the names of the first level.
    pub fn names(&self) -> Vec<&str> {
        self.below.keys().map(String::as_str).collect()
    }
}

impl<const N: usize> From<[(&str, Tree); N]> for Tree {
    fn from(below: [(&str, Tree); N]) -> Self {
        Self { below: below.into_iter().map(|(name, tree)| (name.to_owned(), tree)).collect() }
    }
}

/// Reads the enum `name` in `file` (a path from `source`, a crate's `src`). A variant marked `#[command(subcommand)]` holds
/// another such enum by its path in the crate: `commands::app::Command` is `Command` in `commands/app.rs` or
/// `commands/app/mod.rs`.
pub fn read(source: &Path, file: &Path, name: &str) -> Result<Tree> {
    let path = source.join(file);
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let parsed = syn::parse_file(&text).with_context(|| format!("parse {}", path.display()))?;
    let found = parsed.items.iter().find_map(|item| match item {
        Item::Enum(item) if item.ident == name => Some(item),
        _ => None,
    });
    let found: &ItemEnum = found.with_context(|| format!("{} has no enum {name}", path.display()))?;
    let mut tree = Tree::default();
    for variant in &found.variants {
        let below = match nested(variant) {
            Some(path) => read_nested(source, &path)?,
            None => Tree::leaf(),
        };
        tree.below.insert(command_name(variant), below);
    }
    Ok(tree)
}

fn read_nested(source: &Path, path: &[String]) -> Result<Tree> {
    let (name, modules) = path.split_last().context("a subcommand's type has a name")?;
    let modules: PathBuf = modules.iter().filter(|module| *module != "crate").collect();
    let candidates = [modules.with_extension("rs"), modules.join("mod.rs")];
    let file = candidates
        .iter()
        .find(|file| source.join(file).is_file())
        .with_context(|| format!("found no file for the commands of {}", path.join("::")))?;
    read(source, file, name)
}

/// The path of the enum that a `#[command(subcommand)]` variant holds.
fn nested(variant: &Variant) -> Option<Vec<String>> {
    if !command_words(variant).iter().any(|word| word == "subcommand") {
        return None;
    }
    let Fields::Unnamed(fields) = &variant.fields else { return None };
    let Type::Path(path) = &fields.unnamed.first()?.ty else { return None };
    Some(path.path.segments.iter().map(|segment| segment.ident.to_string()).collect())
}

/// The command's name: `#[command(name = "..")]`, or the variant's in kebab case.
fn command_name(variant: &Variant) -> String {
    let words = command_words(variant);
    if let Some(name) = words.iter().skip_while(|word| *word != "name").nth(1) {
        return name.clone();
    }
    let mut name = String::new();
    for (index, letter) in variant.ident.to_string().chars().enumerate() {
        if letter.is_uppercase() && index > 0 {
            name.push('-');
        }
        name.extend(letter.to_lowercase());
    }
    name
}

/// Words in the `#[command(..)]` attributes.
fn command_words(variant: &Variant) -> Vec<String> {
    let lists = variant.attrs.iter().filter_map(|attribute| match &attribute.meta {
        syn::Meta::List(list) if list.path.is_ident("command") => Some(list.tokens.to_string()),
        _ => None,
    });
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    lists
        .flat_map(|text| {
            let words = text.split(|c| !is_word(c)).filter(|word| !word.is_empty()).map(str::to_owned);
            words.collect::<Vec<_>>()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_nesting_are_read_from_variants() {
        let parsed: ItemEnum = syn::parse_str(
            r#"enum Command {
                /// Mentions a subcommand and a name.
                TestHost(Args),
                #[command(name = "ls", hide = true)] List,
                #[command(subcommand)] App(commands::app::Command),
            }"#,
        )
        .unwrap();
        let read: Vec<_> =
            parsed.variants.iter().map(|variant| (command_name(variant), nested(variant))).collect();
        let app = ["commands", "app", "Command"].map(str::to_owned).to_vec();
        assert_eq!(read, [("test-host".into(), None), ("ls".into(), None), ("app".into(), Some(app))]);
    }

    #[test]
    fn a_missing_enum_is_an_error() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let error = read(&source, Path::new("commands.rs"), "Command").unwrap_err();
        assert!(error.to_string().contains("has no enum Command"), "{error}");
        let error = read_nested(&source, &["gone".to_owned(), "Command".to_owned()]).unwrap_err();
        assert!(error.to_string().contains("gone::Command"), "{error}");
    }
}
