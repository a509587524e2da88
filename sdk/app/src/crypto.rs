//! Hashes and signature checks, at native speed. Needs the permission `crypto`.

use purlin_abi::Hash32;

use crate::host;

/// Hashes with SHA-256.
pub fn sha256(data: &[u8]) -> Hash32 {
    host::sha256(data)
}

/// Hashes with Keccak-256, as Ethereum does.
pub fn keccak256(data: &[u8]) -> Hash32 {
    host::keccak256(data)
}

/// Hashes with BLAKE3.
pub fn blake3(data: &[u8]) -> Hash32 {
    host::blake3(data)
}

/// Checks an ECDSA signature `r || s` on secp256k1 against a compressed key. Signatures with a high `s` are refused.
pub fn secp256k1_verify(hash: &Hash32, signature: &[u8; 64], key: &[u8; 33]) -> bool {
    host::secp256k1_verify(hash, signature, key)
}

/// Recovers the compressed key that made the signature `r || s || v`, `v` being 0 or 1; `None` when there is none.
pub fn secp256k1_recover(hash: &Hash32, signature: &[u8; 65]) -> Option<[u8; 33]> {
    host::secp256k1_recover(hash, signature)
}

/// Checks an Ed25519 signature (RFC 8032, strict).
pub fn ed25519_verify(message: &[u8], signature: &[u8; 64], key: &[u8; 32]) -> bool {
    host::ed25519_verify(message, signature, key)
}

/// Checks an ECDSA signature `r || s` on NIST P-256 against a compressed key.
pub fn p256_verify(hash: &Hash32, signature: &[u8; 64], key: &[u8; 33]) -> bool {
    host::p256_verify(hash, signature, key)
}
