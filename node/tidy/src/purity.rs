//! Looks into the sources of pure crates: the standard library has clocks, files and sockets too.

use proc_macro2::TokenStream;
use syn::visit::{self, Visit};
use syn::{Attribute, Item, UseTree};

use crate::Violation;

/// Parts of a path that no pure crate may name, and what they are.
const BANNED: &[(&[&str], &str)] = &[
    (&["time", "Instant"], "a clock"),
    (&["time", "SystemTime"], "a clock"),
    (&["Instant", "now"], "a clock"),
    (&["SystemTime", "now"], "a clock"),
    (&["std", "fs"], "files"),
    (&["std", "net"], "sockets"),
    (&["std", "env"], "the environment"),
    (&["std", "process"], "processes"),
    (&["thread", "sleep"], "waiting"),
    (&["thread", "spawn"], "threads"),
];

/// Checks one source file. Items under `#[cfg(test)]` are free.
pub fn check(path: &str, source: &str) -> Vec<Violation> {
    let file = match syn::parse_file(source) {
        Ok(file) => file,
        Err(error) => {
            return vec![Violation::new(path, format!("cannot be parsed: {error}"), "let it compile first")];
        }
    };
    let mut names = Names::default();
    names.visit_file(&file);
    let mut found = Vec::new();
    for (banned, what) in BANNED {
        let uses = |name: &&Vec<String>| name.windows(banned.len()).any(|part| part.iter().eq(banned.iter()));
        if let Some(name) = names.paths.iter().find(uses) {
            found.push(Violation::new(
                path,
                format!("names {} ({what})", name.join("::")),
                "the crate is pure; take it as an input of the function, or put it behind a port",
            ));
        }
    }
    found
}

/// Collects every path that code names.
#[derive(Default)]
struct Names {
    paths: Vec<Vec<String>>,
}

impl Names {
    fn add_use(&mut self, tree: &UseTree, before: &[String]) {
        let with = |name: String| before.iter().cloned().chain([name]).collect::<Vec<_>>();
        match tree {
            UseTree::Path(path) => self.add_use(&path.tree, &with(path.ident.to_string())),
            UseTree::Name(name) => self.paths.push(with(name.ident.to_string())),
            UseTree::Rename(rename) => self.paths.push(with(rename.ident.to_string())),
            UseTree::Glob(_) => self.paths.push(before.to_vec()),
            UseTree::Group(group) => group.items.iter().for_each(|item| self.add_use(item, before)),
        }
    }

    /// Reads a macro's arguments as one long path of words: good enough to see `Instant::now`.
    fn add_tokens(&mut self, tokens: TokenStream) {
        let text = tokens.to_string();
        let words = text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty());
        self.paths.push(words.map(str::to_owned).collect());
    }
}

impl<'ast> Visit<'ast> for Names {
    fn visit_item(&mut self, item: &'ast Item) {
        if !attributes(item).iter().any(is_test) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.add_use(&item.tree, &[]);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.paths.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.add_tokens(call.tokens.clone());
        visit::visit_macro(self, call);
    }
}

fn is_test(attribute: &Attribute) -> bool {
    // Documentation is an attribute as well, and may speak of tests.
    let syn::Meta::List(list) = &attribute.meta else { return attribute.path().is_ident("test") };
    list.path.is_ident("cfg") && list.tokens.to_string() == "test"
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_source(source: &str, expected: Option<&str>) {
        let found = check("lib.rs", source);
        match expected {
            None => assert_eq!(found, [], "{source}"),
            Some(expected) => {
                assert_eq!(found.len(), 1, "{source}: {found:?}");
                assert!(found[0].to_string().contains(expected), "{}", found[0]);
            }
        }
    }

    #[test]
    fn effects_are_found_however_they_are_named() {
        for (source, expected) in [
            ("use std::time::Instant;", "std::time::Instant (a clock)"),
            ("use std::{fmt, time::{Duration, SystemTime as Clock}};", "std::time::SystemTime"),
            ("use std::fs;", "std::fs (files)"),
            ("use std::net::*;", "std::net (sockets)"),
            ("use std::fs::{self, File};", "std::fs"),
            ("fn f() { let _ = std::fs::read(\"x\"); }", "std::fs::read"),
            ("struct S { at: std::time::Instant }", "std::time::Instant"),
            ("fn f() { std::thread::sleep(d) }", "std::thread::sleep (waiting)"),
            ("fn f() { println!(\"{:?}\", Instant::now()) }", "Instant"),
            ("mod inner { fn f() { std::env::var(\"X\"); } }", "std::env::var (the environment)"),
            ("impl S { fn f() { std::process::exit(1) } }", "std::process::exit"),
        ] {
            check_source(source, Some(expected));
        }
    }

    #[test]
    fn pure_code_and_tests_are_left_alone() {
        for source in [
            "use std::time::Duration; use std::collections::BTreeMap;",
            "/// Unlike std::fs, keeps all in memory.\nstruct MemoryStore;",
            "#[cfg(test)] mod tests { use std::time::Instant; }",
            "#[cfg(test)] use std::fs;",
            "fn f() -> &'static str { \"std::fs\" }",
        ] {
            check_source(source, None);
        }
        check_source("#[cfg(not(test))] use std::fs;", Some("std::fs"));
        check_source("fn {", Some("cannot be parsed"));
    }
}
