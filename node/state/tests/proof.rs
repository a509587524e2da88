//! Proofs that stand on their own: they hold, and nothing near them does.
#![allow(clippy::unwrap_used, reason = "a test's helpers panic where its assertions would")]

use purlin_primitives::{
    AccountId, BlockHeader, BlockId, Certificate, CertificateError, Hash32, Height, Seal, SecretKey,
    TimestampMs, Validator, ValidatorSet,
};
use purlin_state::{
    Changes, MemoryStore, MerkleTree, ProofError, StateProof, StateTree, TreeProofError, Trust, WriteBatch,
};
use purlin_state::{Durability, KeyValueStore};
use std::sync::Arc;

struct Fixture {
    store: Arc<MemoryStore>,
    header: BlockHeader,
    keys: Vec<SecretKey>,
}

impl Fixture {
    fn new() -> Self {
        let store = Arc::new(MemoryStore::new());
        let tree = MerkleTree::new(store.clone());
        let changes: Changes =
            (0..1000u32).map(|n| (n.to_be_bytes().to_vec(), Some(n.to_le_bytes().to_vec()))).collect();
        let mut batch = WriteBatch::default();
        let version = tree.update(&tree.empty(), Height::new(6), &changes, &mut batch).unwrap();
        store.write(batch, Durability::Synced).unwrap();
        let header = BlockHeader {
            chain_id: "dev".parse().unwrap(),
            height: Height::new(7),
            parent: BlockId::new(Hash32::new([1; 32])),
            time: TimestampMs::new(1_700_000_000_000),
            proposer: AccountId::new([2; 20]),
            transactions_root: Hash32::new([3; 32]),
            state_root: tree.root(&version),
            receipts_root: Hash32::new([4; 32]),
            seal: Seal::FIRST_ROUND,
        };
        let mut keys: Vec<_> = (1..=4u8).map(|n| SecretKey::from_bytes(&[n; 32]).unwrap()).collect();
        keys.sort_by_key(SecretKey::public_key);
        Self { store, header, keys }
    }

    fn proof(&self, key: u32, signers: &[usize]) -> StateProof {
        let tree = MerkleTree::new(self.store.clone());
        let version = tree.open(Height::new(6)).unwrap().unwrap();
        StateProof {
            key: key.to_be_bytes().to_vec(),
            value: (key < 1000).then(|| key.to_le_bytes().to_vec()),
            path: tree.prove(&version, &key.to_be_bytes()).unwrap(),
            header: self.header.clone(),
            certificate: (!signers.is_empty()).then(|| self.certificate(signers)),
        }
    }

    fn certificate(&self, signers: &[usize]) -> Certificate {
        let (block, height) = (self.header.id(), self.header.height);
        let mut certificate = Certificate { block, height, round: 1, signatures: Vec::new() };
        let vote = certificate.vote(&self.header.chain_id);
        certificate.signatures =
            signers.iter().map(|n| self.keys[*n].sign_vote(vote.clone()).into()).collect();
        certificate
    }

    /// Powers 1, 2, 3 and 4.
    fn validators(&self) -> Trust {
        Trust::Validators(set(&self.keys, &[1, 2, 3, 4]), "dev".parse().unwrap())
    }

    fn block(&self) -> Trust {
        Trust::Block(self.header.id())
    }
}

fn set(keys: &[SecretKey], powers: &[u64]) -> ValidatorSet {
    let validator = |(key, power): (&SecretKey, &u64)| {
        let public_key = key.public_key();
        Validator { public_key, account: public_key.account_id(), power: *power }
    };
    ValidatorSet::new(keys.iter().zip(powers).map(validator).collect()).unwrap()
}

fn refused(proof: &StateProof, trust: &Trust) -> CertificateError {
    match proof.verify(trust) {
        Err(ProofError::Certificate { source, .. }) => source,
        other => panic!("{other:?}"),
    }
}

#[test]
fn presence_and_absence_hold_under_either_trust() {
    let fixture = Fixture::new();
    for key in [0, 1, 999, 1000, 1001, 77_777] {
        let proof = fixture.proof(key, &[1, 2, 3]);
        for trust in [fixture.block(), fixture.validators()] {
            let verified = proof.verify(&trust).unwrap();
            assert_eq!(verified.value.is_some(), key < 1000);
            assert_eq!(verified.height, Height::new(6));
        }
        let json = serde_json::to_string(&proof).unwrap();
        assert_eq!(serde_json::from_str::<StateProof>(&json).unwrap(), proof);
        assert_eq!(StateProof::decode(&proof.encode()).unwrap(), proof);
    }
}

