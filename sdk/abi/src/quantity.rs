//! Amounts, gas, heights and times as types of their own.

use alloc::string::String;
use borsh::{BorshDeserialize, BorshSerialize};
use core::fmt;
use core::str::FromStr;

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, BorshSerialize, BorshDeserialize)]
        pub struct $name($inner);

        impl $name {
            /// Zero.
            pub const ZERO: Self = Self(0);
            /// The largest value.
            pub const MAX: Self = Self(<$inner>::MAX);

            /// Wraps a number of this unit.
            pub const fn new(value: $inner) -> Self {
                Self(value)
            }

            /// Returns the number.
            pub const fn get(self) -> $inner {
                self.0
            }

            /// Adds; `None` on overflow.
            pub const fn checked_add(self, other: Self) -> Option<Self> {
                match self.0.checked_add(other.0) {
                    Some(value) => Some(Self(value)),
                    None => None,
                }
            }

            /// Subtracts; `None` below zero.
            pub const fn checked_sub(self, other: Self) -> Option<Self> {
                match self.0.checked_sub(other.0) {
                    Some(value) => Some(Self(value)),
                    None => None,
                }
            }

            /// Adds, stopping at the largest value.
            pub const fn saturating_add(self, other: Self) -> Self {
                Self(self.0.saturating_add(other.0))
            }

            /// Subtracts, stopping at zero.
            pub const fn saturating_sub(self, other: Self) -> Self {
                Self(self.0.saturating_sub(other.0))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

quantity!(
    /// Counts the chain's native unit; indivisible.
    Amount(u128)
);
quantity!(
    /// Counts execution work: one unit is one wasm instruction's fuel, other work is priced in it.
    Gas(u64)
);
quantity!(
    /// Numbers a block; genesis is 0.
    Height(u64)
);
quantity!(
    /// Counts milliseconds since 1970-01-01T00:00:00Z, as agreed by consensus.
    TimestampMs(u64)
);

impl Height {
    /// Returns the height after this one; saturates, which no chain reaches.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// Says why a text is not an amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an amount; expected a whole number from 0 to 2^128-1")]
pub struct ParseAmountError {
    /// What was read.
    pub text: String,
}

impl FromStr for Amount {
    type Err = ParseAmountError;

    /// Reads decimal digits; `_` may group them.
    fn from_str(text: &str) -> Result<Self, ParseAmountError> {
        let digits: String = text.chars().filter(|c| *c != '_').collect();
        let plain = !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit());
        match digits.parse() {
            Ok(value) if plain => Ok(Self(value)),
            _ => Err(ParseAmountError { text: text.into() }),
        }
    }
}

#[cfg(feature = "json")]
mod json {
    use super::{Amount, Gas, Height, TimestampMs};
    use core::fmt;
    use serde::de::{Error, Visitor};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    macro_rules! number_serde {
        ($name:ident) => {
            impl Serialize for $name {
                fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    Serialize::serialize(&self.0, serializer)
                }
            }

            impl<'de> Deserialize<'de> for $name {
                fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    <_ as Deserialize>::deserialize(deserializer).map(Self)
                }
            }
        };
    }
    number_serde!(Gas);
    number_serde!(Height);
    number_serde!(TimestampMs);

    impl Serialize for Amount {
        /// Writes a decimal string: JSON numbers lose digits above 2^53 in most languages.
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_str(self)
        }
    }

    impl<'de> Deserialize<'de> for Amount {
        /// Reads a decimal string, or a number small enough to be exact.
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct AmountVisitor;

            impl Visitor<'_> for AmountVisitor {
                type Value = Amount;

                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("a decimal string or a whole number")
                }

                fn visit_u64<E: Error>(self, value: u64) -> Result<Amount, E> {
                    Ok(Amount(u128::from(value)))
                }

                fn visit_str<E: Error>(self, text: &str) -> Result<Amount, E> {
                    text.parse().map_err(E::custom)
                }
            }

            deserializer.deserialize_any(AmountVisitor)
        }
    }
}
