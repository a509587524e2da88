//! The crate graph, as cargo sees it.

use anyhow::{Context, Result, ensure};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

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
    /// Every package that is linked into it, through others too; not for its tests.
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
            Crate {
                name: package.name.to_string(),
                folder: folder.unwrap_or_default(),
                dependencies: named(false),
                dev_dependencies: named(true),
                reaches: reach(&package.id, &edges)
                    .into_iter()
                    .filter_map(|id| names.get(id).map(|name| (*name).to_owned()))
                    .collect(),
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

fn reach<'a>(
    from: &PackageId,
    edges: &BTreeMap<&'a PackageId, Vec<&'a PackageId>>,
) -> BTreeSet<&'a PackageId> {
    let next = |id: &PackageId| edges.get(id).cloned().unwrap_or_default();
    let mut reached = BTreeSet::new();
    let mut pending = next(from);
    while let Some(id) = pending.pop() {
        if reached.insert(id) {
            pending.extend(next(id));
        }
    }
    reached
}
