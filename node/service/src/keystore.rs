//! Keys on disk.
//!
//! `NAME.age` holds the secret, encrypted with a passphrase (age, scrypt); `age --decrypt` reads it too and
//! prints the 64 hexadecimal digits. `NAME.dev` holds the digits as they are and is only accepted on a chain
//! whose id starts with `dev`. `NAME.pub` holds the public key, so that listing needs no passphrase.

use age::secrecy::SecretString;
use purlin_primitives::{AccountId, ChainId, PublicKey, SecretKey};
use std::fmt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

use crate::files::{Access, create_private_directory, write_atomic};

/// Memory for trying one passphrase is 2^this KiB; 2^17 is what OWASP recommends for scrypt.
const WORK_FACTOR: u8 = 17;
/// Most work that a file may ask for: 1 GiB of memory. A forged file must not exhaust the machine.
const WORK_FACTOR_MAX: u8 = 20;
/// Longest key file, in bytes; real ones have about 300.
const FILE_BYTES_MAX: u64 = 16 * 1024;
/// Longest name, in characters.
const NAME_LENGTH_MAX: usize = 64;

/// Names a key: `[a-z][a-z0-9-]{0,63}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyName(String);

impl KeyName {
    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for KeyName {
    type Err = KeystoreError;

    fn from_str(text: &str) -> Result<Self, KeystoreError> {
        let valid = text.len() <= NAME_LENGTH_MAX
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-');
        if valid {
            Ok(Self(text.into()))
        } else {
            Err(KeystoreError::Name { name: text.chars().take(80).collect() })
        }
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a key is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// Encrypted with a passphrase.
    Encrypted,
    /// In the clear, for development chains.
    Development,
}

impl KeyKind {
    const fn extension(self) -> &'static str {
        match self {
            Self::Encrypted => "age",
            Self::Development => "dev",
        }
    }
}

/// What is known of a key without its passphrase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyEntry {
    /// Its name.
    pub name: KeyName,
    /// How it is kept.
    pub kind: KeyKind,
    /// Its public half.
    pub public_key: PublicKey,
    /// Its account.
    pub account: AccountId,
}

/// How a key is to be kept.
#[derive(Clone, Copy)]
pub enum Protection<'a> {
    /// Encrypted with this passphrase, which may not be empty.
    Passphrase(&'a str),
    /// In the clear, on a chain whose id starts with `dev`.
    Development(&'a ChainId),
}

/// Says why the keystore did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum KeystoreError {
    /// Not a name.
    #[error("{name:?} is not a key name; expected 1 to 64 of a-z, 0-9 and '-', starting with a letter")]
    Name {
        /// What was given.
        name: String,
    },
    /// No such key.
    #[error("there is no key {name} in {}; `purlin key list` shows what there is", directory.display())]
    Unknown {
        /// The name.
        name: KeyName,
        /// Where it was looked for.
        directory: PathBuf,
    },
    /// The name is taken.
    #[error("key {name} exists already; choose another name")]
    Exists {
        /// The name.
        name: KeyName,
    },
    /// Wrong passphrase.
    #[error("wrong passphrase for key {name}")]
    WrongPassphrase {
        /// The name.
        name: KeyName,
    },
    /// A passphrase is needed and there is none.
    #[error(
        "key {name} is encrypted; give its passphrase on a terminal, or by PURLIN_PASSPHRASE or --passphrase-file"
    )]
    PassphraseNeeded {
        /// The name.
        name: KeyName,
    },
    /// An empty passphrase.
    #[error("the passphrase for key {name} is empty; choose one with at least one character")]
    EmptyPassphrase {
        /// The name.
        name: KeyName,
    },
    /// An unprotected key on a chain that is not for development.
    #[error(
        "key {name} is not encrypted, which is only accepted on chains named `dev..`; this is {chain_id}"
    )]
    Unprotected {
        /// The name.
        name: KeyName,
        /// The chain.
        chain_id: ChainId,
    },
    /// Not 32 bytes of a secret key in hexadecimal.
    #[error("not a secret key: {reason}; expected 64 hexadecimal digits, with or without 0x")]
    Secret {
        /// What is wrong; never the text.
        reason: &'static str,
    },
    /// The file of the public half is gone; [`Keystore::unlock`] writes it again.
    #[error(
        "key file {} is missing, without which key {name} cannot be listed; `purlin key export {name}` opens the key and \
         writes it again", path.display()
    )]
    NoPublicHalf {
        /// The key.
        name: KeyName,
        /// Which file.
        path: PathBuf,
    },
    /// A file is not what was written.
    #[error("key file {} is damaged: {detail}", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// A file cannot be read or written.
    #[error("key file {} failed: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Keeps keys in a directory. Holds no secret itself.
