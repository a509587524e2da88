//! Where a node is.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where a node listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// Unix socket: full access, guarded by file permissions.
    Unix(PathBuf),
    /// `host:port`, plain http; needs a token.
    Http(String),
}

/// Says that a text is no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a node's address; expected unix:PATH or http://HOST:PORT")]
pub struct ParseEndpointError {
    text: String,
}

impl FromStr for Endpoint {
    type Err = ParseEndpointError;

    fn from_str(text: &str) -> Result<Self, ParseEndpointError> {
        let refused = || ParseEndpointError { text: text.into() };
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() { Err(refused()) } else { Ok(Self::Unix(path.into())) };
        }
        let authority =
            text.strip_prefix("http://").map(|rest| rest.trim_end_matches('/')).ok_or_else(refused)?;
        let (host, port) = authority.rsplit_once(':').ok_or_else(refused)?;
        if host.is_empty() || port.parse::<u16>().is_err() || authority.contains(['/', '?', '#', '@', ' ']) {
            return Err(refused());
        }
        Ok(Self::Http(authority.into()))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Http(authority) => write!(f, "http://{authority}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_refuses_the_rest() {
        for good in ["unix:/run/node.sock", "http://127.0.0.1:8645", "http://[::1]:80"] {
            assert_eq!(good.parse::<Endpoint>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "unix:",
            "127.0.0.1:80",
            "http://",
            "http://host",
            "http://host:x",
            "https://host:1",
            "http://h:1/x",
        ] {
            assert!(bad.parse::<Endpoint>().is_err(), "{bad:?} must be refused");
        }
    }
}
