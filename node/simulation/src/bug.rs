//! Deliberate bugs, each at a seam of the node, to see that the invariants catch them.

use std::fmt;
use std::str::FromStr;

/// A mistake that a node of this simulation can be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// Blocks are written and not synced.
    MissingFsync,
    /// Votes and what led to them are written and not synced.
    UnsyncedVotes,
    /// The signer forgets at every start what it signed.
    DoubleVote,
    /// A transaction that may not be in a block is executed as if it might.
    SkippedValidity,
    /// A certificate that a peer gives is believed.
    CertificateUnchecked,
    /// Half of the power is taken for two thirds.
    QuorumOfHalf,
    /// Transactions of some accounts are passed over for ever.
    LostTransaction,
    /// Blocks are proposed with the time of their parent.
    StaleProposal,
    /// The pool has no limit.
    UnboundedQueue,
    /// Evidence of double signing is thrown away.
    EvidenceIgnored,
    /// Values before a block are not kept.
    WrongUndo,
    /// A block's outcome depends on the machine's clock.
    ClockInState,
    /// Clients are told that a transaction is committed when it is in the pool.
    EarlyAcknowledgement,
}

impl Bug {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::MissingFsync,
        Self::UnsyncedVotes,
        Self::DoubleVote,
        Self::SkippedValidity,
        Self::CertificateUnchecked,
        Self::QuorumOfHalf,
        Self::LostTransaction,
        Self::StaleProposal,
        Self::UnboundedQueue,
        Self::EvidenceIgnored,
        Self::WrongUndo,
        Self::ClockInState,
        Self::EarlyAcknowledgement,
    ];

    /// Returns the name used on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MissingFsync => "missing-fsync",
            Self::UnsyncedVotes => "unsynced-votes",
            Self::DoubleVote => "double-vote",
            Self::SkippedValidity => "skipped-validity",
            Self::CertificateUnchecked => "certificate-unchecked",
            Self::QuorumOfHalf => "quorum-of-half",
            Self::LostTransaction => "lost-transaction",
            Self::StaleProposal => "stale-proposal",
            Self::UnboundedQueue => "unbounded-queue",
            Self::EvidenceIgnored => "evidence-ignored",
            Self::WrongUndo => "wrong-undo",
            Self::ClockInState => "clock-in-state",
            Self::EarlyAcknowledgement => "early-acknowledgement",
        }
    }
}

impl fmt::Display for Bug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Bug {
    type Err = UnknownBug;

    fn from_str(text: &str) -> Result<Self, UnknownBug> {
        Self::ALL.iter().copied().find(|bug| bug.name() == text).ok_or_else(|| UnknownBug(text.to_owned()))
    }
}

/// Says that there is no bug of this name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownBug(String);

impl fmt::Display for UnknownBug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known: Vec<&str> = Bug::ALL.iter().map(|bug| bug.name()).collect();
        write!(f, "there is no bug `{}`; known are {}", self.0, known.join(", "))
    }
}

impl std::error::Error for UnknownBug {}
