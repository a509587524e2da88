//! `purlin.crypto.v1`: hashes and signature checks.
//!
//! A malformed key or signature is not a trap: the check says no. secp256k1 signatures must have a low s, so
//! that nobody but the signer can make a second valid one; Ed25519 is checked by the strict rules, for the
//! same reason. P-256 signatures may have either s: secure elements and authenticators give both. Keys of 33 bytes are
//! in the compressed form of SEC 1, which begins with 2 or 3.

use ed25519_dalek::{Signature as Ed25519Signature, VerifyingKey as Ed25519Key};
use k256::ecdsa::{RecoveryId, Signature as K256Signature, VerifyingKey as K256Key};
use p256::ecdsa::signature::hazmat::PrehashVerifier;
use p256::ecdsa::{Signature as P256Signature, VerifyingKey as P256Key};
use purlin_abi::host::CRYPTO;
use purlin_engine::{Guest, HostFault, HostRegistry};
use sha2::Digest;

use crate::Host;
use crate::context::{Context, GAS, begin, price};

type Caller<'a, 'b, H> = &'a mut Guest<'b, Context<H>>;

pub(crate) fn register<H: Host>(registry: &mut HostRegistry<Context<H>>) {
    registry
        .function(CRYPTO, "sha256", |guest: Caller<'_, '_, H>, data: u32, length: u32, out: u32| {
            hash(guest, data, length, out, |bytes| sha2::Sha256::digest(bytes).into())
        })
        .function(CRYPTO, "keccak256", |guest: Caller<'_, '_, H>, data: u32, length: u32, out: u32| {
            hash(guest, data, length, out, |bytes| sha3::Keccak256::digest(bytes).into())
        })
        .function(CRYPTO, "blake3", |guest: Caller<'_, '_, H>, data: u32, length: u32, out: u32| {
            hash(guest, data, length, out, |bytes| blake3::hash(bytes).into())
        })
        .function(
            CRYPTO,
            "secp256k1_verify",
            |guest: Caller<'_, '_, H>, hash: u32, signature: u32, key: u32| {
                begin(guest, GAS.secp256k1_verify)?;
                let (memory, _) = guest.parts()?;
                let (hash, signature, key) =
                    (memory.array(hash)?, memory.array(signature)?, memory.array(key)?);
                Ok(u32::from(secp256k1_verify(hash, signature, key)))
            },
        )
        .function(
            CRYPTO,
            "secp256k1_recover",
            |guest: Caller<'_, '_, H>, hash: u32, signature: u32, out: u32| {
                begin(guest, GAS.secp256k1_recover)?;
                let (mut memory, _) = guest.parts()?;
                match secp256k1_recover(memory.array(hash)?, memory.array(signature)?) {
                    Some(key) => memory.write(out, &key).map(|()| 1),
                    None => Ok(0),
                }
            },
        )
        .function(
            CRYPTO,
            "ed25519_verify",
            |guest: Caller<'_, '_, H>, message: u32, length: u32, signature: u32, key: u32| {
                // The message is hashed with SHA-512.
                begin(guest, GAS.ed25519_verify.saturating_add(price(GAS.hash_byte, length as usize)))?;
                let (memory, _) = guest.parts()?;
                let (signature, key) = (memory.array(signature)?, memory.array(key)?);
                Ok(u32::from(ed25519_verify(memory.read(message, length)?, signature, key)))
            },
        )
        .function(CRYPTO, "p256_verify", |guest: Caller<'_, '_, H>, hash: u32, signature: u32, key: u32| {
            begin(guest, GAS.p256_verify)?;
            let (memory, _) = guest.parts()?;
            let (hash, signature, key) = (memory.array(hash)?, memory.array(signature)?, memory.array(key)?);
            Ok(u32::from(p256_verify(hash, signature, key)))
        });
}

fn hash<H: Host>(
    guest: Caller<'_, '_, H>,
    data: u32,
    length: u32,
    out: u32,
    digest: impl FnOnce(&[u8]) -> [u8; 32],
) -> Result<(), HostFault> {
    begin(guest, GAS.hash_base.saturating_add(price(GAS.hash_byte, length as usize)))?;
    let (mut memory, _) = guest.parts()?;
    let digest = digest(memory.read(data, length)?);
    memory.write(out, &digest)
}

fn low_s(signature: &[u8]) -> Option<K256Signature> {
    let signature = K256Signature::from_slice(signature).ok()?;
    (signature.normalize_s() == signature).then_some(signature)
}

fn secp256k1_verify(hash: &[u8; 32], signature: &[u8; 64], key_bytes: &[u8; 33]) -> bool {
    let (Some(signature), Ok(key)) = (low_s(signature), K256Key::from_sec1_bytes(key_bytes)) else {
        return false;
    };
    is_compressed(key_bytes) && key.verify_prehash(hash, &signature).is_ok()
}

fn secp256k1_recover(hash: &[u8; 32], signature: &[u8; 65]) -> Option<[u8; 33]> {
    let id = match signature[64] {
        0 => RecoveryId::new(false, false),
        1 => RecoveryId::new(true, false),
        _ => return None,
    };
    let signature = low_s(&signature[..64])?;
    let key = K256Key::recover_from_prehash(hash, &signature, id).ok()?;
    key.to_sec1_point(true).as_bytes().try_into().ok()
}

fn ed25519_verify(message: &[u8], signature: &[u8; 64], key: &[u8; 32]) -> bool {
    Ed25519Key::from_bytes(key)
        .is_ok_and(|key| key.verify_strict(message, &Ed25519Signature::from_bytes(signature)).is_ok())
}

fn p256_verify(hash: &[u8; 32], signature: &[u8; 64], key_bytes: &[u8; 33]) -> bool {
    let key = P256Key::from_sec1_bytes(key_bytes);
    let (Ok(signature), Ok(key)) = (P256Signature::from_slice(signature), key) else { return false };
    is_compressed(key_bytes) && key.verify_prehash(hash, &signature).is_ok()
}

/// The libraries also take the form without the sign of y (5), with which one key would have two names.
fn is_compressed(key: &[u8; 33]) -> bool {
    matches!(key[0], 2 | 3)
}