#[derive(Debug, Clone)]
pub struct Keystore {
    directory: PathBuf,
    work_factor: u8,
}

impl Keystore {
    /// Names a directory, which is made with the first key.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), work_factor: WORK_FACTOR }
    }

    /// Uses another cost for new keys, as the binary logarithm; low ones are for tests.
    pub fn with_work_factor(self, work_factor: u8) -> Self {
        Self { work_factor, ..self }
    }

    /// Makes a key from the operating system's randomness.
    pub fn generate() -> Result<SecretKey, std::io::Error> {
        loop {
            let mut bytes = Zeroizing::new([0; 32]);
            getrandom::fill(&mut *bytes).map_err(|error| std::io::Error::other(error.to_string()))?;
            // Fails once in 2^128 tries.
            if let Ok(key) = SecretKey::from_bytes(&bytes) {
                return Ok(key);
            }
        }
    }

    /// Stores a key. An existing one is never replaced.
    pub fn store(
        &self,
        name: &KeyName,
        key: &SecretKey,
        protection: Protection<'_>,
    ) -> Result<KeyEntry, KeystoreError> {
        if self.has(name) {
            return Err(KeystoreError::Exists { name: name.clone() });
        }
        let digits = Self::export_hex(key);
        let (kind, content) = match protection {
            Protection::Passphrase("") => return Err(KeystoreError::EmptyPassphrase { name: name.clone() }),
            Protection::Passphrase(passphrase) => {
                let mut recipient = age::scrypt::Recipient::new(SecretString::from(passphrase.to_owned()));
                recipient.set_work_factor(self.work_factor);
                let sealed =
                    age::encrypt(&recipient, digits.as_bytes()).map_err(|error| KeystoreError::Io {
                        path: self.path(name, KeyKind::Encrypted),
                        source: std::io::Error::other(error.to_string()),
                    })?;
                (KeyKind::Encrypted, Zeroizing::new(sealed))
            }
            Protection::Development(chain_id) => {
                Self::check_development(name, chain_id)?;
                (KeyKind::Development, Zeroizing::new(format!("{}\n", *digits).into_bytes()))
            }
        };
        let public_key = key.public_key();
        let io = |path: &Path| {
            let path = path.to_path_buf();
            move |source| KeystoreError::Io { path, source }
        };
        create_private_directory(&self.directory).map_err(io(&self.directory))?;
        // The public half first: a key without it could not be listed, a public half without key is ignored.
        self.write_public(name, &public_key)?;
        let path = self.path(name, kind);
        write_atomic(&path, &content, Access::OwnerOnly).map_err(io(&path))?;
        Ok(KeyEntry { name: name.clone(), kind, public_key, account: public_key.account_id() })
    }

    /// Reads 64 hexadecimal digits, with or without `0x`.
    pub fn parse_hex(text: &str) -> Result<SecretKey, KeystoreError> {
        let digits = text.trim();
        let digits = digits.strip_prefix("0x").unwrap_or(digits);
        let mut bytes = Zeroizing::new([0; 32]);
        hex::decode_to_slice(digits, &mut *bytes).map_err(|error| KeystoreError::Secret {
            reason: match error {
                hex::FromHexError::InvalidHexCharacter { .. } => "a character is not a hexadecimal digit",
                _ => "the number of digits is wrong",
            },
        })?;
        SecretKey::from_bytes(&bytes)
            .map_err(|_| KeystoreError::Secret { reason: "the number is out of range" })
    }

    /// Returns a key as 64 hexadecimal digits, wiped when dropped.
    pub fn export_hex(key: &SecretKey) -> Zeroizing<String> {
        Zeroizing::new(hex::encode(*key.to_bytes()))
    }

    /// Returns every key, by name. Needs no passphrase.
    pub fn list(&self) -> Result<Vec<KeyEntry>, KeystoreError> {
        let io = |source| KeystoreError::Io { path: self.directory.clone(), source };
        let files = match std::fs::read_dir(&self.directory) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(io)?,
        };
        let mut entries = Vec::new();
        for file in files {
            let path = file.map_err(io)?.path();
            let kind = match path.extension().and_then(|extension| extension.to_str()) {
                Some("age") => KeyKind::Encrypted,
                Some("dev") => KeyKind::Development,
                _ => continue,
            };
            let Some(Ok(name)) = path.file_stem().and_then(|stem| stem.to_str()).map(str::parse::<KeyName>)
            else {
                continue;
            };
            entries.push(self.entry(name, kind)?);
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// Says whether there is a key of this name, whatever state its files are in.
    pub fn has(&self, name: &KeyName) -> bool {
        self.kind(name).is_some()
    }

    /// Returns one key's entry.
    pub fn get(&self, name: &KeyName) -> Result<KeyEntry, KeystoreError> {
        self.entry(name.clone(), self.known(name)?)
    }

    /// Returns a key's secret. `passphrase` is only asked for when the key is encrypted; `None` from it means
    /// that there is none. Writes the file of the public half again when it is gone.
    pub fn unlock(
        &self,
        name: &KeyName,
        chain_id: &ChainId,
        passphrase: impl FnOnce(&KeyName) -> Option<Zeroizing<String>>,
    ) -> Result<SecretKey, KeystoreError> {
        let kind = self.known(name)?;
        let path = self.path(name, kind);
        let damaged = |detail: &str| KeystoreError::Damaged { path: path.clone(), detail: detail.into() };
        let digits = match kind {
            KeyKind::Development => {
                Self::check_development(name, chain_id)?;
                Zeroizing::new(read_limited(&path)?)
            }
            KeyKind::Encrypted => {
                let sealed = read_limited(&path)?;
                let passphrase =
                    passphrase(name).ok_or_else(|| KeystoreError::PassphraseNeeded { name: name.clone() })?;
                let mut identity =
                    age::scrypt::Identity::new(SecretString::from(passphrase.as_str().to_owned()));
                identity.set_max_work_factor(WORK_FACTOR_MAX);
                let opened = age::decrypt(&identity, &sealed).map_err(|error| match error {
                    age::DecryptError::DecryptionFailed | age::DecryptError::NoMatchingKeys => {
                        KeystoreError::WrongPassphrase { name: name.clone() }
                    }
                    other => damaged(&other.to_string()),
                })?;
                Zeroizing::new(opened)
            }
        };
        let text = std::str::from_utf8(&digits).map_err(|_| damaged("the content is not text"))?;
        let key = Self::parse_hex(text)?;
        match self.entry(name.clone(), kind) {
            Err(KeystoreError::NoPublicHalf { .. }) => self.write_public(name, &key.public_key())?,
            Ok(entry) if entry.public_key != key.public_key() => {
                return Err(damaged("it does not belong to the public key beside it"));
            }
            other => drop(other?),
        }
        Ok(key)
    }

    fn check_development(name: &KeyName, chain_id: &ChainId) -> Result<(), KeystoreError> {
        if is_development(chain_id) {
            return Ok(());
        }
        Err(KeystoreError::Unprotected { name: name.clone(), chain_id: chain_id.clone() })
    }

    fn kind(&self, name: &KeyName) -> Option<KeyKind> {
        [KeyKind::Encrypted, KeyKind::Development].into_iter().find(|kind| self.path(name, *kind).exists())
    }

    fn known(&self, name: &KeyName) -> Result<KeyKind, KeystoreError> {
        let unknown = || KeystoreError::Unknown { name: name.clone(), directory: self.directory.clone() };
        self.kind(name).ok_or_else(unknown)
    }

    fn write_public(&self, name: &KeyName, public_key: &PublicKey) -> Result<(), KeystoreError> {
        let path = self.public_path(name);
        let written = write_atomic(&path, format!("{public_key}\n").as_bytes(), Access::OwnerOnly);
        written.map_err(|source| KeystoreError::Io { path, source })
    }

    fn entry(&self, name: KeyName, kind: KeyKind) -> Result<KeyEntry, KeystoreError> {
        let path = self.public_path(&name);
        let content = match read_limited(&path) {
            Err(KeystoreError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Err(KeystoreError::NoPublicHalf { name, path });
            }
            other => other?,
        };
        // Parsing checks that it is a point, which the account is derived from.
        let parsed =
            std::str::from_utf8(&content).ok().and_then(|text| text.trim().parse::<PublicKey>().ok());
        let Some(public_key) = parsed else {
            return Err(KeystoreError::Damaged { path, detail: "it does not hold a public key".into() });
        };
        Ok(KeyEntry { name, kind, account: public_key.account_id(), public_key })
    }

    fn path(&self, name: &KeyName, kind: KeyKind) -> PathBuf {
        self.directory.join(format!("{name}.{}", kind.extension()))
    }

    fn public_path(&self, name: &KeyName) -> PathBuf {
        self.directory.join(format!("{name}.pub"))
    }
}

