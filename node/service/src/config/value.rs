//! Reading values. Each parser answers with what it expected.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::path::PathBuf;

use super::{ConfigError, Origin};
use crate::keystore::KeyName;
use purlin_network::{Reachability, check_peer_id};
use purlin_sync::Checkpoint;

/// How wasm is run; gas and results are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineBackend {
    /// Optimised native code.
    CraneliftSpeed,
    /// Native code that compiles fast.
    CraneliftNone,
    /// A portable interpreter.
    Pulley,
}

/// How instances get memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryAllocation {
    /// A pool when the machine has the address space.
    Automatic,
    /// Mapped for each call.
    OnDemand,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// How a node without data joins a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncMethod {
    /// It executes every block.
    Replay,
    /// It fetches the state of a recent block.
    Snapshot,
}

impl fmt::Display for EngineBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CraneliftSpeed => "cranelift-speed",
            Self::CraneliftNone => "cranelift-none",
            Self::Pulley => "pulley",
        })
    }
}

/// Where the socket is.
pub(crate) enum Socket {
    Default,
    Off,
    At(PathBuf),
}

/// Parses a merged value; the error names setting, value and origin.
pub(super) fn with<T>(
    (key, value, origin): (&'static str, &str, &Origin),
    parse: fn(&str) -> Result<T, String>,
) -> Result<T, ConfigError> {
    parse(value).map_err(|expected| ConfigError::Value {
        key,
        value: value.to_owned(),
        expected,
        origin: origin.clone(),
    })
}

pub(super) fn address(text: &str) -> Result<Option<SocketAddr>, String> {
    if text == "off" {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| "an address and port such as 127.0.0.1:7420, or off".into())
}

pub(super) fn socket(text: &str) -> Result<Socket, String> {
    match text {
        "auto" => Ok(Socket::Default),
        "off" => Ok(Socket::Off),
        "" => Err("a path, auto or off".into()),
        path => Ok(Socket::At(path.into())),
    }
}

pub(super) fn key_name(text: &str) -> Result<Option<KeyName>, String> {
    if text == "off" {
        return Ok(None);
    }
    text.parse()
        .map(Some)
        .map_err(|_| "a key's name (a-z, 0-9 and '-', starting with a letter), or off".into())
}

fn number(text: &str, min: u64, max: u64) -> Result<u64, String> {
    let parsed = text.replace('_', "").parse::<u64>().ok();
    parsed.filter(|value| (min..=max).contains(value)).ok_or(format!("a whole number from {min} to {max}"))
}

pub(super) fn milliseconds(text: &str) -> Result<u64, String> {
    number(text, 0, 3_600_000)
}

pub(super) fn count(text: &str) -> Result<usize, String> {
    number(text, 1, 100_000_000).map(|value| value as usize)
}

pub(super) fn instances(text: &str) -> Result<u32, String> {
    // Fewer could not hold the deepest chain of app-to-app calls.
    number(text, purlin_abi::limits::CALL_DEPTH_MAX as u64, 100_000).map(|value| value as u32)
}

pub(super) fn threads(text: &str) -> Result<usize, String> {
    if text == "auto" {
        return Ok(std::thread::available_parallelism().map_or(1, usize::from));
    }
    number(text, 1, 1_024).map(|value| value as usize).map_err(|expected| format!("{expected}, or auto"))
}

pub(super) fn mining_threads(text: &str) -> Result<usize, String> {
    number(text, 0, 1_024).map(|value| value as usize)
}

pub(super) fn hash_rate(text: &str) -> Result<Option<NonZeroU64>, String> {
    if text == "off" {
        return Ok(None);
    }
    number(text, 1, 1 << 50).map(NonZeroU64::new).map_err(|expected| format!("{expected}, or off"))
}

pub(super) fn bytes(text: &str) -> Result<usize, String> {
    let units = [("KiB", 1_u64 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("", 1)];
    units
        .iter()
        .find_map(|(suffix, unit)| text.strip_suffix(suffix).map(|digits| (digits.trim(), *unit)))
        .and_then(|(digits, unit)| digits.replace('_', "").parse::<u64>().ok()?.checked_mul(unit))
        .filter(|value| (1 << 20..=1 << 40).contains(value))
        .and_then(|value| usize::try_from(value).ok())
        .ok_or_else(|| "a size from 1MiB to 1024GiB, in bytes or with KiB, MiB or GiB".into())
}

pub(super) fn backend(text: &str) -> Result<EngineBackend, String> {
    match text {
        "cranelift-speed" => Ok(EngineBackend::CraneliftSpeed),
        "cranelift-none" => Ok(EngineBackend::CraneliftNone),
        "pulley" => Ok(EngineBackend::Pulley),
        _ => Err("cranelift-speed, cranelift-none or pulley".into()),
    }
}

pub(super) fn allocation(text: &str) -> Result<MemoryAllocation, String> {
    match text {
        "auto" => Ok(MemoryAllocation::Automatic),
        "on-demand" => Ok(MemoryAllocation::OnDemand),
        _ => Err("auto or on-demand".into()),
    }
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|one| !one.is_empty()).map(str::to_owned).collect()
}

pub(super) fn addresses(text: &str) -> Result<Vec<String>, String> {
    let all = list(text);
    if all.iter().all(|one| one.starts_with('/')) {
        return Ok(all);
    }
    Err("multiaddresses such as /ip4/0.0.0.0/tcp/7421, with commas between them".into())
}

pub(super) fn reachable(text: &str) -> Result<Reachability, String> {
    match text {
        "auto" => Ok(Reachability::Detect),
        "yes" => Ok(Reachability::Reachable),
        "no" => Ok(Reachability::Unreachable),
        _ => Err("auto, yes or no".into()),
    }
}

pub(super) fn peer_ids(text: &str) -> Result<Vec<String>, String> {
    let all = list(text);
    match all.iter().find(|id| check_peer_id(id).is_err()) {
        None => Ok(all),
        Some(wrong) => Err(format!(
            "peer ids such as 12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp, with commas between them; \
             {wrong:?} is none"
        )),
    }
}

pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("on or off".into()),
    }
}

