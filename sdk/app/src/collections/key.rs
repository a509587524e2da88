//! Keys as bytes that sort as the keys do.

use alloc::string::String;
use alloc::vec::Vec;
use purlin_abi::{AccountId, Amount, AppId, DeviceId, Gas, Hash32, Height, TimestampMs};

/// A key of an [`OrderedMap`](crate::OrderedMap): its bytes sort as its values do, and none is a prefix of another.
///
/// Unsigned integers are big-endian; signed ones too, with the sign bit flipped; texts end with two zero bytes, and
/// a zero byte inside is followed by 0xff; tuples are their parts one after the other.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the key of an `OrderedMap`",
    note = "integers, bool, String, byte arrays, ids, quantities and tuples of them can; for others, use `Map`"
)]
pub trait OrderedKey: Sized {
    /// Appends the key.
    fn encode(&self, bytes: &mut Vec<u8>);

    /// Reads a key from the front; `None` when malformed.
    fn decode(bytes: &mut &[u8]) -> Option<Self>;
}

macro_rules! integer_keys {
    ($($unsigned:ident $signed:ident)*) => {
        $(
            impl OrderedKey for $unsigned {
                fn encode(&self, bytes: &mut Vec<u8>) {
                    bytes.extend_from_slice(&self.to_be_bytes());
                }

                fn decode(bytes: &mut &[u8]) -> Option<Self> {
                    let (key, rest) = bytes.split_first_chunk()?;
                    *bytes = rest;
                    Some(Self::from_be_bytes(*key))
                }
            }

            impl OrderedKey for $signed {
                fn encode(&self, bytes: &mut Vec<u8>) {
                    (self.cast_unsigned() ^ (1 << ($signed::BITS - 1))).encode(bytes);
                }

                fn decode(bytes: &mut &[u8]) -> Option<Self> {
                    Some(($unsigned::decode(bytes)? ^ (1 << ($signed::BITS - 1))).cast_signed())
                }
            }
        )*
    };
}

integer_keys! { u8 i8 u16 i16 u32 i32 u64 i64 u128 i128 }

impl OrderedKey for bool {
    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.push(u8::from(*self));
    }

    fn decode(bytes: &mut &[u8]) -> Option<Self> {
        match u8::decode(bytes)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

impl<const N: usize> OrderedKey for [u8; N] {
    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(self);
    }

    fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let (key, rest) = bytes.split_first_chunk()?;
        *bytes = rest;
        Some(*key)
    }
}

fn encode_text(text: &str, bytes: &mut Vec<u8>) {
    for byte in text.bytes() {
        bytes.push(byte);
        if byte == 0 {
            bytes.push(0xff);
        }
    }
    bytes.extend_from_slice(&[0, 0]);
}

fn decode_text(bytes: &mut &[u8]) -> Option<String> {
    let mut text = Vec::new();
    loop {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        if *byte == 0 {
            let (mark, rest) = bytes.split_first()?;
            *bytes = rest;
            match mark {
                0 => return String::from_utf8(text).ok(),
                0xff => {}
                _ => return None,
            }
        }
        text.push(*byte);
    }
}

impl OrderedKey for String {
    fn encode(&self, bytes: &mut Vec<u8>) {
        encode_text(self, bytes);
    }

    fn decode(bytes: &mut &[u8]) -> Option<Self> {
        decode_text(bytes)
    }
}

macro_rules! name_keys {
    ($($name:ident)*) => {
        $(impl OrderedKey for $name {
            fn encode(&self, bytes: &mut Vec<u8>) {
                encode_text(self.as_str(), bytes);
            }

            fn decode(bytes: &mut &[u8]) -> Option<Self> {
                Self::new(decode_text(bytes)?).ok()
            }
        })*
    };
}

name_keys! { AppId DeviceId }

macro_rules! quantity_keys {
    ($($name:ident)*) => {
        $(impl OrderedKey for $name {
            fn encode(&self, bytes: &mut Vec<u8>) {
                self.get().encode(bytes);
            }

            fn decode(bytes: &mut &[u8]) -> Option<Self> {
                OrderedKey::decode(bytes).map(Self::new)
            }
        })*
    };
}

quantity_keys! { Amount Gas Height TimestampMs }

macro_rules! byte_keys {
    ($($name:ident)*) => {
        $(impl OrderedKey for $name {
            fn encode(&self, bytes: &mut Vec<u8>) {
                bytes.extend_from_slice(self.as_bytes());
            }

            fn decode(bytes: &mut &[u8]) -> Option<Self> {
                OrderedKey::decode(bytes).map(Self::new)
            }
        })*
    };
}

byte_keys! { AccountId Hash32 }

macro_rules! tuple_keys {
    ($(($($name:ident $index:tt)+))*) => {
        $(impl<$($name: OrderedKey),+> OrderedKey for ($($name,)+) {
            fn encode(&self, bytes: &mut Vec<u8>) {
                $(self.$index.encode(bytes);)+
            }

            fn decode(bytes: &mut &[u8]) -> Option<Self> {
                Some(($($name::decode(bytes)?,)+))
            }
        })*
    };
}

tuple_keys! { (A 0) (A 0 B 1) (A 0 B 1 C 2) (A 0 B 1 C 2 D 3) }
