//! Device keys.

use purlin_abi::{DeviceKey, KeyAlgorithm};

use super::error::DeviceError;

/// Checks that a key is a point of its curve, in its one accepted encoding.
pub(super) fn check(key: &DeviceKey) -> Result<(), DeviceError> {
    const COMPRESSED: &str = "33 bytes: 02 or 03 and the x coordinate of a point on the curve";
    let bytes = key.bytes.as_slice();
    match key.algorithm {
        KeyAlgorithm::Ed25519 => {
            // A key of small order would accept signatures that anybody can make.
            let valid = <&[u8; 32]>::try_from(bytes)
                .ok()
                .and_then(|bytes| ed25519_dalek::VerifyingKey::from_bytes(bytes).ok())
                .is_some_and(|point| !point.is_weak() && point.to_bytes() == bytes);
            let expected = "32 bytes that encode a point of large order";
            valid.then_some(()).ok_or(DeviceError::BadKey { algorithm: "ed25519", expected })
        }
        KeyAlgorithm::P256 => {
            let valid = is_compressed(bytes) && p256::ecdsa::VerifyingKey::from_sec1_bytes(bytes).is_ok();
            valid.then_some(()).ok_or(DeviceError::BadKey { algorithm: "p256", expected: COMPRESSED })
        }
        KeyAlgorithm::Secp256k1 => {
            let valid = is_compressed(bytes) && k256::ecdsa::VerifyingKey::from_sec1_bytes(bytes).is_ok();
            valid.then_some(()).ok_or(DeviceError::BadKey { algorithm: "secp256k1", expected: COMPRESSED })
        }
    }
}

/// SEC1 knows more tags than these two, `05` for one; a second encoding would be a second key.
fn is_compressed(bytes: &[u8]) -> bool {
    bytes.len() == 33 && matches!(bytes[0], 2 | 3)
}

/// Returns the text under which a key is remembered: one digit of algorithm and the bytes in hexadecimal.
pub(super) fn index_value(key: &DeviceKey) -> Vec<u8> {
    let mut text = format!("{}", key.algorithm as u8);
    key.bytes.iter().for_each(|byte| text.push_str(&format!("{byte:02x}")));
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn keys_are_points_of_their_curves() {
        // Generators of secp256k1 and P-256 (SEC 2), and RFC 8032's first test key.
        let secp256k1 = bytes("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798");
        let p256 = bytes("036b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296");
        let ed25519 = bytes("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
        let cases = [
            (KeyAlgorithm::Secp256k1, secp256k1.clone(), true),
            (KeyAlgorithm::P256, p256.clone(), true),
            (KeyAlgorithm::Ed25519, ed25519.clone(), true),
            (KeyAlgorithm::P256, ed25519.clone(), false),
            // No coordinate: larger than the field.
            (KeyAlgorithm::Secp256k1, [&[2][..], &[0xff; 32]].concat(), false),
            (KeyAlgorithm::Secp256k1, [&[4][..], &secp256k1[1..]].concat(), false),
            (KeyAlgorithm::P256, [&[5][..], &p256[1..]].concat(), false),
            (KeyAlgorithm::P256, Vec::new(), false),
            (KeyAlgorithm::Ed25519, secp256k1, false),
            // The neutral element: anybody can make signatures that it accepts.
            (KeyAlgorithm::Ed25519, [&[1][..], &[0; 31]].concat(), false),
        ];
        for (algorithm, bytes, valid) in cases {
            let result = check(&DeviceKey { algorithm, bytes: bytes.clone() });
            assert_eq!(result.is_ok(), valid, "{algorithm:?} {bytes:02x?}: {result:?}");
        }
        assert_eq!(index_value(&DeviceKey { algorithm: KeyAlgorithm::P256, bytes: vec![0, 0xab] }), b"100ab");
    }
}
