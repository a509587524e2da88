//! Describes types to the outside, in constants, so that the schema can be written at compile time.

mod json;
mod types;

use borsh::{BorshDeserialize, BorshSerialize};

pub use json::{Facts, MethodNode, ParameterNode, write_app};

/// A type that can be stored, passed and returned, and that tools can read and write from its description.
///
/// Derived on structs and enums; the derive also makes the borsh encoding. Fields must have schemas themselves.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no schema",
    label = "cannot be stored, passed or returned",
    note = "write `#[derive(Schema)]` above your own types; of other types, integers, bool, String, Option, Vec, arrays, BTreeMap, tuples and the ids and quantities of `purlin_sdk::prelude` have one"
)]
pub trait Schema: BorshSerialize + BorshDeserialize {
    /// The description.
    const TYPE: &'static TypeNode;
}

/// Describes a type; the names in `purlin_abi::schema` are the same.
#[derive(Debug, Clone, Copy)]
pub enum TypeNode {
    /// `()`.
    Unit,
    /// `bool`.
    Bool,
    /// Unsigned integer of so many bits: 8, 16, 32, 64 or 128.
    Unsigned(u32),
    /// Signed integer of so many bits.
    Signed(u32),
    /// `String`.
    String,
    /// `Vec<u8>`.
    Bytes,
    /// `[u8; N]`.
    FixedBytes(usize),
    /// A type of `purlin-abi` with a text or number form of its own.
    Known(Known),
    /// `Option<T>`.
    Option(&'static TypeNode),
    /// `Vec<T>`.
    Vec(&'static TypeNode),
    /// `[T; N]`.
    Array(usize, &'static TypeNode),
    /// `BTreeMap<K, V>`.
    Map(&'static TypeNode, &'static TypeNode),
    /// `(A, B, ..)`.
    Tuple(&'static [&'static TypeNode]),
    /// A struct with named fields.
    Struct {
        /// Its name.
        name: &'static str,
        /// Its documentation.
        doc: &'static str,
        /// Its fields, in order.
        fields: &'static [FieldNode],
    },
    /// An enum.
    Enum {
        /// Its name.
        name: &'static str,
        /// Its documentation.
        doc: &'static str,
        /// Its variants, in order.
        variants: &'static [VariantNode],
    },
}

/// Types of `purlin-abi` that tools show in their own way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// [`AccountId`](purlin_abi::AccountId).
    Account,
    /// [`AppId`](purlin_abi::AppId).
    AppId,
    /// [`DeviceId`](purlin_abi::DeviceId).
    DeviceId,
    /// [`Hash32`](purlin_abi::Hash32).
    Hash,
    /// [`Amount`](purlin_abi::Amount).
    Amount,
    /// [`Height`](purlin_abi::Height).
    Height,
    /// [`Gas`](purlin_abi::Gas).
    Gas,
    /// [`TimestampMs`](purlin_abi::TimestampMs).
    Timestamp,
}

/// Describes a field of a struct.
#[derive(Debug, Clone, Copy)]
pub struct FieldNode {
    /// Its name.
    pub name: &'static str,
    /// Its documentation.
    pub doc: &'static str,
    /// Its type.
    pub schema: &'static TypeNode,
}

/// Describes a variant of an enum.
#[derive(Debug, Clone, Copy)]
pub struct VariantNode {
    /// Its name.
    pub name: &'static str,
    /// Its documentation.
    pub doc: &'static str,
    /// What it holds: a struct for named fields, the type itself for one unnamed field, a tuple for more.
    pub fields: Option<&'static TypeNode>,
}
