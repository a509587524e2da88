use super::*;
use crate::testing::{header, transaction};
use proptest::prelude::*;

fn status() -> Status {
    Status {
        genesis: BlockId::ZERO,
        height: Height::new(7),
        head: BlockId::ZERO,
        work: [0; 32],
        final_height: Height::new(7),
        oldest_block: Height::new(1),
        snapshot: None,
    }
}

fn requests() -> Vec<Request> {
    vec![
        Request::Status(status()),
        Request::Headers { from: Height::new(1), count: 9 },
        Request::Blocks { blocks: vec![BlockId::ZERO], first: 2 },
        Request::Compact { block: BlockId::ZERO },
        Request::BlockTransactions { block: BlockId::ZERO, positions: vec![0, 5] },
        Request::Transactions { ids: vec![TransactionId::ZERO] },
        Request::PoolDigest { from: TransactionId::ZERO },
        Request::SnapshotManifest { height: Some(Height::new(3)) },
        Request::SnapshotChunk { root: Hash32::ZERO, from: Hash32::ZERO, to: Hash32::new([255; 32]) },
        Request::Consensus { height: Height::new(3) },
    ]
}

fn responses() -> Vec<Response> {
    let header = header(1, BlockId::ZERO, &[]);
    let encoded = EncodedTransaction::new(&transaction(1, 0));
    vec![
        Response::Unavailable,
        Response::Status(status()),
        Response::Headers(vec![CertifiedHeader { header: header.clone(), certificate: None }]),
        Response::Blocks(vec![BodyPart {
            block: BlockId::ZERO,
            first: 0,
            total: 2,
            transactions: vec![encoded.clone()],
        }]),
        Response::Compact(CompactBlock { header, transactions: vec![TransactionId::ZERO] }),
        Response::BlockTransactions(vec![encoded.clone()]),
        Response::Transactions(vec![encoded]),
        Response::PoolDigest { ids: vec![TransactionId::ZERO], next: None },
        Response::SnapshotManifest(vec![1, 2]),
        Response::SnapshotChunk(vec![3]),
        Response::Consensus(vec![vec![1], vec![]]),
    ]
}

#[test]
fn what_is_encoded_is_decoded_and_nothing_may_follow() {
    for request in requests() {
        let mut bytes = request.encode();
        assert_eq!(Request::decode(&bytes).as_ref(), Ok(&request));
        bytes.push(0);
        assert!(matches!(Request::decode(&bytes), Err(DecodeError::Malformed { .. })), "{request:?}");
        bytes.truncate(bytes.len() - 2);
        assert!(Request::decode(&bytes).is_err(), "{request:?}");
    }
    for response in responses() {
        let mut bytes = response.encode();
        assert_eq!(Response::decode(&bytes).as_ref(), Ok(&response));
        bytes.push(0);
        assert!(matches!(Response::decode(&bytes), Err(DecodeError::Malformed { .. })), "{response:?}");
    }
}

#[test]
fn transactions_travel_as_their_canonical_bytes() {
    let transaction = transaction(1, 3);
    let encoded = EncodedTransaction::new(&transaction);
    assert_eq!(encoded.decode().as_ref(), Ok(&transaction));
    let message = TransactionGossip::Whole(vec![encoded]);
    assert_eq!(TransactionGossip::decode(&message.encode()), Ok(message));
}

#[test]
fn other_versions_and_sizes_are_named() {
    let mut bytes = requests()[0].encode();
    bytes[0] = 9;
    assert_eq!(Request::decode(&bytes), Err(DecodeError::Version { found: Some(9) }));
    assert_eq!(Request::decode(&[]), Err(DecodeError::Version { found: None }));
    let large = vec![crate::limits::PROTOCOL_VERSION; REQUEST_BYTES_MAX + 1];
    assert!(matches!(Request::decode(&large), Err(DecodeError::TooLarge { .. })));
}

