//! What the macros' output uses. Not for people, and may change in any version.

pub use crate::schema::{Facts, MethodNode, ParameterNode, write_app};
pub use alloc::string::String;
pub use alloc::vec::Vec;
pub use borsh;

pub use crate::application::{App, MethodOutput, State, StateNode};
pub use crate::client::{CallError, Caller, Guest, Transport};
pub use crate::collections::Collection;
pub use crate::error::{AppError, ErrorNode};
pub use crate::event::{Event, EventNode, Listed};
pub use crate::schema::{FieldNode, Schema, TypeNode, VariantNode};
pub use purlin_abi::{Amount, AppId, Gas};

use crate::host;

/// Runs at the start of every wasm export.
#[cfg(target_arch = "wasm32")]
pub fn start() {
    crate::runtime::start();
}

/// The arguments of the running call, read one after the other.
pub struct Arguments {
    method: &'static str,
    bytes: Vec<u8>,
    read: usize,
}

impl Arguments {
    /// Takes the input of the running call.
    pub fn of(method: &'static str) -> Self {
        Self { method, bytes: host::input(), read: 0 }
    }

    /// Reads the next one; aborts the call when it is malformed.
    pub fn next<T: Schema>(&mut self, name: &str) -> T {
        let mut rest = &self.bytes[self.read..];
        match T::deserialize(&mut rest) {
            Ok(value) => {
                self.read = self.bytes.len() - rest.len();
                value
            }
            Err(_) => self.refuse("argument `", name, "` is missing or malformed"),
        }
    }

    /// Aborts the call when something is left.
    pub fn end(self) {
        if self.read != self.bytes.len() {
            self.refuse("there are more arguments than parameters", "", "")
        }
    }

    fn refuse(&self, before: &str, name: &str, after: &str) -> ! {
        host::abort(&[self.method, ": ", before, name, after].concat())
    }
}

/// Aborts the call when native amount came with it.
pub fn refuse_deposit(method: &str) {
    if host::deposit() != Amount::ZERO {
        host::abort(&[method, " takes no deposit; mark the method `payable` to accept one"].concat())
    }
}

/// Appends an argument of a client's call.
pub fn push<T: Schema>(arguments: &mut Vec<u8>, value: &T) {
    crate::encoding::append(arguments, value);
}