pub(super) fn sync(text: &str) -> Result<SyncMethod, String> {
    match text {
        "replay" => Ok(SyncMethod::Replay),
        "snapshot" => Ok(SyncMethod::Snapshot),
        _ => Err("replay or snapshot".into()),
    }
}

pub(super) fn checkpoint(text: &str) -> Result<Option<Checkpoint>, String> {
    if text == "off" {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| "HEIGHT:BLOCKID, as `purlin status` prints it, or off".into())
}

/// A number, or nothing for `off`.
fn number_or_off(text: &str, min: u64, max: u64) -> Result<Option<u64>, String> {
    if text == "off" {
        return Ok(None);
    }
    number(text, min, max).map(Some).map_err(|expected| format!("{expected}, or off"))
}

pub(super) fn blocks(text: &str) -> Result<Option<u64>, String> {
    number_or_off(text, 1, 1_000_000_000_000)
}

pub(super) fn days(text: &str) -> Result<Option<u64>, String> {
    number_or_off(text, 1, 100_000)
}

pub(super) fn budget(text: &str) -> Result<Option<u64>, String> {
    if text == "off" {
        return Ok(None);
    }
    bytes(text).map(|bytes| Some(bytes as u64)).map_err(|expected| format!("{expected}, or off"))
}

pub(super) fn network_key(text: &str) -> Result<Option<[u8; 32]>, String> {
    if text == "off" {
        return Ok(None);
    }
    let bytes = hex::decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.map(Some).ok_or_else(|| "64 hexadecimal digits, or off".into())
}

pub(super) fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("text or json".into()),
    }
}
