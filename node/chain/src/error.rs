//! What can go wrong with a chain.

use purlin_primitives::{BlockId, ChainId, Hash32, Height, TimestampMs};
use purlin_state::StoreError;

use crate::ExecutionFault;

/// Says why a chain could not be opened, extended or read.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// Storage did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Execution did not answer.
    #[error(transparent)]
    Execution(#[from] ExecutionFault),
    /// Written by another version of the program.
    #[error("the data has format version {found}; this program reads {supported}: use the one that wrote it")]
    OtherFormat {
        /// On disk.
        found: u32,
        /// Known here.
        supported: u32,
    },
    /// The data belongs to another chain than the genesis.
    #[error(
        "the data is of chain {found} (genesis {found_genesis}); the genesis given is of chain {expected} \
         (genesis {expected_genesis}): use another data directory, or the genesis it was made with"
    )]
    OtherChain {
        /// On disk.
        found: ChainId,
        /// On disk.
        found_genesis: BlockId,
        /// Asked for.
        expected: ChainId,
        /// Asked for.
        expected_genesis: BlockId,
    },
    /// What is stored contradicts itself and cannot be made again from the rest.
    #[error(
        "the stored chain is inconsistent: {detail}; restore a backup, or sync again into an empty directory"
    )]
    Inconsistent {
        /// What contradicts what.
        detail: String,
    },
    /// A snapshot was begun here and is not complete.
    #[error(
        "a snapshot is being installed here and is not complete; start the node with `network.sync` at `snapshot` to \
         go on, or remove the data directory to begin again"
    )]
    Unfinished,
    /// There is a chain where a snapshot was to be installed.
    #[error("there is a chain here already; a snapshot takes an empty data directory")]
    NotEmpty,
    /// The entries of a snapshot are not the state of its block.
    #[error("the snapshot's entries give state root {found}; the state of height {height} has {expected}")]
    SnapshotRoot {
        /// Of the snapshot.
        height: Height,
        /// Computed.
        found: Hash32,
        /// Trusted.
        expected: Hash32,
    },
    /// A block that does not extend the chain, or does not say what it does.
    #[error("block {height} is invalid: {fault}")]
    InvalidBlock {
        /// Its height.
        height: Height,
        /// Why.
        fault: BlockFault,
    },
    /// Blocks are committed in order, each once.
    #[error("block {height} cannot be stored now: the next one is {expected}")]
    OutOfOrder {
        /// Of the block.
        height: Height,
        /// Next one.
        expected: Height,
    },
    /// Too many blocks are sealed and not committed.
    #[error("{waiting} blocks wait to be stored; store them first")]
    TooManyWaiting {
        /// How many.
        waiting: usize,
    },
    /// A write failed before: what is on disk is unknown until the node starts again.
    #[error("storing a block failed before; start the node again")]
    Stopped,
    /// A branch that forks off before the window: what is needed to take back the blocks since is not kept.
    #[error(
        "a branch that leaves the chain after height {ancestor} cannot become the chain: blocks up to height \
         {oldest} are final"
    )]
    ReorganizationTooDeep {
        /// Last block that both share.
        ancestor: Height,
        /// Lowest height to which the chain can go back.
        oldest: Height,
    },
    /// Going over to a branch takes more memory than allowed.
    #[error("going over to the branch writes {bytes} bytes at once, more than the {max} allowed")]
    ReorganizationTooLarge {
        /// Counted until it was given up.
        bytes: usize,
        /// Most allowed.
        max: usize,
    },
    /// Not there yet.
    #[error("height {height} is not there yet; the chain is at {head}")]
    NotYet {
        /// Asked for.
        height: Height,
        /// Newest.
        head: Height,
    },
    /// The root of a height is in the next block.
    #[error("state of height {height} cannot be proven before block {next} exists, which names its root")]
    NotProvableYet {
        /// Asked for.
        height: Height,
        /// Needed.
        next: Height,
    },
}

/// Says what is wrong with a block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockFault {
    /// Of another chain.
    #[error("it is of chain {found}; expected {expected}")]
    Chain {
        /// In the header.
        found: ChainId,
        /// Of this node.
        expected: ChainId,
    },
    /// Does not come next.
    #[error("the next height is {expected}")]
    Height {
        /// Next one.
        expected: Height,
    },
    /// Extends another block.
    #[error("its parent is {found}; the chain ends with {expected}")]
    Parent {
        /// In the header.
        found: BlockId,
        /// The chain's last.
        expected: BlockId,
    },
    /// Not after its parent.
    #[error("its time {found} is not after its parent's {parent}")]
    Time {
        /// In the header, in milliseconds since 1970.
        found: TimestampMs,
        /// Of the parent.
        parent: TimestampMs,
    },
    /// Names another state than the parent left behind.
    #[error("its state root is {found}; computed {expected}")]
    StateRoot {
        /// In the header.
        found: Hash32,
        /// Of this node.
        expected: Hash32,
    },
    /// Names other receipts than the parent's.
    #[error("its receipts root is {found}; computed {expected}")]
    ReceiptsRoot {
        /// In the header.
        found: Hash32,
        /// Of this node.
        expected: Hash32,
    },
    /// Names other transactions than it has.
    #[error("its transactions root is {found}; computed {expected}")]
    TransactionsRoot {
        /// In the header.
        found: Hash32,
        /// Of its transactions.
        expected: Hash32,
    },
    /// The execution result is of other transactions.
    #[error("it has {transactions} transactions, the execution result has {receipts} receipts")]
    ReceiptCount {
        /// In the block.
        transactions: usize,
        /// From execution.
        receipts: usize,
    },
    /// The certificate is of another block.
    #[error("the certificate is of block {found}")]
    Certificate {
        /// What it certifies.
        found: BlockId,
    },
}
