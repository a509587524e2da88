//! Why a network does not start.

use std::io;
use std::path::PathBuf;

/// Why [`NetworkService::start`](crate::NetworkService::start) or [`Identity`](crate::Identity) failed.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The identity file cannot be read or written.
    #[error("cannot use the network identity {path}: {source}; check that the folder exists and is writable")]
    IdentityFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The identity file holds something else.
    #[error("{path} is no network identity; restore it from a backup, or delete it to get a new peer id")]
    IdentityMalformed {
        /// The file.
        path: PathBuf,
    },
    /// Others on the machine can read the key.
    #[error("{path} can be read by others (mode {mode:03o}); run `chmod 600` on it")]
    IdentityExposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A configured address is none.
    #[error("{address:?} is not an address for {purpose}: {reason}; write it like {example}")]
    Address {
        /// As configured.
        address: String,
        /// What it was for.
        purpose: &'static str,
        /// What is wrong.
        reason: String,
        /// A right one.
        example: &'static str,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; {hint}")]
    Listen {
        /// As configured.
        address: String,
        /// What the system said.
        source: io::Error,
        /// What to do.
        hint: &'static str,
    },
    /// A limit contradicts another one or the protocol.
    #[error("the network setting {setting} cannot be {value}: {reason}")]
    Setting {
        /// Its name.
        setting: &'static str,
        /// Its value.
        value: String,
        /// Why not.
        reason: &'static str,
    },
    /// A part of libp2p refused its configuration.
    #[error("cannot set up {part}: {reason}; this is a defect, please report it")]
    Setup {
        /// Which.
        part: &'static str,
        /// What it said.
        reason: String,
    },
}
