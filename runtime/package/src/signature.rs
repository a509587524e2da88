//! The author's signature over a package's identity: `manifest.sig`.
//!
//! ```text
//! offset size  field
//!      0    1  version, 1
//!      1   33  public key: compressed secp256k1 point
//!     34   64  signature: r || s, big-endian, s in the lower half
//! ```
//! What is signed is SHA-256 of `27 || "purlin-package-signature-v1" || identity`: a domain of its own, so that
//! it is never mistaken for a transaction's or a block's.

use k256::ecdsa::signature::hazmat::{PrehashSigner, PrehashVerifier};
use k256::ecdsa::{Signature, SigningKey, VerifyingKey};
use purlin_abi::Hash32;

use crate::identity::hash_domain;

/// Size of `manifest.sig`.
pub const SIGNATURE_BYTES: usize = 1 + PUBLIC_KEY_BYTES + 64;
/// Size of a compressed public key.
pub const PUBLIC_KEY_BYTES: usize = 33;

const VERSION: u8 = 1;
const DOMAIN: &str = "purlin-package-signature-v1";

/// Says why a `manifest.sig` is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Not [`SIGNATURE_BYTES`] long.
    #[error(
        "manifest.sig has {bytes} bytes; expected {SIGNATURE_BYTES}: version, public key and signature; sign the package again"
    )]
    Length {
        /// Bytes found.
        bytes: usize,
    },
    /// A format of another version.
    #[error("manifest.sig has format version {found}; expected {VERSION}; sign the package again")]
    Version {
        /// Version found.
        found: u8,
    },
    /// Not a point of the curve.
    #[error("manifest.sig has a public key that is not on the secp256k1 curve; sign the package again")]
    PublicKey,
    /// Not a signature, or one in the form that anybody can derive from another.
    #[error(
        "manifest.sig has a malformed signature (r or s out of range, or s in the upper half); sign the package again"
    )]
    Malformed,
    /// A signature of something else, or by somebody else.
    #[error(
        "manifest.sig does not match this manifest; the manifest was changed after signing, so sign it again"
    )]
    Mismatch,
    /// Not a secret key.
    #[error(
        "the signing key is not a secp256k1 secret key; expected 32 bytes that make a number from 1 to the group order"
    )]
    SecretKey,
}

fn digest(identity: &Hash32) -> Hash32 {
    hash_domain(DOMAIN, identity.as_bytes())
}

/// Reads a secret key: 32 bytes, big-endian.
pub(crate) fn secret_key_from(bytes: &[u8; 32]) -> Result<SigningKey, SignatureError> {
    SigningKey::from_slice(bytes).map_err(|_| SignatureError::SecretKey)
}

/// Signs an identity and returns the bytes of `manifest.sig`.
pub(crate) fn sign(identity: &Hash32, key: &SigningKey) -> [u8; SIGNATURE_BYTES] {
    let signature: Signature =
        key.sign_prehash(digest(identity).as_bytes()).expect("RFC 6979 signing of 32 bytes cannot fail");
    let mut bytes = [0; SIGNATURE_BYTES];
    bytes[0] = VERSION;
    bytes[1..1 + PUBLIC_KEY_BYTES].copy_from_slice(key.verifying_key().to_sec1_point(true).as_bytes());
    bytes[1 + PUBLIC_KEY_BYTES..].copy_from_slice(&signature.normalize_s().to_bytes());
    bytes
}

/// Checks a `manifest.sig` and returns the signer's public key.
pub(crate) fn verify(identity: &Hash32, bytes: &[u8]) -> Result<[u8; PUBLIC_KEY_BYTES], SignatureError> {
    let bytes: &[u8; SIGNATURE_BYTES] =
        bytes.try_into().map_err(|_| SignatureError::Length { bytes: bytes.len() })?;
    let [version, rest @ ..] = bytes;
    if *version != VERSION {
        return Err(SignatureError::Version { found: *version });
    }
    let (key, signature) = rest.split_at(PUBLIC_KEY_BYTES);
    // The library also reads the tag 5, which would give a key a second spelling.
    if !matches!(key[0], 2 | 3) {
        return Err(SignatureError::PublicKey);
    }
    let point = VerifyingKey::from_sec1_bytes(key).map_err(|_| SignatureError::PublicKey)?;
    let signature = Signature::from_slice(signature).map_err(|_| SignatureError::Malformed)?;
    if signature.normalize_s() != signature {
        return Err(SignatureError::Malformed);
    }
    point.verify_prehash(digest(identity).as_bytes(), &signature).map_err(|_| SignatureError::Mismatch)?;
    Ok(key.try_into().expect("split at the length of a key"))
}
