//! Hashes against known values, signatures against keys made here, and everything that must not verify.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod common;

use common::{everywhere, module};
use ed25519_dalek::Signer;
use k256::ecdsa::signature::hazmat::PrehashSigner;
use purlin_capabilities::testing::MemoryHost;
use sha2::Digest;

fn data(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\{byte:02x}")).collect()
}

/// Runs instructions over bytes at 0, and returns what they output.
fn run(bytes: &[u8], body: &str) -> Vec<u8> {
    let wat = module(&format!(r#"(data (i32.const 0) "{}") (func (export "run") {body})"#, data(bytes)));
    everywhere(&wat, "run", &[], &MemoryHost::default()).outcome.unwrap()
}

/// Runs a check and returns its answer.
fn answer(bytes: &[u8], call: &str) -> u8 {
    run(
        bytes,
        &format!("(i32.store (i32.const 1000) {call}) (call $core_output (i32.const 1000) (i32.const 1))"),
    )[0]
}

#[test]
fn hashes_have_their_known_values() {
    for (function, expected) in [
        ("sha256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ("keccak256", "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45"),
        ("blake3", "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"),
    ] {
        let body = format!(
            "(call $crypto_{function} (i32.const 0) (i32.const 3) (i32.const 100))
             (call $core_output (i32.const 100) (i32.const 32))"
        );
        let hex: String = run(b"abc", &body).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected, "{function}");
    }
}

/// Expects a check to hold for the bytes, and not after any one of `bits` is flipped.
fn holds_for_these_bytes_only(bytes: &[u8], call: &str) {
    assert_eq!(answer(bytes, call), 1);
    for index in (0..bytes.len()).step_by(13) {
        let mut changed = bytes.to_vec();
        changed[index] ^= 1;
        assert_eq!(answer(&changed, call), 0, "byte {index}");
    }
    assert_eq!(answer(&vec![0; bytes.len()], call), 0);
    assert_eq!(answer(&vec![0xff; bytes.len()], call), 0);
}

#[test]
fn secp256k1_verifies_low_s_only() {
    let key = k256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap();
    let hash: [u8; 32] = sha2::Sha256::digest(b"a transfer").into();
    let signature: k256::ecdsa::Signature = key.sign_prehash(&hash).unwrap();
    let signature = signature.normalize_s();
    let public = key.verifying_key().to_sec1_point(true);
    let call = "(call $crypto_secp256k1_verify (i32.const 0) (i32.const 32) (i32.const 96))";
    let bytes = |signature: &[u8]| [&hash, signature, public.as_bytes()].concat();
    holds_for_these_bytes_only(&bytes(&signature.to_bytes()), call);

    let (r, s) = (signature.r(), signature.s());
    let high = k256::ecdsa::Signature::from_scalars(r.to_bytes(), (-*s).to_bytes()).unwrap();
    assert_eq!(answer(&bytes(&high.to_bytes()), call), 0, "high s");
}

/// SEC 1 has a form without the sign of y, tagged 5, for the key whose y is the smaller of the two: it was taken.
#[test]
fn a_key_has_one_form() {
    let hash: [u8; 32] = sha2::Sha256::digest(b"a transfer").into();
    for seed in 1..=4 {
        let one = k256::ecdsa::SigningKey::from_slice(&[seed; 32]).unwrap();
        let signature: k256::ecdsa::Signature = one.sign_prehash(&hash).unwrap();
        let key = one.verifying_key().to_sec1_point(true);
        let k256 = [&hash[..], &signature.normalize_s().to_bytes(), key.as_bytes()].concat();
        let other = p256::ecdsa::SigningKey::from_slice(&[seed; 32]).unwrap();
        let signature: p256::ecdsa::Signature = other.sign_prehash(&hash).unwrap();
        let key = other.verifying_key().to_sec1_point(true);
        let p256 = [&hash[..], &signature.to_bytes(), key.as_bytes()].concat();
        for (name, mut bytes) in [("secp256k1", k256), ("p256", p256)] {
            let call = format!("(call $crypto_{name}_verify (i32.const 0) (i32.const 32) (i32.const 96))");
            assert_eq!(answer(&bytes, &call), 1);
            bytes[96] = 5;
            assert_eq!(answer(&bytes, &call), 0, "{name} {seed}");
        }
    }
}

#[test]
fn secp256k1_recovers_the_key() {
    let key = k256::ecdsa::SigningKey::from_slice(&[9; 32]).unwrap();
    let hash: [u8; 32] = sha2::Sha256::digest(b"a transfer").into();
    let (signature, id) = key.sign_prehash_recoverable(&hash);
    let public = key.verifying_key().to_sec1_point(true);
    let recover = |v: u8| {
        let bytes = [&hash[..], &signature.to_bytes(), &[v]].concat();
        run(
            &bytes,
            "(i32.store8 (i32.const 200)
                (call $crypto_secp256k1_recover (i32.const 0) (i32.const 32) (i32.const 201)))
             (call $core_output (i32.const 200) (i32.const 34))",
        )
    };
    let right = recover(id.to_byte());
    assert_eq!(right[0], 1);
    assert_eq!(right[1..], *public.as_bytes());
    let other = recover(id.to_byte() ^ 1);
    assert!(other[0] == 1 && other[1..] != *public.as_bytes(), "the other parity is another key");
    for v in [2, 3, 27, 28, 255] {
        let refused = recover(v);
        assert_eq!(refused, vec![0; 34], "v {v}");
    }
}

#[test]
fn ed25519_verifies_strictly() {
    let key = ed25519_dalek::SigningKey::from_bytes(&[5; 32]);
    let message = b"temperature 21.5";
    let signature = key.sign(message).to_bytes();
    let bytes = [&message[..], &signature, key.verifying_key().as_bytes()].concat();
    let call = "(call $crypto_ed25519_verify (i32.const 0) (i32.const 16) (i32.const 16) (i32.const 80))";
    holds_for_these_bytes_only(&bytes, call);

    // A key of small order with the all-zero challenge verifies any message by the lax rules.
    let mut identity = [0; 32];
    identity[0] = 1;
    let forged = [&message[..], &identity, &[0; 32], &identity].concat();
    assert_eq!(answer(&forged, call), 0, "small order");
}

#[test]
fn p256_verifies_either_s() {
    let key = p256::ecdsa::SigningKey::from_slice(&[3; 32]).unwrap();
    let hash: [u8; 32] = sha2::Sha256::digest(b"a reading").into();
    let signature: p256::ecdsa::Signature = key.sign_prehash(&hash).unwrap();
    let public = key.verifying_key().to_sec1_point(true);
    let call = "(call $crypto_p256_verify (i32.const 0) (i32.const 32) (i32.const 96))";
    let bytes = |signature: &[u8]| [&hash, signature, public.as_bytes()].concat();
    holds_for_these_bytes_only(&bytes(&signature.to_bytes()), call);
    let (r, s) = (signature.r(), signature.s());
    let mirrored = p256::ecdsa::Signature::from_scalars(r.to_bytes(), (-*s).to_bytes()).unwrap();
    assert_eq!(answer(&bytes(&mirrored.to_bytes()), call), 1);
}
