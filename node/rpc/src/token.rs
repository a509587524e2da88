//! Bearer tokens, stored hashed in a file that the command line writes and the server follows.

use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use subtle::ConstantTimeEq;

/// Most tokens in a file; checking one looks at all.
const TOKENS_MAX: usize = 256;
/// Longest name of a token, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// How long a change of the file may go unnoticed.
const RELOAD_INTERVAL: Duration = Duration::from_secs(1);
/// What every token starts with, so that secret scanners find leaked ones.
const PREFIX: &str = "purlin_";

/// What a token allows; each includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Read the chain, run queries and simulations, follow streams, read metrics.
    Read,
    /// Submit signed transactions.
    Submit,
    /// Everything the unix socket may do.
    Admin,
}

impl Scope {
    /// Returns the text form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Submit => "submit",
            Self::Admin => "admin",
        }
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Says that a text is no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a scope; expected read, submit or admin")]
pub struct ParseScopeError {
    /// What was read.
    pub text: String,
}

impl FromStr for Scope {
    type Err = ParseScopeError;

    fn from_str(text: &str) -> Result<Self, ParseScopeError> {
        match text {
            "read" => Ok(Self::Read),
            "submit" => Ok(Self::Submit),
            "admin" => Ok(Self::Admin),
            _ => Err(ParseScopeError { text: text.chars().take(64).collect() }),
        }
    }
}

/// Says why tokens cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read or written.
    #[error("cannot {operation} {}: {source}", path.display())]
    File {
        /// What was being done.
        operation: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The file is not what this program writes.
    #[error("{} is not a token file: {detail}", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// The name is taken.
    #[error("a token named {name:?} exists already; revoke it first or choose another name")]
    NameTaken {
        /// Which name.
        name: String,
    },
    /// The name is empty, too long, or has characters that a terminal would not show.
    #[error("{name:?} is not a token name; expected 1 to 64 of a-z, A-Z, 0-9, '.', '_' and '-'")]
    BadName {
        /// Which name.
        name: String,
    },
    /// No such token.
    #[error("there is no token named {name:?}")]
    NotFound {
        /// Which name.
        name: String,
    },
    /// Too many tokens.
    #[error("there are {max} tokens already; revoke one first")]
    TooMany {
        /// Most tokens.
        max: usize,
    },
    /// The operating system gave no randomness.
    #[error("the operating system gave no random bytes: {detail}")]
    Random {
        /// What it said.
        detail: String,
    },
}

/// What is stored of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRecord {
    /// Its name, for people.
    pub name: String,
    /// What it allows.
    pub scope: Scope,
    /// When it was made, in milliseconds since 1970.
    pub created_at_ms: u64,
    /// SHA-256 of the token, hexadecimal; the token itself is nowhere.
    pub sha256: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenFile {
    tokens: Vec<TokenRecord>,
}

/// What the file was when it was last read.
#[derive(Debug, Default, PartialEq, Eq, Clone, Copy)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
}

#[derive(Debug)]
struct Loaded {
    tokens: Vec<([u8; 32], Scope)>,
    stamp: Stamp,
    looked_at: Instant,
}

/// Tokens of a node, in `tokens.json` of its home. A token made by another process is accepted at once; one revoked
/// there is refused within a second.
#[derive(Debug)]
pub struct TokenStore {
    path: PathBuf,
    loaded: RwLock<Loaded>,
}