#[test]
fn counts_over_the_cap_are_refused() {
    let over = TRANSACTION_IDS_MAX + 1;
    let request = Request::BlockTransactions { block: BlockId::ZERO, positions: vec![0; over] };
    let error = Request::decode(&request.encode()).unwrap_err();
    assert!(error.to_string().contains("at most 1024"), "{error}");
    let response = Response::Consensus(vec![Vec::new(); CONSENSUS_MESSAGES_MAX + 1]);
    assert!(Response::decode(&response.encode()).is_err());
    let response = Response::PoolDigest { ids: vec![TransactionId::ZERO; DIGEST_IDS_MAX + 1], next: None };
    assert!(Response::decode(&response.encode()).is_err());
    // A count alone, with nothing behind it.
    let mut bytes = Response::Transactions(Vec::new()).encode();
    let at = bytes.len() - 4;
    bytes[at..].copy_from_slice(&1000u32.to_le_bytes());
    assert!(Response::decode(&bytes).is_err());
}

#[test]
fn the_largest_of_each_kind_fit() {
    let signature = purlin_primitives::BlockSignature {
        public_key: purlin_primitives::SecretKey::from_bytes(&[1; 32]).unwrap().public_key(),
        signature: purlin_primitives::Signature::new([0; 64]),
    };
    let certificate = Certificate {
        block: BlockId::ZERO,
        height: Height::new(1),
        round: 0,
        signatures: vec![signature; crate::limits::SIGNATURES_MAX],
    };
    let header = header(1, BlockId::ZERO, &[]);
    let certified = CertifiedHeader { header: header.clone(), certificate: Some(certificate) };
    let headers = Response::Headers(vec![certified; HEADERS_MAX]);
    assert!(Response::decode(&headers.encode()).is_ok());
    let transactions = vec![TransactionId::ZERO; BLOCK_TRANSACTIONS_MAX];
    let compact = BlockAnnouncement::Proposed(CompactBlock { header, transactions });
    assert!(BlockAnnouncement::decode(&compact.encode()).is_ok());
    let largest = EncodedTransaction(vec![7; TRANSACTION_BYTES_MAX]);
    assert!(Response::decode(&Response::Transactions(vec![largest]).encode()).is_ok());
    let ids = Request::Transactions { ids: vec![TransactionId::ZERO; TRANSACTION_IDS_MAX] };
    assert!(Request::decode(&ids.encode()).is_ok());
    let ids = TransactionGossip::Ids(vec![TransactionId::ZERO; TRANSACTION_IDS_MAX]);
    assert!(TransactionGossip::decode(&ids.encode()).is_ok());
}

#[test]
fn encodings_are_pinned() {
    use purlin_primitives::hash_domain;
    let all: Vec<u8> = requests().iter().flat_map(Request::encode).collect();
    let rest: Vec<u8> = responses().iter().flat_map(Response::encode).collect();
    let hash = hash_domain("test", &[all, rest].concat());
    assert_eq!(hash.to_string(), "0xa809dc724c3c8a1181590ae3fd2629c01319b079a21a96ac413004ce3c830c69");
}

proptest! {
    #[test]
    fn garbage_is_refused_or_means_itself(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let versioned = [&[crate::limits::PROTOCOL_VERSION], bytes.as_slice()].concat();
        if let Ok(request) = Request::decode(&versioned) {
            prop_assert_eq!(request.encode(), versioned.clone());
        }
        if let Ok(response) = Response::decode(&versioned) {
            prop_assert_eq!(response.encode(), versioned.clone());
        }
        if let Ok(gossip) = TransactionGossip::decode(&versioned) {
            prop_assert_eq!(gossip.encode(), versioned.clone());
        }
        if let Ok(block) = BlockAnnouncement::decode(&versioned) {
            prop_assert_eq!(block.encode(), versioned);
        }
    }

    #[test]
    fn damaged_messages_are_refused_or_mean_themselves(which in 0usize..11, at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut bytes = responses()[which].encode();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        if let Ok(response) = Response::decode(&bytes) {
            prop_assert_eq!(response.encode(), bytes);
        }
    }
}