/// Says whether a chain is for development: its keys need no protection.
pub fn is_development(chain_id: &ChainId) -> bool {
    chain_id.as_str().starts_with("dev")
}

fn read_limited(path: &Path) -> Result<Vec<u8>, KeystoreError> {
    use std::io::Read;
    let io = |source| KeystoreError::Io { path: path.into(), source };
    let mut content = Vec::new();
    let file = std::fs::File::open(path).map_err(io)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut content).map_err(io)?;
    if content.len() as u64 > FILE_BYTES_MAX {
        let detail = format!("it has more than {FILE_BYTES_MAX} bytes");
        return Err(KeystoreError::Damaged { path: path.into(), detail });
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Keystore) {
        let directory = tempfile::tempdir().unwrap();
        let keystore = Keystore::new(directory.path().join("keys")).with_work_factor(4);
        (directory, keystore)
    }

    fn name(text: &str) -> KeyName {
        text.parse().unwrap()
    }

    fn chain(text: &str) -> ChainId {
        text.parse().unwrap()
    }

    fn given(passphrase: &str) -> impl FnOnce(&KeyName) -> Option<Zeroizing<String>> {
        let passphrase = Zeroizing::new(passphrase.to_owned());
        move |_| Some(passphrase)
    }

    #[test]
    fn an_encrypted_key_comes_back_with_its_passphrase_only() {
        let (directory, keystore) = store();
        let key = Keystore::generate().unwrap();
        let stored = keystore.store(&name("validator"), &key, Protection::Passphrase("tide")).unwrap();
        assert_eq!(stored.account, key.public_key().account_id());
        assert_eq!(keystore.list().unwrap(), [stored]);

        let opened = keystore.unlock(&name("validator"), &chain("main"), given("tide")).unwrap();
        assert_eq!(*opened.to_bytes(), *key.to_bytes());
        let wrong = keystore.unlock(&name("validator"), &chain("main"), given("Tide")).unwrap_err();
        assert!(matches!(wrong, KeystoreError::WrongPassphrase { .. }), "{wrong}");
        let none = keystore.unlock(&name("validator"), &chain("main"), |_| None).unwrap_err();
        assert!(matches!(none, KeystoreError::PassphraseNeeded { .. }), "{none}");

        let path = directory.path().join("keys/validator.age");
        let content = std::fs::read(&path).unwrap();
        let digits = Keystore::export_hex(&key);
        assert!(
            !content.windows(16).any(|part| part == &digits.as_bytes()[..16]),
            "the secret is in the file"
        );
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            let directory = std::fs::metadata(directory.path().join("keys")).unwrap();
            assert_eq!(directory.permissions().mode() & 0o777, 0o700);
        }
    }

    /// One lost file of no secret made `key list` fail and the key useless.
    #[test]
    fn a_lost_public_half_is_named_and_comes_back() {
        let (directory, keystore) = store();
        let key = Keystore::generate().unwrap();
        let stored = keystore.store(&name("one"), &key, Protection::Passphrase("tide")).unwrap();
        std::fs::remove_file(directory.path().join("keys/one.pub")).unwrap();
        let missing = keystore.list().unwrap_err();
        assert!(matches!(missing, KeystoreError::NoPublicHalf { .. }), "{missing}");
        assert!(missing.to_string().contains("purlin key export one"));
        let again = keystore.store(&name("one"), &key, Protection::Passphrase("b")).unwrap_err();
        assert!(matches!(again, KeystoreError::Exists { .. }), "{again}");
        keystore.unlock(&name("one"), &chain("main"), given("tide")).unwrap();
        assert_eq!(keystore.list().unwrap(), [stored]);
    }

    #[test]
    fn a_key_in_the_clear_is_for_development_chains() {
        let (_directory, keystore) = store();
        let key = Keystore::parse_hex(&"11".repeat(32)).unwrap();
        let refused =
            keystore.store(&name("alice"), &key, Protection::Development(&chain("main"))).unwrap_err();
        assert!(matches!(refused, KeystoreError::Unprotected { .. }), "{refused}");
        keystore.store(&name("alice"), &key, Protection::Development(&chain("dev"))).unwrap();
        let ask = |_: &KeyName| -> Option<Zeroizing<String>> { panic!("no passphrase is needed") };
        keystore.unlock(&name("alice"), &chain("dev-2"), ask).unwrap();
        let refused = keystore.unlock(&name("alice"), &chain("main"), ask).unwrap_err();
        assert!(matches!(refused, KeystoreError::Unprotected { .. }), "{refused}");
    }

    #[test]
    fn nothing_is_replaced_and_no_name_leaves_the_directory() {
        let (_directory, keystore) = store();
        let key = Keystore::generate().unwrap();
        keystore.store(&name("one"), &key, Protection::Passphrase("a")).unwrap();
        let again = keystore.store(&name("one"), &key, Protection::Development(&chain("dev"))).unwrap_err();
        assert!(matches!(again, KeystoreError::Exists { .. }), "{again}");
        let empty = keystore.store(&name("two"), &key, Protection::Passphrase("")).unwrap_err();
        assert!(matches!(empty, KeystoreError::EmptyPassphrase { .. }), "{empty}");
        for bad in ["", "../x", "A", "a/b", "a.b", "1a", &"a".repeat(65)] {
            assert!(bad.parse::<KeyName>().is_err(), "{bad:?} must be refused");
        }
        let unknown = keystore.get(&name("two")).unwrap_err();
        assert!(matches!(unknown, KeystoreError::Unknown { .. }), "{unknown}");
    }

    #[test]
    fn a_bad_secret_is_refused_without_showing_it() {
        for bad in ["", "12", &"zz".repeat(32), &"00".repeat(32), &"ff".repeat(32), &"11".repeat(33)] {
            let error = Keystore::parse_hex(bad).unwrap_err().to_string();
            assert!(bad.len() < 3 || !error.contains(bad), "{error}");
        }
        Keystore::parse_hex(&format!(" 0x{}\n", "11".repeat(32))).unwrap();
    }

    #[test]
    fn damage_is_told_from_a_wrong_passphrase() {
        let (directory, keystore) = store();
        let key = Keystore::generate().unwrap();
        keystore.store(&name("one"), &key, Protection::Passphrase("a")).unwrap();
        let path = directory.path().join("keys/one.age");
        let whole = std::fs::read(&path).unwrap();
        for content in [&whole[..whole.len() - 1], b"", b"not age at all"] {
            std::fs::write(&path, content).unwrap();
            let error = keystore.unlock(&name("one"), &chain("dev"), given("a")).unwrap_err();
            assert!(matches!(error, KeystoreError::Damaged { .. }), "{error}");
        }
    }
}
