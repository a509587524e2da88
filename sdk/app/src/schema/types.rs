//! Descriptions of the types that everybody has.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use purlin_abi::{
    AccountId, Amount, AppId, DeviceId, DeviceKey, DeviceRecord, DeviceStatus, Gas, Hash32, Height,
    KeyAlgorithm, TimestampMs,
};

use super::{FieldNode, Known, Schema, TypeNode, VariantNode};

macro_rules! describe {
    ($($type:ty => $node:expr;)*) => {
        $(impl Schema for $type {
            const TYPE: &'static TypeNode = &$node;
        })*
    };
}

describe! {
    () => TypeNode::Unit;
    bool => TypeNode::Bool;
    u8 => TypeNode::Unsigned(8);
    u16 => TypeNode::Unsigned(16);
    u32 => TypeNode::Unsigned(32);
    u64 => TypeNode::Unsigned(64);
    u128 => TypeNode::Unsigned(128);
    i8 => TypeNode::Signed(8);
    i16 => TypeNode::Signed(16);
    i32 => TypeNode::Signed(32);
    i64 => TypeNode::Signed(64);
    i128 => TypeNode::Signed(128);
    String => TypeNode::String;
    AccountId => TypeNode::Known(Known::Account);
    AppId => TypeNode::Known(Known::AppId);
    DeviceId => TypeNode::Known(Known::DeviceId);
    Hash32 => TypeNode::Known(Known::Hash);
    Amount => TypeNode::Known(Known::Amount);
    Height => TypeNode::Known(Known::Height);
    Gas => TypeNode::Known(Known::Gas);
    TimestampMs => TypeNode::Known(Known::Timestamp);
    KeyAlgorithm => TypeNode::Enum {
        name: "KeyAlgorithm",
        doc: "Signature scheme of a device key.",
        variants: &[unit("Ed25519"), unit("P256"), unit("Secp256k1")],
    };
    DeviceKey => TypeNode::Struct {
        name: "DeviceKey",
        doc: "A device's public key.",
        fields: &[field("algorithm", KeyAlgorithm::TYPE), field("bytes", <Vec<u8>>::TYPE)],
    };
    DeviceStatus => TypeNode::Enum {
        name: "DeviceStatus",
        doc: "Whether a device may speak.",
        variants: &[unit("Active"), unit("Revoked")],
    };
    DeviceRecord => TypeNode::Struct {
        name: "DeviceRecord",
        doc: "What the registry knows of a device.",
        fields: &[
            field("id", DeviceId::TYPE),
            field("owner", AccountId::TYPE),
            field("name", String::TYPE),
            field("kind", String::TYPE),
            field("capabilities", <Vec<String>>::TYPE),
            field("area", String::TYPE),
            field("tags", <Vec<String>>::TYPE),
            field("key", DeviceKey::TYPE),
            field("status", DeviceStatus::TYPE),
            field("registered_at", Height::TYPE),
            field("updated_at", Height::TYPE),
        ],
    };
}

const fn unit(name: &'static str) -> VariantNode {
    VariantNode { name, doc: "", fields: None }
}

const fn field(name: &'static str, schema: &'static TypeNode) -> FieldNode {
    FieldNode { name, doc: "", schema }
}

impl<T: Schema> Schema for Option<T> {
    const TYPE: &'static TypeNode = &TypeNode::Option(T::TYPE);
}

impl<T: Schema> Schema for Vec<T> {
    const TYPE: &'static TypeNode = &match T::TYPE {
        TypeNode::Unsigned(8) => TypeNode::Bytes,
        items => TypeNode::Vec(items),
    };
}

impl<T: Schema + Ord> Schema for BTreeSet<T> {
    const TYPE: &'static TypeNode = &TypeNode::Vec(T::TYPE);
}

impl<T: Schema, const N: usize> Schema for [T; N] {
    const TYPE: &'static TypeNode = &match T::TYPE {
        TypeNode::Unsigned(8) => TypeNode::FixedBytes(N),
        items => TypeNode::Array(N, items),
    };
}

impl<K: Schema + Ord, V: Schema> Schema for BTreeMap<K, V> {
    const TYPE: &'static TypeNode = &TypeNode::Map(K::TYPE, V::TYPE);
}

macro_rules! describe_tuples {
    ($(($($name:ident)+))*) => {
        $(impl<$($name: Schema),+> Schema for ($($name,)+) {
            const TYPE: &'static TypeNode = &TypeNode::Tuple(&[$($name::TYPE),+]);
        })*
    };
}

describe_tuples! { (A) (A B) (A B C) (A B C D) (A B C D E) (A B C D E F) (A B C D E F G) (A B C D E F G H) }
