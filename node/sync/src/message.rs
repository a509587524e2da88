//! Requests, responses and gossiped messages.
//!
//! Encoding: one byte [`PROTOCOL_VERSION`](crate::limits::PROTOCOL_VERSION), then borsh. Decoding refuses
//! trailing bytes, and counts over their cap before anything is allocated. A response may hold less than was asked
//! for, never more and nothing else; who wants the rest asks again.

use borsh::{BorshDeserialize, BorshSerialize};
use purlin_abi::limits::TRANSACTION_BYTES_MAX;
use purlin_primitives::{
    BlockHeader, BlockId, Certificate, DecodeTransactionError, Hash32, Height, Transaction, TransactionId,
};

use crate::codec;
pub use crate::codec::DecodeError;
use crate::compact::CompactBlock;
use crate::limits::{
    BLOCK_TRANSACTIONS_MAX, BLOCKS_MAX, CONSENSUS_MESSAGE_BYTES_MAX, CONSENSUS_MESSAGES_MAX, DIGEST_IDS_MAX,
    GOSSIP_TRANSACTIONS_MAX, HEADERS_MAX, REQUEST_BYTES_MAX, RESPONSE_BYTES_MAX, SNAPSHOT_CHUNK_BYTES_MAX,
    SNAPSHOT_MANIFEST_BYTES_MAX, TRANSACTION_IDS_MAX,
};
use crate::network::Topic;

/// Canonical bytes of a transaction, not looked at yet: a node passes most of them on as they are.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct EncodedTransaction(
    #[borsh(deserialize_with = "codec::bytes::<_, { TRANSACTION_BYTES_MAX }>")] Vec<u8>,
);

impl EncodedTransaction {
    /// Encodes.
    pub fn new(transaction: &Transaction) -> Self {
        Self(transaction.encode())
    }

    /// Returns the bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the bytes that it takes within a message.
    pub fn size_bytes(&self) -> usize {
        4 + self.0.len()
    }

    /// Decodes; nothing is verified.
    pub fn decode(&self) -> Result<Transaction, DecodeTransactionError> {
        Transaction::decode(&self.0)
    }
}

/// Where a node is.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Status {
    /// Which chain: peers of another one are left alone.
    pub genesis: BlockId,
    /// Last block that it can show to be final, or of its heaviest branch under proof of work.
    pub height: Height,
    /// That block's id; the genesis id at height 0.
    pub head: BlockId,
    /// Work of the whole branch, big-endian; zero under proof of stake.
    pub work: [u8; 32],
    /// Last height that can not be reverted.
    pub final_height: Height,
    /// Oldest block that it still has; 1 when it has all.
    pub oldest_block: Height,
    /// Height of the newest snapshot that it serves.
    pub snapshot: Option<Height>,
}

/// A header and what shows that it is final; under proof of work the header shows it by itself.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct CertifiedHeader {
    /// The header.
    pub header: BlockHeader,
    /// Signatures under it.
    #[borsh(deserialize_with = "codec::certificate")]
    pub certificate: Option<Certificate>,
}

/// Transactions of one block from `first` on, without a gap.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct BodyPart {
    /// Of which block.
    pub block: BlockId,
    /// Position of the first of them.
    pub first: u32,
    /// How many the whole block has.
    pub total: u32,
    /// In order.
    #[borsh(deserialize_with = "codec::list::<_, _, { BLOCK_TRANSACTIONS_MAX }>")]
    pub transactions: Vec<EncodedTransaction>,
}

/// What one node asks of another.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Request {
    /// Where the other is; says where the asker is.
    Status(Status),
    /// Headers of the other's chain.
    Headers {
        /// The first.
        from: Height,
        /// At most [`HEADERS_MAX`].
        count: u32,
    },
    /// Bodies. Asked for by id, so that an answer is right or wrong whatever chain the other is on.
    Blocks {
        /// Which, in ascending order of height.
        #[borsh(deserialize_with = "codec::list::<_, _, { BLOCKS_MAX }>")]
        blocks: Vec<BlockId>,
        /// Position of the first transaction that is wanted of the first of them.
        first: u32,
    },
    /// A block in compact form, proposed or final.
    Compact {
        /// Which.
        block: BlockId,
    },
    /// Some transactions of a block, proposed or final.
    BlockTransactions {
        /// Which block.
        block: BlockId,
        /// Ascending; at most [`TRANSACTION_IDS_MAX`].
        #[borsh(deserialize_with = "codec::list::<_, _, { TRANSACTION_IDS_MAX }>")]
        positions: Vec<u32>,
    },
    /// Transactions of the pool.
    Transactions {
        /// Which.
        #[borsh(deserialize_with = "codec::list::<_, _, { TRANSACTION_IDS_MAX }>")]
        ids: Vec<TransactionId>,
    },
    /// Which transactions are in the pool.
    PoolDigest {
        /// Ids from this one on, in ascending order.
        from: TransactionId,
    },
    /// What the newest snapshot consists of.
    SnapshotManifest {
        /// Of this height rather than the newest.
        height: Option<Height>,
    },
    /// Part of a snapshot.
    SnapshotChunk {
        /// State root of the snapshot.
        root: Hash32,
        /// Entries whose key hash is not below this.
        from: Hash32,
        /// And not above this.
        to: Hash32,
    },
    /// Messages of the consensus engine that gossip may have lost.
    Consensus {
        /// Height being decided.
        height: Height,
    },
}

