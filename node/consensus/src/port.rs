//! The port: what an engine is told, and what it wants done.

use purlin_primitives::{BlockHeader, BlockId, BlockSignature, Certificate, Height, TimestampMs};

/// The last block of the chain, or its genesis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Its height; 0 for the genesis.
    pub height: Height,
    /// Its id; the genesis id at height 0.
    pub id: BlockId,
    /// Its time.
    pub time: TimestampMs,
    /// Whether its own header already commits to the state after it, because it changed nothing. Otherwise
    /// nothing can be proven about the newest state until the next block.
    pub anchored: bool,
}

/// A block that was built and executed here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// Its header.
    pub header: BlockHeader,
    /// Its id.
    pub id: BlockId,
    /// Whether it changed nothing; see [`Head::anchored`].
    pub anchored: bool,
}

impl Proposal {
    /// Returns the head that the chain has once this is committed.
    pub fn head(&self) -> Head {
        Head { height: self.header.height, id: self.id, time: self.header.time, anchored: self.anchored }
    }
}

/// Result of [`Effect::ValidateBlock`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Its header and every transaction are right.
    Valid,
    /// It breaks a rule; whoever proposed it is at fault.
    Invalid {
        /// Which rule.
        reason: String,
    },
}

/// Names a timer of an engine; setting it again moves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimerId(pub u32);

/// What an engine is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The node started; the first input, exactly once.
    Started {
        /// Where the chain is.
        head: Head,
        /// The head's header when its certificate is missing: the process ended between storing and signing.
        uncertified: Option<Box<BlockHeader>>,
    },
    /// At least one transaction waits in the pool. May be repeated.
    TransactionsWaiting,
    /// Somebody wants a proof of the newest state, which takes a block when the head is not anchored.
    AnchorWanted,
    /// Answer to [`Effect::BuildProposal`].
    ProposalBuilt {
        /// The block.
        proposal: Proposal,
        /// Whether transactions are left in the pool.
        more_waiting: bool,
    },
    /// The other answer to [`Effect::BuildProposal`], under [`WhenEmpty::Skip`]: nothing to put in.
    ProposalSkipped {
        /// The height asked for.
        height: Height,
        /// Whether transactions arrived meanwhile.
        more_waiting: bool,
    },
    /// Answer to [`Effect::ValidateBlock`].
    BlockValidated {
        /// Which block.
        block: BlockId,
        /// Whether it may be voted for.
        verdict: Verdict,
    },
    /// Answer to [`Effect::Sign`]; the sign state is durable.
    Signed {
        /// Which block.
        block: BlockId,
        /// Its height.
        height: Height,
        /// This node's signature.
        signature: BlockSignature,
    },
    /// A block is durable: the answer to [`Effect::Commit`], in the order of those.
    Committed {
        /// The block, now the head.
        head: Head,
        /// Its header.
        header: Box<BlockHeader>,
    },
    /// A timer went off.
    TimerElapsed {
        /// Which.
        timer: TimerId,
    },
    /// A peer's message of this engine. The driver has limited its size and nothing else.
    Message {
        /// Who sent it on, as the network names it.
        from: Vec<u8>,
        /// Encoded by the engine on the other side.
        bytes: Vec<u8>,
    },
}

/// What to do when there is no transaction for a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenEmpty {
    /// Build no block.
    Skip,
    /// Build an empty one.
    Build,
}

/// What an engine asks to have signed; each purpose has its own hash domain and sign-state rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SigningRequest {
    /// A block, as its validator. Never two different ones at a height.
    Block {
        /// What is signed.
        header: Box<BlockHeader>,
        /// Its id.
        id: BlockId,
    },
}

/// What goes to every peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Announcement {
    /// A block is final.
    Certified {
        /// What shows it.
        certificate: Certificate,
    },
    /// A message of this engine's own protocol.
    Message {
        /// For [`Input::Message`] on the other side.
        bytes: Vec<u8>,
    },
}

/// Something an operator should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The clock is far behind the last block, so block times run ahead of it until it has caught up.
    ClockBehind {
        /// How far, in milliseconds.
        by_ms: u64,
    },
}

/// What an engine wants done. Effects are carried out in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Build and execute a block of waiting transactions on top of the last one committed or being committed.
    /// Answered by [`Input::ProposalBuilt`] or [`Input::ProposalSkipped`].
    BuildProposal {
        /// Its height.
        height: Height,
        /// Its time.
        time: TimestampMs,
        /// What to do when the pool is empty.
        when_empty: WhenEmpty,
    },
    /// Fetch, check and execute a block that somebody proposed. Answered by [`Input::BlockValidated`].
    ValidateBlock {
        /// Which.
        block: BlockId,
    },
    /// Make a built or validated block durable and the head. Answered by [`Input::Committed`]. The next block may
    /// be built before the answer.
    Commit {
        /// Which.
        block: BlockId,
        /// What shows that it is final, when the engine has it before the block is stored.
        certificate: Option<Certificate>,
    },
    /// Record in the sign state, durably, then sign. Answered by [`Input::Signed`]. A refusal by the sign state
    /// stops the node.
    Sign(SigningRequest),
    /// Keep a committed block's certificate; from here on the block is reported as final.
    Certify {
        /// What shows it.
        certificate: Certificate,
    },
    /// Set a timer, or move it.
    SetTimer {
        /// Which.
        timer: TimerId,
        /// From now, in milliseconds.
        after_ms: u64,
    },
    /// Forget a timer.
    CancelTimer {
        /// Which.
        timer: TimerId,
    },
    /// Send to every peer.
    Publish(Announcement),
    /// Tell the operator.
    Report(Notice),
}

/// Decides which block comes next.
///
/// Rules for an engine: `handle` is pure and quick, the outcome depends on nothing but the sequence of calls;
/// it never asks for a signature of anything but what it also asks to make durable, or has seen validated; after
/// [`Effect::BuildProposal`] it asks for no other build until that is answered.
///
/// Rules for a driver: inputs are given one at a time; `now` is the machine's clock and may go backwards;
/// [`Input::Committed`] comes in order of height, after the block would survive a power cut. A failed write, a
/// refused signature or an execution fault never reaches the engine: the node stops.
///
/// How the others fit: a BFT engine asks for [`Effect::ValidateBlock`] before it votes, sends votes with
/// [`Announcement::Message`], reads them from [`Input::Message`], gets its rounds from timers, adds its votes to
/// [`SigningRequest`], and hands [`Effect::Commit`] the certificate that two thirds have signed. A proof-of-work
/// engine replaces signing by a search that the driver runs, and adds an effect that names the fork to
/// go back to before a `Commit`.
pub trait ConsensusEngine: Send {
    /// Returns the name used in genesis, status and metrics.
    fn name(&self) -> &'static str;

    /// Takes one input at a time `now` of the machine's clock.
    fn handle(&mut self, now: TimestampMs, input: Input) -> Vec<Effect>;
}
