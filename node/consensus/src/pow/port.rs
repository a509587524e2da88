//! What proof of work adds to the port.

use purlin_primitives::{BlockHeader, BlockId, Height};

/// What only a proof-of-work engine is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PowInput {
    /// Headers of a peer's chain, in ascending order, which it answers for: what it gave when asked for them, by
    /// [`PowEffect::RequestHeaders`] or by whoever catches up. Nothing about them was checked but their number and
    /// size. Empty when it has none to give.
    Headers {
        /// Who sent them, as the network names it.
        from: Vec<u8>,
        /// At most [`HEADERS_PER_ANSWER_MAX`](super::HEADERS_PER_ANSWER_MAX).
        headers: Vec<BlockHeader>,
    },
    /// Answer to [`PowEffect::Mine`]: a nonce was found. The driver has put it into the built block, which is
    /// known to it by its new id from now on, as one that was found valid.
    Mined {
        /// The header with its nonce.
        header: Box<BlockHeader>,
    },
    /// Answer to [`PowEffect::Reorganize`]: the branch is durable and the chain.
    Reorganized {
        /// The chain's head.
        head: BlockId,
    },
    /// Answer to [`PowEffect::Reorganize`]: this node cannot go over to the branch, though nothing is wrong with it;
    /// the chain is as it was.
    Stayed,
}

/// What only a proof-of-work engine wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PowEffect {
    /// Fetch the body of this header, check it and execute it on its parent. Those between the chain's block at
    /// `ancestor` and it were asked for before, and are answered before. Keep block and result until it is
    /// committed or discarded. Answered by [`Input::BlockValidated`](crate::Input::BlockValidated), once; never
    /// when nobody has it or its parent, and then it may be asked for again.
    Validate {
        /// The header; its proof of work, target and time were checked.
        header: Box<BlockHeader>,
        /// Height at which its branch leaves the chain.
        ancestor: Height,
        /// Who announced it and should have the body; `None` when it is not known.
        from: Option<Vec<u8>>,
    },
    /// Take back the chain's blocks above `ancestor` and append these validated ones, durably and at once.
    /// Answered by [`PowInput::Reorganized`] or [`PowInput::Stayed`].
    Reorganize {
        /// Height of the last common block.
        ancestor: Height,
        /// Lowest first.
        branch: Vec<BlockId>,
    },
    /// Forget these validated blocks: they will be neither committed nor built on. Whatever is not known is
    /// ignored.
    Discard {
        /// Which.
        blocks: Vec<BlockId>,
    },
    /// Search a nonce for the block that was built last, in place of any search under way.
    Mine {
        /// Its header, with nonce 0.
        header: Box<BlockHeader>,
    },
    /// Stop searching. A nonce that was found before this took effect may still be given.
    StopMining,
    /// Ask a peer for headers from where its chain leaves this node's, as many as one answer holds. What comes after
    /// those is for whoever catches up: it sees by the peer's work that there is more.
    RequestHeaders {
        /// Whom.
        from: Vec<u8>,
    },
}

/// Something about branches that an operator should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PowNotice {
    /// A peer's chain leaves ours where ours is final. If most others follow it, this node is on the wrong chain
    /// and must be set up anew.
    FinalBranchRefused {
        /// Who sent it.
        from: Vec<u8>,
        /// Height of the header that does not fit.
        height: Height,
        /// Up to which height our chain is final.
        final_height: Height,
    },
    /// A heavier branch is left alone, because this node cannot go over to it.
    BranchLeft {
        /// Height of the last common block.
        ancestor: Height,
        /// The branch's first block.
        block: BlockId,
    },
    /// The chain went over to another branch.
    Reorganized {
        /// Height of the last common block.
        ancestor: Height,
        /// Blocks that were taken back.
        removed: u64,
        /// Blocks that took their place.
        added: u64,
    },
    /// A block with valid work breaks a rule of execution.
    InvalidBlock {
        /// Which.
        block: BlockId,
        /// Its height.
        height: Height,
        /// Which rule.
        reason: String,
    },
    /// Nobody gave the body of a heavier branch's block in time; mining goes on without it.
    BodyMissing {
        /// Which.
        block: BlockId,
        /// Its height.
        height: Height,
    },
}
