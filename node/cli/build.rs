//! Packs the SDK's sources into the binary, so that `purlin app new` works on a machine that has only the
//! binary and Rust.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

/// SDK crates an application needs: to build, and to test.
const CRATES: &[&str] = &["abi", "app", "macros", "testing"];

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("../..");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    println!("cargo:rerun-if-changed={}", root.join("Cargo.toml").display());

    let mut archive = tar::Builder::new(
        flate2::GzBuilder::new()
            .mtime(0)
            .write(fs::File::create(out.join("sdk.tar.gz"))?, flate2::Compression::best()),
    );
    let mut used = BTreeSet::new();
    for name in CRATES {
        let folder = root.join("sdk").join(name);
        println!("cargo:rerun-if-changed={}", folder.display());
        let manifest: toml::Table = fs::read_to_string(folder.join("Cargo.toml"))?.parse()?;
        collect_workspace_dependencies(&manifest, &mut used);
        add(
            &mut archive,
            &format!("{name}/Cargo.toml"),
            without_dev_dependencies(manifest).to_string().as_bytes(),
        )?;
        for file in sources(&folder.join("src"))? {
            println!("cargo:rerun-if-changed={}", file.display());
            let inside = file.strip_prefix(&folder)?;
            add(&mut archive, &format!("{name}/{}", inside.display()), &fs::read(&file)?)?;
        }
    }
    let workspace: toml::Table = fs::read_to_string(root.join("Cargo.toml"))?.parse()?;
    add(&mut archive, "Cargo.toml", sdk_workspace(&workspace, &used)?.to_string().as_bytes())?;
    archive.into_inner()?.finish()?;
    Ok(())
}

fn sources(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn add<W: std::io::Write>(
    archive: &mut tar::Builder<W>,
    path: &str,
    bytes: &[u8],
) -> Result<(), Box<dyn Error>> {
    let mut header = tar::Header::new_ustar();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_cksum();
    archive.append_data(&mut header, path, bytes)?;
    Ok(())
}

/// The SDK's own tests stay behind; their dependencies would only make the first build longer.
fn without_dev_dependencies(mut manifest: toml::Table) -> toml::Table {
    manifest.remove("dev-dependencies");
    manifest
}

fn collect_workspace_dependencies(manifest: &toml::Table, used: &mut BTreeSet<String>) {
    let mut tables = vec![manifest];
    if let Some(targets) = manifest.get("target").and_then(toml::Value::as_table) {
        tables.extend(targets.values().filter_map(toml::Value::as_table));
    }
    for table in tables {
        for section in ["dependencies", "build-dependencies"] {
            if let Some(dependencies) = table.get(section).and_then(toml::Value::as_table) {
                used.extend(dependencies.keys().cloned());
            }
        }
    }
}

/// Returns the root manifest of the packed SDK: the same versions and lints, only what it uses.
fn sdk_workspace(root: &toml::Table, used: &BTreeSet<String>) -> Result<toml::Table, Box<dyn Error>> {
    let source =
        root.get("workspace").and_then(toml::Value::as_table).ok_or("the root manifest has no workspace")?;
    let mut workspace = toml::Table::new();
    workspace.insert("resolver".into(), "3".into());
    workspace.insert(
        "members".into(),
        CRATES.iter().map(|name| toml::Value::from(*name)).collect::<Vec<_>>().into(),
    );
    for key in ["package", "lints"] {
        workspace.insert(key.into(), source.get(key).ok_or("the root manifest lacks a section")?.clone());
    }
    let mut dependencies = toml::Table::new();
    let all =
        source.get("dependencies").and_then(toml::Value::as_table).ok_or("no workspace dependencies")?;
    for name in used {
        let mut dependency =
            all.get(name).ok_or_else(|| format!("{name} is not a workspace dependency"))?.clone();
        if let Some(path) = dependency.get_mut("path") {
            let inside = path.as_str().and_then(|path| path.strip_prefix("sdk/"));
            *path = inside.ok_or_else(|| format!("{name} is outside sdk/"))?.into();
        }
        dependencies.insert(name.clone(), dependency);
    }
    workspace.insert("dependencies".into(), dependencies.into());
    Ok(toml::Table::from_iter([("workspace".to_string(), toml::Value::Table(workspace))]))
}
