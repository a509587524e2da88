//! Which rule of staking was broken.

use purlin_primitives::{AccountId, Amount, EvidenceError, FailureCode, Height, KeyError};

/// Says why an action of staking was refused, or why a genesis is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StakingError {
    /// Another engine decides.
    #[error("this chain has no staking: proof of work decides, and mining needs no stake")]
    NoStaking,
    /// Nothing was named.
    #[error("the amount is zero; name at least 1")]
    NoAmount,
    /// Not a key.
    #[error("validator key: {0}")]
    Key(#[from] KeyError),
    /// Nobody bonds for somebody else: the stake would be the other's to take out and to lose.
    #[error("the validator key belongs to account {owner}; only that account can bond for it, not {sender}")]
    ForeignKey {
        /// Whose key.
        owner: AccountId,
        /// Who tried.
        sender: AccountId,
    },
    /// Less than the chain asks for.
    #[error("{stake} would be at stake; a validator needs at least {min}")]
    TooSmall {
        /// What would be at stake.
        stake: Amount,
        /// Least.
        min: Amount,
    },
    /// More than there is.
    #[error("account {account} has {stake} at stake; {asked} cannot be taken out")]
    Insufficient {
        /// Whose.
        account: AccountId,
        /// What it has.
        stake: Amount,
        /// What was asked.
        asked: Amount,
    },
    /// Neither in nor out.
    #[error("{rest} would stay at stake, below the least of {min}; take out all {stake} to leave")]
    RestTooSmall {
        /// What would be left.
        rest: Amount,
        /// Least.
        min: Amount,
        /// What is at stake.
        stake: Amount,
    },
    /// A set is never empty.
    #[error("no other validator is active; another one must bond or return before this one leaves")]
    LastValidator,
    /// More than fits.
    #[error("adding {amount} to what account {account} has at stake exceeds the largest amount")]
    Overflow {
        /// Whose.
        account: AccountId,
        /// What was to be added.
        amount: Amount,
    },
    /// Never had anything at stake, or took it all back.
    #[error("account {account} has nothing at stake; it becomes a validator by bonding")]
    NotValidator {
        /// Who.
        account: AccountId,
    },
    /// Out for good.
    #[error(
        "validator {account} signed two conflicting things and is out for good; \
         what is left of its stake can be taken out, and another key can bond"
    )]
    Tombstoned {
        /// Who.
        account: AccountId,
    },
    /// Nothing to return from.
    #[error("validator {account} is not jailed; there is nothing to do")]
    NotJailed {
        /// Who.
        account: AccountId,
    },
    /// Too early.
    #[error("validator {account} stays jailed until epoch {until_epoch}; try again from height {from} on")]
    StillJailed {
        /// Who.
        account: AccountId,
        /// First epoch in which it may return.
        until_epoch: u64,
        /// First height of that epoch.
        from: Height,
    },
    /// Proves nothing.
    #[error("evidence: {0}")]
    Evidence(#[from] EvidenceError),
    /// Too old to be punished, or not yet a height of this chain.
    #[error("the evidence is of height {height}; heights from {oldest} to {newest} can be punished now")]
    EvidenceHeight {
        /// When it happened.
        height: Height,
        /// Oldest that counts.
        oldest: Height,
        /// This block.
        newest: Height,
    },
    /// Whoever signed had no vote.
    #[error("account {account} was not a validator at height {height}; what it signed there means nothing")]
    NotValidatorThen {
        /// Who.
        account: AccountId,
        /// When.
        height: Height,
    },
    /// The genesis breaks a rule.
    #[error("{field}: {problem}")]
    Genesis {
        /// Where: `validators`, `parameters.consensus.stake_min`.
        field: &'static str,
        /// What is wrong and what was expected.
        problem: String,
    },
}

impl StakingError {
    /// Returns the stable code.
    pub fn code(&self) -> FailureCode {
        match self {
            Self::NoStaking => FailureCode::NoStaking,
            Self::NoAmount | Self::Key(_) | Self::Genesis { .. } => FailureCode::BadArgument,
            Self::ForeignKey { .. } => FailureCode::NotOwner,
            Self::TooSmall { .. } | Self::RestTooSmall { .. } => FailureCode::StakeTooSmall,
            Self::Insufficient { .. } => FailureCode::InsufficientStake,
            Self::LastValidator => FailureCode::LastValidator,
            Self::Overflow { .. } => FailureCode::Overflow,
            Self::NotValidator { .. } | Self::NotValidatorThen { .. } => FailureCode::NotValidator,
            Self::Tombstoned { .. } => FailureCode::ValidatorTombstoned,
            Self::NotJailed { .. } => FailureCode::NotJailed,
            Self::StillJailed { .. } => FailureCode::ValidatorJailed,
            Self::Evidence(_) => FailureCode::BadEvidence,
            Self::EvidenceHeight { .. } => FailureCode::EvidenceExpired,
        }
    }
}
