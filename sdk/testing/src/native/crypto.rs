//! Hashes and signature checks, by the rules of the host functions.

use k256::ecdsa::signature::hazmat::PrehashVerifier;
use purlin_abi::Hash32;
use sha3::Digest;

pub(super) fn sha256(data: &[u8]) -> Hash32 {
    Hash32::new(sha2::Sha256::digest(data).into())
}

pub(super) fn keccak256(data: &[u8]) -> Hash32 {
    Hash32::new(sha3::Keccak256::digest(data).into())
}

pub(super) fn blake3(data: &[u8]) -> Hash32 {
    Hash32::new(*blake3::hash(data).as_bytes())
}

/// A high `s` is refused: a signature has one form. So is the form of a key without the sign of y.
pub(super) fn secp256k1_verify(hash: &Hash32, signature: &[u8; 64], key: &[u8; 33]) -> bool {
    if !matches!(key[0], 2 | 3) {
        return false;
    }
    let Ok(key) = k256::ecdsa::VerifyingKey::from_sec1_bytes(key) else { return false };
    let Ok(signature) = k256::ecdsa::Signature::from_slice(signature) else { return false };
    signature.normalize_s() == signature && key.verify_prehash(hash.as_bytes(), &signature).is_ok()
}

pub(super) fn secp256k1_recover(hash: &Hash32, signature: &[u8; 65]) -> Option<[u8; 33]> {
    let (compact, v) = signature.split_at(64);
    let id = k256::ecdsa::RecoveryId::from_byte(v[0]).filter(|_| v[0] <= 1)?;
    let signature = k256::ecdsa::Signature::from_slice(compact).ok()?;
    if signature.normalize_s() != signature {
        return None;
    }
    let key = k256::ecdsa::VerifyingKey::recover_from_prehash(hash.as_bytes(), &signature, id).ok()?;
    key.to_sec1_point(true).as_bytes().try_into().ok()
}

pub(super) fn ed25519_verify(message: &[u8], signature: &[u8; 64], key: &[u8; 32]) -> bool {
    let Ok(key) = ed25519_dalek::VerifyingKey::from_bytes(key) else { return false };
    key.verify_strict(message, &ed25519_dalek::Signature::from_bytes(signature)).is_ok()
}

pub(super) fn p256_verify(hash: &Hash32, signature: &[u8; 64], key: &[u8; 33]) -> bool {
    if !matches!(key[0], 2 | 3) {
        return false;
    }
    let Ok(key) = p256::ecdsa::VerifyingKey::from_sec1_bytes(key) else { return false };
    let Ok(signature) = p256::ecdsa::Signature::from_slice(signature) else { return false };
    key.verify_prehash(hash.as_bytes(), &signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use k256::ecdsa::signature::hazmat::PrehashSigner;

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        let digits: Vec<u8> =
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        digits.try_into().unwrap()
    }

    #[test]
    fn hashes_are_those_of_their_standards() {
        // FIPS 180-4, the Keccak team, and the BLAKE3 paper's empty input.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(b"abc"), Hash32::new(bytes(expected)));
        let expected = "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470";
        assert_eq!(keccak256(b""), Hash32::new(bytes(expected)));
        let expected = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
        assert_eq!(blake3(b""), Hash32::new(bytes(expected)));
    }

    #[test]
    fn secp256k1_has_one_form_of_signature() {
        let secret = k256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap();
        let key: [u8; 33] = secret.verifying_key().to_sec1_point(true).as_bytes().try_into().unwrap();
        let hash = sha256(b"message");
        let (signature, id) = secret.sign_prehash_recoverable(hash.as_bytes());
        let compact: [u8; 64] = signature.to_bytes().into();
        assert!(secp256k1_verify(&hash, &compact, &key));
        assert!(!secp256k1_verify(&sha256(b"another"), &compact, &key));
        let recoverable: [u8; 65] = [&compact[..], &[id.to_byte()]].concat().try_into().unwrap();
        assert_eq!(secp256k1_recover(&hash, &recoverable), Some(key));
        let bad_v: [u8; 65] = [&compact[..], &[2]].concat().try_into().unwrap();
        assert_eq!(secp256k1_recover(&hash, &bad_v), None);
        // The same signature with the other s.
        let (r, s) = signature.split_scalars();
        let high = k256::ecdsa::Signature::from_scalars(r.to_bytes(), (-*s).to_bytes()).unwrap();
        assert!(!secp256k1_verify(&hash, &high.to_bytes().into(), &key));
        for v in [0, 1] {
            let high: [u8; 65] = [&high.to_bytes()[..], &[v]].concat().try_into().unwrap();
            assert_eq!(secp256k1_recover(&hash, &high), None, "as the host");
        }
        let mut untagged = key;
        untagged[0] = 5;
        assert!(!secp256k1_verify(&hash, &compact, &untagged));
    }

    #[test]
    fn ed25519_follows_rfc_8032() {
        // Test 1 of section 7.1: the empty message.
        let key = bytes("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
        let mut signature = bytes(concat!(
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155",
            "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        ));
        assert!(ed25519_verify(b"", &signature, &key));
        assert!(!ed25519_verify(b"x", &signature, &key));
        signature[0] ^= 1;
        assert!(!ed25519_verify(b"", &signature, &key));
    }

    #[test]
    fn p256_checks_signatures() {
        let secret = p256::ecdsa::SigningKey::from_slice(&[9; 32]).unwrap();
        let key: [u8; 33] = secret.verifying_key().to_sec1_point(true).as_bytes().try_into().unwrap();
        let hash = sha256(b"message");
        let signature: p256::ecdsa::Signature = secret.sign_prehash(hash.as_bytes()).unwrap();
        assert!(p256_verify(&hash, &signature.to_bytes().into(), &key));
        assert!(!p256_verify(&sha256(b"another"), &signature.to_bytes().into(), &key));
        assert!(!p256_verify(&hash, &[0; 64], &key));
    }
}
