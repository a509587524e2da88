//! The key that names a node among its peers.

use crate::NetworkError;
use crate::convert::to_peer_id;
use libp2p::identity::Keypair;
use purlin_sync::PeerId;
use std::fmt;
use std::io::{self, Read, Write};
use std::path::Path;

/// A longer file is no identity.
const FILE_BYTES_MAX: u64 = 1024;

/// An Ed25519 key; its public half is the [`PeerId`]. It signs handshakes and nothing else: it is no account and no
/// validator key.
#[derive(Clone)]
pub struct Identity(Keypair);

impl Identity {
    /// Makes the identity that belongs to 32 secret bytes.
    pub fn from_seed(mut seed: [u8; 32]) -> Self {
        Self(Keypair::ed25519_from_bytes(&mut seed).expect("any 32 bytes are an Ed25519 seed"))
    }

    /// Makes a new identity that is kept nowhere.
    pub fn generate() -> Self {
        Self(Keypair::generate_ed25519())
    }

    /// Reads the identity, or makes one and writes it durably with mode 0600 when there is no file.
    ///
    /// # Errors
    /// When the file cannot be used, holds something else, or can be read by others.
    pub fn load_or_create(path: &Path) -> Result<Self, NetworkError> {
        let failed = |source| NetworkError::IdentityFile { path: path.to_owned(), source };
        match std::fs::File::open(path) {
            Ok(file) => {
                check_mode(path, &file)?;
                let mut bytes = Vec::new();
                file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(failed)?;
                Keypair::from_protobuf_encoding(&bytes)
                    .map(Self)
                    .map_err(|_| NetworkError::IdentityMalformed { path: path.to_owned() })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let identity = Self::generate();
                let bytes = identity.0.to_protobuf_encoding().expect("Ed25519 keys can be encoded");
                create(path, &bytes).map_err(failed)?;
                Ok(identity)
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Returns what others call this node.
    pub fn peer_id(&self) -> PeerId {
        to_peer_id(&self.0.public().to_peer_id())
    }

    pub(crate) const fn keypair(&self) -> &Keypair {
        &self.0
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.peer_id())
    }
}

/// Writes aside and renames, so that a crash leaves no half of a key behind. Temporary files have mode 0600.
fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path)?;
    std::fs::File::open(folder)?.sync_all()
}

#[cfg(unix)]
fn check_mode(path: &Path, file: &std::fs::File) -> Result<(), NetworkError> {
    use std::os::unix::fs::PermissionsExt;
    let metadata =
        file.metadata().map_err(|source| NetworkError::IdentityFile { path: path.to_owned(), source })?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        Ok(())
    } else {
        Err(NetworkError::IdentityExposed { path: path.to_owned(), mode })
    }
}

#[cfg(not(unix))]
fn check_mode(_: &Path, _: &std::fs::File) -> Result<(), NetworkError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("network.key");
        let first = Identity::load_or_create(&path).unwrap();
        assert_eq!(Identity::load_or_create(&path).unwrap().peer_id(), first.peer_id());
        assert_ne!(Identity::generate().peer_id(), first.peer_id());
    }

    #[test]
    fn other_content_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("network.key");
        create(&path, b"not a key").unwrap();
        let error = Identity::load_or_create(&path).unwrap_err();
        assert!(matches!(error, NetworkError::IdentityMalformed { .. }), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn has_mode_600_and_insists_on_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("network.key");
        Identity::load_or_create(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = Identity::load_or_create(&path).unwrap_err();
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
}
