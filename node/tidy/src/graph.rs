//! The crate graph, as cargo sees it.

use anyhow::{Context, Result, ensure};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use crate::edges::NOT_FOLLOWED;
use crate::files::relative;

/// A crate of the workspace.
#[derive(Debug, Clone, Default)]
pub struct Crate {
    /// Its package name.
    pub name: String,
    /// Its folder from the root: `node/state`.
    pub folder: String,
    /// Packages it names as dependencies, build dependencies included.
    pub dependencies: BTreeSet<String>,
    /// Packages it names for its tests only.
    pub dev_dependencies: BTreeSet<String>,
    /// Every package that is linked into it, through others too; not for its tests, and not along the few edges
    /// that `edges.rs` excepts.
    pub reaches: BTreeSet<String>,
}

/// Reads the graph of a workspace. Resolves for this machine only, so that packages of other systems need not be there.
pub fn read(root: &Path) -> Result<Vec<Crate>> {
    let metadata = MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .other_options(["--locked".to_owned(), "--filter-platform".to_owned(), host_platform()?])
        .exec()
        .context("run cargo metadata (is Cargo.lock up to date?)")?;
    let edges = linked_edges(&metadata)?;
    let names: BTreeMap<&PackageId, &str> =
        metadata.packages.iter().map(|package| (&package.id, package.name.as_str())).collect();
    let mut crates: Vec<Crate> = metadata
        .workspace_packages()
        .into_iter()
        .map(|package| {
            let named = |dev: bool| {
                let wanted = package
                    .dependencies
                    .iter()
                    .filter(|one| (one.kind == DependencyKind::Development) == dev);
                wanted.map(|one| one.name.clone()).collect()
            };
            let folder = package.manifest_path.parent().map(|folder| relative(root, folder.as_std_path()));
            let folder = folder.unwrap_or_default();
            let excepted = |from: &PackageId, to: &PackageId| {
                let name = |id| names.get(id).copied().unwrap_or_default();
                NOT_FOLLOWED.contains(&(folder.as_str(), name(from), name(to)))
            };
            Crate {
                name: package.name.to_string(),
                dependencies: named(false),
                dev_dependencies: named(true),
                reaches: reach(&package.id, &edges, excepted)
                    .into_iter()
                    .filter_map(|id| names.get(id).map(|name| (*name).to_owned()))
                    .collect(),
                folder,
            }
        })
        .collect();
    crates.sort_by(|left, right| left.folder.cmp(&right.folder));
    Ok(crates)
}

fn host_platform() -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").output().context("run rustc -vV")?;
    ensure!(output.status.success(), "rustc -vV failed");
    let text = String::from_utf8(output.stdout).context("read what rustc -vV says")?;
    let host =
        text.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc -vV names no host")?;
    Ok(host.to_owned())
}

/// Edges along which code is linked: normal dependencies only.
fn linked_edges(metadata: &Metadata) -> Result<BTreeMap<&PackageId, Vec<&PackageId>>> {
    let resolve = metadata.resolve.as_ref().context("cargo metadata gave no resolved graph")?;
    let linked = |node: &'_ cargo_metadata::NodeDep| {
        node.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal)
    };
    Ok(resolve
        .nodes
        .iter()
        .map(|node| (&node.id, node.deps.iter().filter(|dep| linked(dep)).map(|dep| &dep.pkg).collect()))
        .collect())
}

/// Returns all that can be got to from `from` without an excepted edge.
fn reach<'a, T: Ord + ?Sized>(
    from: &'a T,
    edges: &BTreeMap<&'a T, Vec<&'a T>>,
    excepted: impl Fn(&T, &T) -> bool,
) -> BTreeSet<&'a T> {
    let next = |from: &'a T| {
        let all = edges.get(from).into_iter().flatten().copied();
        all.filter(|to| !excepted(from, to)).collect::<Vec<_>>()
    };
    let mut reached = BTreeSet::new();
    let mut pending = next(from);
    while let Some(id) = pending.pop() {
        if reached.insert(id) {
            pending.extend(next(id));
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excepted_edge_hides_what_is_reached_by_it_alone() {
        let edges: BTreeMap<&str, Vec<&str>> = BTreeMap::from([
            ("pure", vec!["core", "other"]),
            ("core", vec!["tokio"]),
            ("tokio", vec!["mio"]),
        ]);
        let excepted = |from: &str, to: &str| (from, to) == ("core", "tokio");
        assert_eq!(reach("pure", &edges, excepted), BTreeSet::from(["core", "other"]));
        assert_eq!(reach("pure", &edges, |_, _| false).len(), 4);

        let mut second = edges;
        second.insert("other", vec!["tokio"]);
        assert!(reach("pure", &second, excepted).contains("mio"), "another way to the same package is found");
    }
}