#[test]
fn every_flipped_byte_is_refused() {
    let fixture = Fixture::new();
    for (key, signers) in [(5, &[0, 2, 3][..]), (5, &[]), (2_000, &[1, 2, 3]), (2_007, &[])] {
        let bytes = fixture.proof(key, signers).encode();
        let mut trusts = vec![fixture.block()];
        if !signers.is_empty() {
            trusts.push(fixture.validators());
        }
        for trust in trusts {
            StateProof::decode(&bytes).unwrap().verify(&trust).unwrap();
            for position in 0..bytes.len() {
                for mask in [0x01, 0x80, 0xff] {
                    let mut flipped = bytes.clone();
                    flipped[position] ^= mask;
                    if let Ok(proof) = StateProof::decode(&flipped) {
                        assert!(proof.verify(&trust).is_err(), "key {key}: byte {position} ^ {mask:#x}");
                    }
                }
            }
            for cut in 0..bytes.len() {
                assert!(StateProof::decode(&bytes[..cut]).is_err(), "cut to {cut}");
            }
            assert!(StateProof::decode(&[&bytes[..], &[0]].concat()).is_err(), "trailing byte");
        }
    }
}

#[test]
fn signatures_must_be_enough_and_of_validators() {
    let fixture = Fixture::new();
    let verify = |proof: &StateProof| proof.verify(&fixture.validators());
    assert!(verify(&fixture.proof(1, &[2, 3])).is_ok(), "7 of 10 is more than two thirds");
    let why = |proof: &StateProof| refused(proof, &fixture.validators());
    let few = fixture.proof(1, &[1, 3]);
    assert_eq!(why(&few), CertificateError::NoQuorum { signed: 6, total: 10 }, "6 of 10 is less");
    assert!(matches!(verify(&fixture.proof(1, &[])), Err(ProofError::NoCertificate { .. })));
    assert_eq!(why(&fixture.proof(1, &[3, 2])), CertificateError::Unsorted);
    assert_eq!(why(&fixture.proof(1, &[3, 3])), CertificateError::Unsorted, "none counts twice");

    let mut stranger = fixture.proof(1, &[2, 3]);
    let key = SecretKey::from_bytes(&[9; 32]).unwrap();
    let certificate = stranger.certificate.as_mut().unwrap();
    certificate.signatures.push(key.sign_vote(certificate.vote(&fixture.header.chain_id)).into());
    certificate.signatures.sort_by_key(|signature| signature.public_key);
    assert_eq!(why(&stranger), CertificateError::NotValidator { public_key: key.public_key() });

    // Signatures of another round, or none at all, are no certificate.
    let mut other_round = fixture.proof(1, &[2, 3]);
    other_round.certificate.as_mut().unwrap().round = 0;
    assert!(matches!(why(&other_round), CertificateError::BadSignature { .. }));
    let mut empty = fixture.proof(1, &[2, 3]);
    empty.certificate.as_mut().unwrap().signatures.clear();
    for trust in [fixture.block(), fixture.validators()] {
        assert!(matches!(empty.verify(&trust), Err(ProofError::NoCertificate { .. })));
    }

    let Trust::Validators(validators, _) = fixture.validators() else { unreachable!() };
    let elsewhere = Trust::Validators(validators, "other".parse().unwrap());
    assert!(matches!(fixture.proof(1, &[2, 3]).verify(&elsewhere), Err(ProofError::OtherChain { .. })));

    // Exactly two thirds is not more than two thirds.
    let thirds = Trust::Validators(set(&fixture.keys[1..], &[1, 1, 1]), "dev".parse().unwrap());
    let two = fixture.proof(1, &[1, 2]);
    assert_eq!(refused(&two, &thirds), CertificateError::NoQuorum { signed: 2, total: 3 });
}

#[test]
fn a_proof_of_one_key_says_nothing_of_another() {
    let fixture = Fixture::new();
    let path_error = |proof: &StateProof| match proof.verify(&fixture.block()) {
        Err(ProofError::Path { source, .. }) => source,
        other => panic!("{other:?}"),
    };
    let mut denied = fixture.proof(5, &[]);
    denied.value = None;
    assert!(matches!(path_error(&denied), TreeProofError::WrongRoot { .. }));
    for key in 0..1000u32 {
        // Shows the leaf of a present key, or of its neighbour, as evidence that the key is absent.
        let mut denied = fixture.proof(2_000, &[]);
        denied.key = key.to_be_bytes().to_vec();
        path_error(&denied);
    }
    let mut endless = fixture.proof(5, &[]);
    endless.path.siblings = vec![Hash32::ZERO; 257];
    assert_eq!(path_error(&endless), TreeProofError::TooLong { siblings: 257 });
}

#[test]
fn encodings_are_pinned() {
    use sha2::Digest;
    let fixture = Fixture::new();
    let digest = |proof: &StateProof| Hash32::new(sha2::Sha256::digest(proof.encode()).into()).to_string();
    assert_eq!(
        fixture.header.state_root.to_string(),
        "0x4f0bff474a9a845c68a473ee3a0adc8ecdcf5cf72331788dbb2059d7ca22ce0d"
    );
    assert_eq!(
        digest(&fixture.proof(5, &[1, 3])),
        "0x9b2951c5483615f65ada08eeeb29ae7fe8286ae37100442c7d24fea578db02a0"
    );
    assert_eq!(
        digest(&fixture.proof(5_000, &[])),
        "0x0d1bfa1d3561ca1816de7224eda3ea7aaeba942161adc407e932b80d297d41f5"
    );
}
