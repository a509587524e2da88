//! Brings what the build needs and the machine lacks.

use anyhow::{Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::command::{capture, root, run};

/// Debian packages that RocksDB's build needs: clang, which compiles it (see `.cargo/config.toml`), g++ for the standard
/// library, and libclang for its bindings.
const PACKAGES: &[&str] = &["g++", "clang", "libclang-dev"];
const WASM_TARGET: &str = "wasm32-unknown-unknown";

/// Installs the wasm target and clang, or says which command does.
pub(crate) fn ensure() -> Result<()> {
    ensure_wasm_target()?;
    ensure_clang()
}

fn ensure_wasm_target() -> Result<()> {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "target-libdir", "--target", WASM_TARGET]).current_dir(root());
    if capture(rustc).is_ok_and(|folder| Path::new(folder.trim()).is_dir()) {
        return Ok(());
    }
    println!("installing the wasm target {WASM_TARGET}");
    let mut rustup = Command::new("rustup");
    rustup.args(["target", "add", WASM_TARGET]).current_dir(root());
    if let Err(error) = run(rustup) {
        bail!(
            "{error}\nthe wasm target is needed to build applications; run: rustup target add {WASM_TARGET}"
        );
    }
    Ok(())
}

fn ensure_clang() -> Result<()> {
    if works("c++") && works("clang++") && libclang_is_here() {
        return Ok(());
    }
    let by_hand = format!("apt-get update && apt-get install -y {}", PACKAGES.join(" "));
    let is_root = capture({
        let mut id = Command::new("id");
        id.arg("-u");
        id
    })
    .is_ok_and(|id| id.trim() == "0");
    if !(is_root && works("apt-get")) {
        bail!(
            "clang and libclang are needed to build RocksDB; run: sudo sh -c '{by_hand}'\n\
             (other systems: install clang with its development files)"
        );
    }
    println!("installing {}", PACKAGES.join(", "));
    let mut update = Command::new("apt-get");
    update.args(["update", "-qq"]);
    run(update)?;
    let mut install = Command::new("apt-get");
    install.args(["install", "-y", "-qq"]).args(PACKAGES).env("DEBIAN_FRONTEND", "noninteractive");
    install.stdout(Stdio::null());
    run(install)
}

fn works(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Looks where bindgen looks: `LIBCLANG_PATH`, then the usual library folders; and for the headers that come with
/// the compiler, which a system with the library alone lacks.
fn libclang_is_here() -> bool {
    if std::env::var_os("LIBCLANG_PATH").is_some() {
        return true;
    }
    let mut folders: Vec<PathBuf> = [
        "/usr/lib",
        "/usr/lib64",
        "/usr/local/lib",
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
    ]
    .iter()
    .map(Into::into)
    .collect();
    let llvm = entries(Path::new("/usr/lib")).filter(|path| name(path).starts_with("llvm"));
    folders.extend(llvm.map(|path| path.join("lib")));
    let library = folders.iter().flat_map(|folder| entries(folder)).any(|path| is_libclang(&name(&path)));
    let headers = folders
        .iter()
        .flat_map(|folder| entries(&folder.join("clang")))
        .any(|version| version.join("include/stddef.h").is_file());
    library && (headers || works("clang"))
}

/// Says whether a file of this name is the library that bindgen loads. `libclang-cpp` is another one, which machines
/// without clang may have.
fn is_libclang(name: &str) -> bool {
    name.starts_with("libclang.so")
        || name.starts_with("libclang-") && name.contains(".so") && !name.starts_with("libclang-cpp.")
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine with `libclang-cpp.so.14` and no clang passed for one that can build RocksDB.
    #[test]
    fn the_cpp_library_is_not_libclang() {
        for (name, is) in [
            ("libclang.so", true),
            ("libclang.so.1", true),
            ("libclang-14.so.1", true),
            ("libclang-14.so.14.0.6", true),
            ("libclang-cpp.so.14", false),
            ("libclang-cpp.so", false),
            ("libclang_rt.asan.so", false),
        ] {
            assert_eq!(is_libclang(name), is, "{name}");
        }
    }
}