impl TokenStore {
    /// Reads the file; one that does not exist has no tokens.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, TokenError> {
        let path = path.into();
        let stamp = stamp_of(&path);
        let tokens = hashes(&read(&path)?, &path)?;
        Ok(Self { path, loaded: RwLock::new(Loaded { tokens, stamp, looked_at: Instant::now() }) })
    }

    /// Makes a token and returns it; it cannot be shown again.
    pub fn create(&self, name: &str, scope: Scope) -> Result<String, TokenError> {
        let good = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(good) {
            return Err(TokenError::BadName { name: name.chars().take(NAME_BYTES_MAX).collect() });
        }
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|error| TokenError::Random { detail: error.to_string() })?;
        let token = format!("{PREFIX}{}", to_hex(&secret));
        let created_at_ms = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |elapsed| u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX));
        let record =
            TokenRecord { name: name.into(), scope, created_at_ms, sha256: to_hex(&Sha256::digest(&token)) };
        self.change(|tokens| {
            if tokens.iter().any(|other| other.name == name) {
                return Err(TokenError::NameTaken { name: name.into() });
            }
            if tokens.len() >= TOKENS_MAX {
                return Err(TokenError::TooMany { max: TOKENS_MAX });
            }
            tokens.push(record);
            Ok(())
        })?;
        Ok(token)
    }

    /// Returns what is stored, in order of creation.
    pub fn list(&self) -> Result<Vec<TokenRecord>, TokenError> {
        Ok(read(&self.path)?.tokens)
    }

    /// Forgets a token; running servers refuse it within a second.
    pub fn revoke(&self, name: &str) -> Result<(), TokenError> {
        self.change(|tokens| {
            let before = tokens.len();
            tokens.retain(|token| token.name != name);
            if tokens.len() == before { Err(TokenError::NotFound { name: name.into() }) } else { Ok(()) }
        })
    }

    /// Returns what a token allows. Takes the same time wherever the difference is.
    pub fn check(&self, token: &str) -> Option<Scope> {
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        self.follow(RELOAD_INTERVAL);
        // An unknown one may have been made a moment ago: one look at the file's time and length tells.
        self.find(&hash).or_else(|| {
            self.follow(Duration::ZERO);
            self.find(&hash)
        })
    }

    fn find(&self, hash: &[u8; 32]) -> Option<Scope> {
        let mut found = None;
        for (stored, scope) in &self.loaded.read().tokens {
            if bool::from(stored.ct_eq(hash)) {
                found = Some(*scope);
            }
        }
        found
    }

    /// Reads the file again when it changed, unless it was looked at within `interval`.
    fn follow(&self, interval: Duration) {
        if self.loaded.read().looked_at.elapsed() < interval {
            return;
        }
        let mut loaded = self.loaded.write();
        if loaded.looked_at.elapsed() < interval {
            return;
        }
        loaded.looked_at = Instant::now();
        let stamp = stamp_of(&self.path);
        if stamp == loaded.stamp {
            return;
        }
        loaded.stamp = stamp;
        loaded.tokens = match read(&self.path).and_then(|file| hashes(&file, &self.path)) {
            Ok(tokens) => tokens,
            Err(error) => {
                // Fail closed: a revocation may be in the part that cannot be read.
                tracing::error!(%error, "token file cannot be read; no token is accepted until it can");
                Vec::new()
            }
        };
    }

    /// Changes the file under a lock, and writes it whole or not at all.
    fn change(
        &self,
        edit: impl FnOnce(&mut Vec<TokenRecord>) -> Result<(), TokenError>,
    ) -> Result<(), TokenError> {
        let failed = |operation| {
            let path = self.path.clone();
            move |source| TokenError::File { operation, path, source }
        };
        let lock_path = self.path.with_extension("json.lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&lock_path)
            .map_err(failed("lock"))?;
        lock.lock().map_err(failed("lock"))?;
        let mut file = read(&self.path)?;
        edit(&mut file.tokens)?;
        let mut bytes = serde_json::to_vec_pretty(&file)
            .map_err(|error| TokenError::Malformed { path: self.path.clone(), detail: error.to_string() })?;
        bytes.push(b'\n');
        let temporary = self.path.with_extension("json.new");
        write_synced(&temporary, &bytes).map_err(failed("write"))?;
        fs::rename(&temporary, &self.path).map_err(failed("replace"))?;
        // A token that was revoked must not come back with a power cut.
        sync_folder(&self.path).map_err(failed("sync"))?;
        let tokens = hashes(&file, &self.path)?;
        *self.loaded.write() = Loaded { tokens, stamp: stamp_of(&self.path), looked_at: Instant::now() };
        Ok(())
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(())
}

fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn stamp_of(path: &Path) -> Stamp {
    fs::metadata(path)
        .map(|meta| Stamp { modified: meta.modified().ok(), length: meta.len() })
        .unwrap_or_default()
}

fn read(path: &Path) -> Result<TokenFile, TokenError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(TokenFile::default()),
        Err(source) => return Err(TokenError::File { operation: "read", path: path.into(), source }),
    };
    serde_json::from_slice(&bytes)
        .map_err(|error| TokenError::Malformed { path: path.into(), detail: error.to_string() })
}

fn hashes(file: &TokenFile, path: &Path) -> Result<Vec<([u8; 32], Scope)>, TokenError> {
    file.tokens
        .iter()
        .map(|token| {
            let hash = from_hex(&token.sha256).ok_or_else(|| TokenError::Malformed {
                path: path.into(),
                detail: format!("token {:?} has no SHA-256 of 64 hexadecimal digits", token.name),
            })?;
            Ok((hash, token.scope))
        })
        .collect()
}

fn to_hex(bytes: &[u8]) -> String {
    purlin_api::HexBytes::from(bytes).to_string().split_off(2)
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    format!("0x{text}").parse::<purlin_api::HexBytes>().ok()?.0.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, TokenStore) {
        let folder = tempfile::tempdir().unwrap();
        let store = TokenStore::open(folder.path().join("tokens.json")).unwrap();
        (folder, store)
    }

    #[test]
    fn a_token_is_shown_once_and_stored_hashed() {
        let (folder, store) = store();
        let token = store.create("ci", Scope::Submit).unwrap();
        assert_eq!(store.check(&token), Some(Scope::Submit));
        assert_eq!(store.check("purlin_00"), None);
        assert_eq!(store.check(""), None);
        let text = fs::read_to_string(folder.path().join("tokens.json")).unwrap();
        assert!(!text.contains(&token[PREFIX.len()..]), "the file must not contain the token");
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &fs::metadata(folder.path().join("tokens.json")).unwrap().permissions(),
        );
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn names_are_unique_and_checked_and_revocation_works() {
        let (_folder, store) = store();
        let token = store.create("a", Scope::Read).unwrap();
        assert!(matches!(store.create("a", Scope::Admin), Err(TokenError::NameTaken { .. })));
        for bad in ["", "a b", "é", &"x".repeat(65)] {
            assert!(matches!(store.create(bad, Scope::Read), Err(TokenError::BadName { .. })), "{bad:?}");
        }
        assert_eq!(store.list().unwrap().len(), 1);
        store.revoke("a").unwrap();
        assert_eq!(store.check(&token), None);
        assert!(matches!(store.revoke("a"), Err(TokenError::NotFound { .. })));
    }

    #[test]
    fn a_running_server_sees_what_another_process_changes() {
        let (folder, server) = store();
        let command_line = TokenStore::open(folder.path().join("tokens.json")).unwrap();
        let token = command_line.create("late", Scope::Read).unwrap();
        std::thread::sleep(RELOAD_INTERVAL);
        assert_eq!(server.check(&token), Some(Scope::Read));
        fs::write(folder.path().join("tokens.json"), "{").unwrap();
        std::thread::sleep(RELOAD_INTERVAL);
        assert_eq!(server.check(&token), None, "a damaged file must not leave old tokens valid");
    }
}
