//! Stable codes for every way a call, an action or a transaction can end badly.

use borsh::{BorshDeserialize, BorshSerialize};
use core::fmt;

macro_rules! failure_codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)*) => {
        /// Says why something failed. Numbers and texts never change meaning; new ones are added at the end.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum FailureCode {
            $($(#[$doc])* $name = $number,)*
        }

        impl FailureCode {
            /// All codes, in order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Returns the text form used in APIs: `out_of_gas`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Returns the number used in encodings.
            pub const fn number(self) -> u16 {
                self as u16
            }

            /// Finds a code by number.
            pub const fn from_number(number: u16) -> Option<Self> {
                match number { $($number => Some(Self::$name),)* _ => None }
            }

            /// Finds a code by text.
            pub fn from_text(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$name),)* _ => None }
            }
        }
    };
}

failure_codes! {
    /// The gas limit was reached.
    OutOfGas = 1, "out_of_gas";
    /// Calls inside the guest went too deep.
    StackOverflow = 2, "stack_overflow";
    /// The guest touched memory or a table outside its bounds.
    MemoryOutOfBounds = 3, "memory_out_of_bounds";
    /// The guest executed `unreachable`: most often an abort without a message.
    Unreachable = 4, "unreachable";
    /// Division by zero, overflow in a conversion, or another arithmetic trap.
    ArithmeticTrap = 5, "arithmetic_trap";
    /// An indirect call found no function or the wrong type.
    BadIndirectCall = 6, "bad_indirect_call";
    /// The guest panicked; the message is its own.
    Panic = 7, "panic";
    /// The application returned an error of its own; `app_code` and the message are its own.
    AppError = 8, "app_error";
    /// A host function was given a pointer or length outside memory.
    BadPointer = 9, "bad_pointer";
    /// A host function was given something larger than its limit.
    LimitExceeded = 10, "limit_exceeded";
    /// A host function was given bytes it cannot read.
    BadArgument = 11, "bad_argument";
    /// A query tried to write.
    WriteInQuery = 12, "write_in_query";
    /// An application on the call stack was called again.
    Reentrancy = 13, "reentrancy";
    /// App-to-app calls went too deep.
    CallDepth = 14, "call_depth";
    /// The method does not exist.
    UnknownMethod = 15, "unknown_method";
    /// The application is not installed.
    AppNotFound = 16, "app_not_found";
    /// The application is installed but not running.
    AppNotRunning = 17, "app_not_running";
    /// The application is installed already.
    AppExists = 18, "app_exists";
    /// Somebody else owns it.
    NotOwner = 19, "not_owner";
    /// The account has too little.
    InsufficientBalance = 20, "insufficient_balance";
    /// A sum left the range of its type.
    Overflow = 21, "overflow";
    /// The package was refused; the message says which rule.
    BadPackage = 22, "bad_package";
    /// A required application is missing or has the wrong version.
    MissingDependency = 23, "missing_dependency";
    /// Other applications depend on this one; the message names them.
    HasDependents = 24, "has_dependents";
    /// The new version is not newer than the old.
    NotAnUpgrade = 25, "not_an_upgrade";
    /// The application's storage quota would be exceeded.
    StorageQuota = 26, "storage_quota";
    /// The device is registered already.
    DeviceExists = 27, "device_exists";
    /// The device is not registered.
    DeviceNotFound = 28, "device_not_found";
    /// The device is revoked.
    DeviceRevoked = 29, "device_revoked";
    /// The device description was refused; the message names the field.
    BadDeviceDescription = 30, "bad_device_description";
    /// A device key is malformed, in use, or was revoked.
    BadDeviceKey = 31, "bad_device_key";
    /// The transaction touched an application outside its access list.
    AccessList = 32, "access_list";
    /// The capability was not granted by the manifest.
    NotGranted = 33, "not_granted";
    /// The guest's memory would grow past its cap at start.
    MemoryLimit = 34, "memory_limit";
    /// The application has no such life-cycle step.
    BadLifecycle = 35, "bad_lifecycle";
    /// Dependencies lead back to the application itself; the message shows the circle.
    CircularDependency = 36, "circular_dependency";
    /// This chain has no staking: another engine decides.
    NoStaking = 37, "no_staking";
    /// Not a validator, or not at the height in question.
    NotValidator = 38, "not_validator";
    /// A validator would have less at stake than the chain asks for.
    StakeTooSmall = 39, "stake_too_small";
    /// More was asked back than is at stake.
    InsufficientStake = 40, "insufficient_stake";
    /// Nobody would be left to decide.
    LastValidator = 41, "last_validator";
    /// The validator signed two conflicting things and is out for good.
    ValidatorTombstoned = 42, "validator_tombstoned";
    /// The validator is jailed and its time is not over.
    ValidatorJailed = 43, "validator_jailed";
    /// The validator is not jailed.
    NotJailed = 44, "not_jailed";
    /// The evidence proves nothing; the message says why.
    BadEvidence = 45, "bad_evidence";
    /// The evidence is of a height that can no longer, or not yet, be punished.
    EvidenceExpired = 46, "evidence_expired";
}

impl fmt::Display for FailureCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl BorshSerialize for FailureCode {
    fn serialize<W: borsh::io::Write>(&self, writer: &mut W) -> borsh::io::Result<()> {
        self.number().serialize(writer)
    }
}

impl BorshDeserialize for FailureCode {
    fn deserialize_reader<R: borsh::io::Read>(reader: &mut R) -> borsh::io::Result<Self> {
        Self::from_number(u16::deserialize_reader(reader)?)
            .ok_or_else(|| borsh::io::Error::new(borsh::io::ErrorKind::InvalidData, "unknown failure code"))
    }
}

#[cfg(feature = "json")]
impl serde::Serialize for FailureCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(feature = "json")]
impl<'de> serde::Deserialize<'de> for FailureCode {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <alloc::string::String as serde::Deserialize>::deserialize(deserializer)?;
        Self::from_text(&text).ok_or_else(|| serde::de::Error::custom("unknown failure code"))
    }
}
