//! The port: what an engine is told, and what it wants done.

use purlin_primitives::{
    BlockHeader, BlockId, BlockProposal, Certificate, Equivocation, Height, PublicKey, Seal, SignedProposal,
    SignedVote, TimestampMs, ValidatorSet, Vote,
};
use std::sync::Arc;

use crate::pow::{PowEffect, PowInput, PowNotice};

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
    /// Its header and every transaction are right, as far as the seal, the proposer and the clock are not concerned:
    /// what those must be is known to the engine.
    Valid {
        /// Its header.
        header: Box<BlockHeader>,
    },
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
        /// Who decides the next height.
        validators: Arc<ValidatorSet>,
        /// What [`VoteSigner::record`] kept durably of the height after the head, oldest first. Others do no harm.
        records: Vec<Vec<u8>>,
    },
    /// This node knows where the chain is, or there is nobody to learn it from: an engine that was held back
    /// until then, because a validator that does not know may have signed there before, may sign. May be repeated.
    SigningAllowed {
        /// Heights up to this one are left to others: its key was used there, and what for is not on record.
        above: Height,
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
    /// A block is durable: the answer to [`Effect::Commit`], in the order of those.
    Committed {
        /// The block, now the head.
        head: Head,
        /// Its header.
        header: Box<BlockHeader>,
        /// Who decides the next height.
        validators: Arc<ValidatorSet>,
    },
    /// A block of the height after the head and what shows that it is final, fetched from a peer. Nothing about
    /// either was checked. The body can be had: [`Effect::ValidateBlock`] will not have to ask peers.
    Certified {
        /// Its header.
        header: Box<BlockHeader>,
        /// What is claimed to show it.
        certificate: Certificate,
        /// Who sent the certificate, as the network names it.
        from: Vec<u8>,
    },
    /// A timer went off.
    TimerElapsed {
        /// Which.
        timer: TimerId,
    },
    /// What only proof of work is told.
    Pow(PowInput),
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

/// Says why a signature was not given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignError {
    /// It would contradict what was signed before. Not signing is right, and the node goes on.
    Conflict {
        /// What was signed before.
        detail: String,
    },
    /// The record could not be made durable. The node must stop.
    Failed {
        /// What went wrong.
        detail: String,
    },
}

/// Signs what an engine decides, with the validator's key, and keeps what led to it.
///
/// The one effect that an engine waits for: a vote is counted and published with its signature, so there is no
/// state in between. An implementation makes what it signs durable before it returns (DESIGN 1.4), together with
/// all that was recorded before, and refuses whatever contradicts an earlier signature. The same thing may be signed
/// again.
///
/// Records and signatures belong into one file, written and synced at once. If a signature could outlive the records
/// that led to it, a validator would come to another vote after a crash, which is refused, and stay silent in that
/// round; when a third of the power does, the round never ends.
pub trait VoteSigner: Send {
    /// Returns the key.
    fn public_key(&self) -> PublicKey;

    /// Keeps bytes for [`Input::Started`] after a crash, durable with the next signature at the latest. Records of
    /// lower heights may be forgotten; a failure to write shows at the next signature.
    fn record(&mut self, height: Height, bytes: Vec<u8>);

    /// Makes the records and a vote durable, then signs it.
    fn sign_vote(&mut self, vote: Vote) -> Result<SignedVote, SignError>;

    /// Makes the records and a proposal durable, then signs it.
    fn sign_proposal(&mut self, proposal: BlockProposal) -> Result<SignedProposal, SignError>;
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
    /// A block that was built here is proposed: peers need its body.
    Block {
        /// Which.
        block: BlockId,
    },
}

