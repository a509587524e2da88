//! Which rule of devices was broken.

use purlin_primitives::{AccountId, DeviceId, FailureCode};

/// Says why an action on a device was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// The name is taken.
    #[error("device {id} is registered already, by {owner}; update it, or choose another id")]
    Exists {
        /// Which.
        id: DeviceId,
        /// By whom.
        owner: AccountId,
    },
    /// Nothing has this name.
    #[error("device {id} is not registered")]
    NotFound {
        /// Which.
        id: DeviceId,
    },
    /// Only the owner may do this.
    #[error("device {id} belongs to {owner}; {sender} may not change it")]
    NotOwner {
        /// Which.
        id: DeviceId,
        /// Who may.
        owner: AccountId,
        /// Who tried.
        sender: AccountId,
    },
    /// Taken out for good.
    #[error("device {id} is revoked; register its successor under another id")]
    Revoked {
        /// Which.
        id: DeviceId,
    },
    /// The Thing Description breaks a rule.
    #[error("Thing Description: {}: {problem}", if .pointer.is_empty() { "the document" } else { .pointer })]
    Description {
        /// JSON pointer to the field; empty for the document.
        pointer: String,
        /// What is wrong and what was expected.
        problem: String,
    },
    /// An area or tag breaks a rule.
    #[error("{field} {text:?}: {problem}")]
    Label {
        /// `area` or `tag`.
        field: &'static str,
        /// What was read, cut to 80 characters.
        text: String,
        /// What is wrong and what was expected.
        problem: String,
    },
    /// Too many tags.
    #[error("{count} tags; at most {max} are allowed")]
    TooManyTags {
        /// Tags found.
        count: usize,
        /// Tags allowed.
        max: usize,
    },
    /// Not a public key of the named scheme.
    #[error("device key is not a valid {algorithm} key; expected {expected}")]
    BadKey {
        /// The scheme.
        algorithm: &'static str,
        /// What would have been right.
        expected: &'static str,
    },
    /// A key belongs to one device, once.
    #[error("device key belongs or belonged to device {device}; make a new key pair")]
    KeyUsed {
        /// To which.
        device: DeviceId,
    },
    /// A look-up would read too much.
    #[error("the filter examines more than {max} devices; narrow it")]
    TooManyExamined {
        /// Most allowed.
        max: u32,
    },
}

impl DeviceError {
    /// Returns the stable code.
    pub fn code(&self) -> FailureCode {
        match self {
            Self::Exists { .. } => FailureCode::DeviceExists,
            Self::NotFound { .. } => FailureCode::DeviceNotFound,
            Self::NotOwner { .. } => FailureCode::NotOwner,
            Self::Revoked { .. } => FailureCode::DeviceRevoked,
            Self::Description { .. } => FailureCode::BadDeviceDescription,
            Self::Label { .. } => FailureCode::BadArgument,
            Self::TooManyTags { .. } | Self::TooManyExamined { .. } => FailureCode::LimitExceeded,
            Self::BadKey { .. } | Self::KeyUsed { .. } => FailureCode::BadDeviceKey,
        }
    }
}
