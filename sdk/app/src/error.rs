//! Errors of applications.

use alloc::string::ToString;
use borsh::{BorshDeserialize, BorshSerialize};
use core::fmt;

use crate::{encoding, host};

/// An error that a method returns: it ends the call, undoes its writes, and its number, message and value stand in
/// the receipt.
///
/// Derived on an enum. Variants are numbered from 1 in order, or by `#[error(code = 7)]`. Messages are the variants'
/// doc comments, or `#[error("needs {needed}, has {balance}")]`. The derive also makes the borsh encoding.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the error of a method",
    label = "not an application error",
    note = "make it an enum with `#[derive(AppError)]`"
)]
pub trait AppError: BorshSerialize + BorshDeserialize + fmt::Display {
    /// All errors of the enum, in order.
    const ERRORS: &'static [ErrorNode];

    /// Returns the number of this error.
    fn code(&self) -> u32;

    /// Ends the call with this error, as returning it from the method does.
    fn fail(&self) -> ! {
        host::fail(self.code(), &self.to_string(), &encoding::to_bytes(self))
    }
}

/// Describes an error in the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorNode {
    /// The error's number.
    pub code: u32,
    /// The variant's name.
    pub name: &'static str,
    /// The variant's documentation, or its message.
    pub doc: &'static str,
}

/// The error of methods that return none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoError {}

impl fmt::Display for NoError {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

impl BorshSerialize for NoError {
    fn serialize<W: borsh::io::Write>(&self, _: &mut W) -> borsh::io::Result<()> {
        match *self {}
    }
}

impl BorshDeserialize for NoError {
    fn deserialize_reader<R: borsh::io::Read>(_: &mut R) -> borsh::io::Result<Self> {
        Err(borsh::io::Error::new(borsh::io::ErrorKind::InvalidData, "a method without errors gave one"))
    }
}

impl AppError for NoError {
    const ERRORS: &'static [ErrorNode] = &[];

    fn code(&self) -> u32 {
        match *self {}
    }
}