/// Something an operator should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A proposed block's time is too far ahead of this machine's clock to be voted for: one of the clocks is wrong.
    BlockAhead {
        /// Which.
        block: BlockId,
        /// How far, in milliseconds.
        ahead_ms: u64,
    },
    /// The clock is far behind the last block, so block times run ahead of it until it has caught up.
    ClockBehind {
        /// How far, in milliseconds.
        by_ms: u64,
    },
    /// A signature was refused because it would contradict an earlier one; the node stays silent there.
    SignatureRefused {
        /// What was signed before.
        detail: String,
    },
    /// Something about branches of a proof-of-work chain.
    Pow(PowNotice),
    /// A round ended without a decision.
    RoundFailed {
        /// At which height.
        height: Height,
        /// Which round.
        round: u32,
    },
    /// A step of the engine failed in a way that it survives.
    Fault {
        /// What went wrong.
        detail: String,
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
        /// What goes into its header for the engine.
        seal: Seal,
        /// What to do when the pool is empty.
        when_empty: WhenEmpty,
    },
    /// Fetch, check and execute a block that somebody proposed. Answered by [`Input::BlockValidated`], once,
    /// which may be never when nobody has it. May be asked again for the same block, which is as good as once.
    ValidateBlock {
        /// Which.
        block: BlockId,
        /// Its height: the next one.
        height: Height,
    },
    /// Make a built or validated block durable and the head. Answered by [`Input::Committed`]. The next block may
    /// be built before the answer.
    Commit {
        /// Which.
        block: BlockId,
        /// What shows that it is final, when the engine has it before the block is stored.
        certificate: Option<Certificate>,
    },
    /// Keep the body of a built or validated block for after a crash: durable before any later
    /// [`Effect::Publish`] is carried out, forgotten when a block of this height is committed. When all validators
    /// lose power at once, those who precommitted it must be able to show it: nothing else can be decided any more.
    KeepBody {
        /// Which.
        block: BlockId,
        /// Its height.
        height: Height,
        /// Those that this node precommitted before. All others may go when there are many: nobody can decide them.
        beside: Vec<BlockId>,
    },
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
    /// A peer sent a message of this engine that no honest node sends, or that is no message.
    Blame {
        /// Who sent it on.
        peer: Vec<u8>,
        /// What was wrong.
        reason: String,
    },
    /// Bring evidence of a validator's misbehaviour into a block.
    Evidence(Box<Equivocation>),
    /// What only proof of work wants done.
    Pow(PowEffect),
    /// Tell the operator.
    Report(Notice),
    /// Stop the node: going on would not be safe.
    Halt {
        /// Why, and what to do.
        reason: String,
    },
}

/// How much an engine keeps of what peers sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EngineLengths {
    /// Messages for heights to come.
    pub early: usize,
    /// Signatures of recent heights, kept to find those that exclude each other, and what was found.
    pub evidence: usize,
    /// Proposals whose block is not known yet.
    pub held: usize,
}

/// Decides which block comes next.
///
/// Rules for an engine: `handle` is quick, and its outcome depends on nothing but the sequence of calls and the
/// answers of its [`VoteSigner`]; it signs nothing that was not built here or seen validated, or is being made
/// durable; after [`Effect::BuildProposal`] it asks for no other build until that is answered.
///
/// Rules for a driver: inputs are given one at a time; `now` is the machine's clock and may go backwards;
/// [`Input::Committed`] comes in order of height, after the block would survive a power cut. A failed write or
/// an execution fault never reaches the engine: the node stops.
///
/// How they use it: the single validator commits what it built, then signs. A BFT engine asks for
/// [`Effect::ValidateBlock`] before it votes, sends its messages with [`Announcement::Message`], reads them from
/// [`Input::Message`], gets its rounds from timers, and hands [`Effect::Commit`] the certificate that two thirds
/// have signed.
pub trait ConsensusEngine: Send {
    /// Returns the name used in genesis, status and metrics.
    fn name(&self) -> &'static str;

    /// Takes one input at a time `now` of the machine's clock.
    fn handle(&mut self, now: TimestampMs, input: Input) -> Vec<Effect>;

    /// Returns how much it keeps; nothing for engines that take no messages.
    fn lengths(&self) -> EngineLengths {
        EngineLengths::default()
    }
}
