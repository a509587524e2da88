//! What the engine writes down before it speaks, so that a crash does not make it contradict itself.
//!
//! ```text
//! record = version (u8, 1) | borsh(Record)
//! ```

use borsh::{BorshDeserialize, BorshSerialize};
use purlin_primitives::{BlockId, Height};

use super::tendermint::Step;

const VERSION: u8 = 1;

/// What was found out about a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(super) struct BlockSeal {
    pub(super) block: BlockId,
    /// Round that its header names.
    pub(super) round: u32,
    /// Whether it may be voted for.
    pub(super) valid: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
#[borsh(use_discriminant = true)]
#[repr(u8)]
pub(super) enum Entry {
    Step(Step) = 1,
    Block(BlockSeal) = 2,
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(super) struct Record {
    pub(super) height: Height,
    pub(super) entry: Entry,
}

impl Record {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        borsh::to_writer(&mut bytes, self).expect("writing to memory cannot fail");
        bytes
    }

    /// Reads a record; `Err` says why it is none.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, String> {
        match bytes.split_first() {
            Some((&VERSION, body)) => borsh::from_slice(body).map_err(|error| error.to_string()),
            Some((version, _)) => Err(format!("version {version}, this node reads version {VERSION}")),
            None => Err("no bytes".to_owned()),
        }
    }
}
