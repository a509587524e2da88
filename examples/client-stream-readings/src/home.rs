//! Finds the running node and the signing key in the node's folder.

use anyhow::{Context, Result, anyhow, bail};
use purlin_client::Endpoint;
use purlin_primitives::SecretKey;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// Below the home folder: where `purlin dev` keeps its chain.
const DEV_FOLDER: &str = "dev";

/// Returns the folders that may hold a node.
pub(crate) fn candidates(home: Option<PathBuf>) -> Vec<PathBuf> {
    let default = || std::env::home_dir().unwrap_or_else(|| PathBuf::from(".")).join(".purlin");
    let home = home.unwrap_or_else(default);
    vec![home.clone(), home.join(DEV_FOLDER)]
}

/// Returns the socket of the node that is running.
pub(crate) fn find_node(homes: &[PathBuf]) -> Result<Endpoint> {
    let sockets = homes.iter().map(|home| home.join("purlin.sock"));
    match sockets.into_iter().find(|socket| UnixStream::connect(socket).is_ok()) {
        Some(socket) => Ok(Endpoint::Unix(socket)),
        None => bail!(
            "no node is running in {}; start one with `purlin dev`, or name one with --node",
            homes[0].display()
        ),
    }
}

/// Reads a development key by name.
pub(crate) fn find_key(homes: &[PathBuf], name: &str) -> Result<SecretKey> {
    let files = |extension: &str| {
        let name = format!("{name}.{extension}");
        homes.iter().map(|home| home.join("keys").join(&name)).find(|path| path.exists())
    };
    match (files("dev"), files("age")) {
        (Some(path), _) => read_key(&path),
        (None, Some(path)) => {
            bail!(
                "{} is encrypted; decrypt it with `age --decrypt` and pass the result as --key-file",
                path.display()
            )
        }
        (None, None) => {
            bail!("there is no key {name} in {}; `purlin key list` shows what there is", homes[0].display())
        }
    }
}

/// Reads a key of 64 hexadecimal digits.
pub(crate) fn read_key(path: &Path) -> Result<SecretKey> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let digits = text.trim();
    let mut bytes = [0; 32];
    hex::decode_to_slice(digits.strip_prefix("0x").unwrap_or(digits), &mut bytes)
        .map_err(|error| anyhow!("{}: expected 64 hexadecimal digits: {error}", path.display()))?;
    SecretKey::from_bytes(&bytes).with_context(|| path.display().to_string())
}
