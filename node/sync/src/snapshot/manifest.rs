//! What describes a snapshot.

use borsh::{BorshDeserialize, BorshSerialize};
use purlin_primitives::{BlockHeader, BlockId, Certificate, ChainId, Hash32, Height, TimestampMs};

use super::{HANDOVER_BYTES_MAX, HANDOVERS_MAX};
use crate::codec::{self, DecodeError};
use crate::limits::SNAPSHOT_MANIFEST_BYTES_MAX;
use crate::message::CertifiedHeader;

/// Describes a snapshot and shows which block it follows.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct SnapshotManifest {
    /// The block whose state it is.
    pub header: BlockHeader,
    /// Its certificate under proof of stake.
    #[borsh(deserialize_with = "codec::certificate")]
    pub certificate: Option<Certificate>,
    /// The block after it, whose header names the roots of the state and the receipts that the first left behind.
    pub next: CertifiedHeader,
    /// Transactions since the genesis. A claim: nothing proves it.
    pub transactions: u64,
    /// For [`SnapshotTrust`]: what leads from the validators trusted at first to those that signed `next`. Under proof
    /// of stake an encoded [`Turnover`](purlin_state::Turnover) for each epoch of the unbonding period, oldest first.
    #[borsh(deserialize_with = "codec::pieces::<_, { HANDOVERS_MAX }, { HANDOVER_BYTES_MAX }>")]
    pub handovers: Vec<Vec<u8>>,
}

impl SnapshotManifest {
    /// Returns the bytes for [`Response::SnapshotManifest`].
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads what a peer sent.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::decode(bytes, SNAPSHOT_MANIFEST_BYTES_MAX)
    }

    /// Says whether the two headers follow each other on this chain and the certificates are about them. Whose
    /// signatures those are is not looked at.
    pub fn is_consistent(&self, chain_id: &ChainId) -> bool {
        let next = &self.next.header;
        let fits = |certificate: &Option<Certificate>, header: &BlockHeader| {
            certificate.as_ref().is_none_or(|certificate| certificate.is_for(header))
        };
        self.header.chain_id == *chain_id
            && next.chain_id == *chain_id
            && Some(next.height) == self.header.height.checked_add(Height::new(1))
            && next.parent == self.header.id()
            && fits(&self.certificate, &self.header)
            && fits(&self.next.certificate, next)
    }

    /// Returns what a chain must know of its head to go on from here.
    pub fn head(&self) -> SnapshotHead {
        SnapshotHead {
            height: self.header.height,
            block: self.header.id(),
            time: self.header.time,
            state_root: self.next.header.state_root,
            receipts_root: self.next.header.receipts_root,
            transactions: self.transactions,
        }
    }
}

/// The head of a chain that begins with a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotHead {
    /// Height of the block whose state it is; also the oldest one that can be read and proven.
    pub height: Height,
    /// Its id: parent of the next block.
    pub block: BlockId,
    /// Its time.
    pub time: TimestampMs,
    /// Root of the state after it.
    pub state_root: Hash32,
    /// Root of its receipts.
    pub receipts_root: Hash32,
    /// Transactions since the genesis; a claim.
    pub transactions: u64,
}