/// The answer to a [`Request`].
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Response {
    /// The other does not have what was asked for, or no longer.
    Unavailable,
    /// To [`Request::Status`].
    Status(Status),
    /// To [`Request::Headers`]: ascending, without a gap, at least one.
    Headers(#[borsh(deserialize_with = "codec::list::<_, _, { HEADERS_MAX }>")] Vec<CertifiedHeader>),
    /// To [`Request::Blocks`]: of the first ones asked for, at least one; all but the last to their end.
    Blocks(#[borsh(deserialize_with = "codec::list::<_, _, { BLOCKS_MAX }>")] Vec<BodyPart>),
    /// To [`Request::Compact`].
    Compact(CompactBlock),
    /// To [`Request::BlockTransactions`]: those at the first positions asked for, at least one.
    BlockTransactions(
        #[borsh(deserialize_with = "codec::list::<_, _, { TRANSACTION_IDS_MAX }>")] Vec<EncodedTransaction>,
    ),
    /// To [`Request::Transactions`]: those that it has, in the order asked for.
    Transactions(
        #[borsh(deserialize_with = "codec::list::<_, _, { TRANSACTION_IDS_MAX }>")] Vec<EncodedTransaction>,
    ),
    /// To [`Request::PoolDigest`].
    PoolDigest {
        /// In ascending order.
        #[borsh(deserialize_with = "codec::list::<_, _, { DIGEST_IDS_MAX }>")]
        ids: Vec<TransactionId>,
        /// Where to go on, if there are more.
        next: Option<TransactionId>,
    },
    /// To [`Request::SnapshotManifest`]: encoded [`SnapshotManifest`](crate::SnapshotManifest).
    SnapshotManifest(
        #[borsh(deserialize_with = "codec::bytes::<_, { SNAPSHOT_MANIFEST_BYTES_MAX }>")] Vec<u8>,
    ),
    /// To [`Request::SnapshotChunk`]: an encoded range of state and its proof.
    SnapshotChunk(#[borsh(deserialize_with = "codec::bytes::<_, { SNAPSHOT_CHUNK_BYTES_MAX }>")] Vec<u8>),
    /// To [`Request::Consensus`].
    Consensus(
        #[borsh(
            deserialize_with = "codec::pieces::<_, { CONSENSUS_MESSAGES_MAX }, { CONSENSUS_MESSAGE_BYTES_MAX }>"
        )]
        Vec<Vec<u8>>,
    ),
}

/// What is gossiped under [`Topic::Transactions`].
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum TransactionGossip {
    /// Small ones, whole.
    Whole(
        #[borsh(deserialize_with = "codec::list::<_, _, { GOSSIP_TRANSACTIONS_MAX }>")]
        Vec<EncodedTransaction>,
    ),
    /// Large ones, to be fetched from whoever sent this on.
    Ids(#[borsh(deserialize_with = "codec::list::<_, _, { TRANSACTION_IDS_MAX }>")] Vec<TransactionId>),
}

/// What is gossiped under [`Topic::Blocks`].
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum BlockAnnouncement {
    /// A block that its proposer or miner built.
    Proposed(CompactBlock),
    /// A block that is final. Its ids were announced when it was proposed; who missed that asks for them.
    Certified(CertifiedHeader),
}

macro_rules! message {
    ($name:ident, $max:expr) => {
        impl $name {
            /// Returns the bytes to send.
            pub fn encode(&self) -> Vec<u8> {
                codec::encode(self)
            }

            /// Reads what a peer sent.
            pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
                codec::decode(bytes, $max)
            }
        }
    };
}

message!(Request, REQUEST_BYTES_MAX);
message!(Response, RESPONSE_BYTES_MAX);
message!(TransactionGossip, Topic::Transactions.bytes_max());
message!(BlockAnnouncement, Topic::Blocks.bytes_max());

#[cfg(test)]
mod tests;
