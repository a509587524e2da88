//! What `#[app]` and `#[derive(State)]` implement.

use borsh::BorshSerialize;
use purlin_abi::AppId;

use crate::client::Transport;
use crate::error::{AppError, ErrorNode, NoError};
use crate::schema::{Schema, TypeNode};
use crate::{encoding, host};

/// An application: a state struct with methods under `#[app]`, which implements this.
pub trait App: State {
    /// Name of the struct: `Counter`.
    const NAME: &'static str;
    /// Folder of the crate, where `manifest.json` is.
    const MANIFEST_DIR: &'static str;
    /// The schema, as in the wasm's custom section; see `purlin_abi::schema`.
    const SCHEMA: &'static [u8];
    /// Arguments of the `#[init]` method as a tuple; `()` without one.
    type InitArguments: BorshSerialize;
    /// Arguments of the `#[migrate]` method after the old version, as a tuple; `()` without one.
    type MigrateArguments: BorshSerialize;
    /// The generated client.
    type Client<T: Transport>;

    /// Makes the generated client.
    fn client<T: Transport>(app: AppId, transport: T) -> Self::Client<T>;

    /// Runs an export (`increment`, `query_count`, `initialize`) against the host, as the wasm export does;
    /// `false` when there is none of that name.
    fn dispatch(export: &str) -> bool;
}

/// The state of an application: a struct of collections under `#[derive(State)]`. Field names are storage keys.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the state of an application",
    note = "write `#[derive(State)]` above the struct, and make its fields collections: `count: Item<u64>`"
)]
pub trait State: Sized + 'static {
    /// The documentation of the struct.
    const DOC: &'static str;
    /// Describes the fields, in order.
    const FIELDS: &'static [StateNode];

    /// Makes the handles; reads nothing.
    fn attach() -> Self;
}

/// Describes a state field in the schema.
#[derive(Debug, Clone, Copy)]
pub struct StateNode {
    /// The field's name, which is its key or key prefix.
    pub name: &'static str,
    /// Which collection: `item`, `map`, `set`, `vector`, `ordered_map`.
    pub kind: &'static str,
    /// Type of its keys, if it has keys.
    pub key: Option<&'static TypeNode>,
    /// Type of its values, if it has values.
    pub value: Option<&'static TypeNode>,
}

/// What a method may return: a value that has a [`Schema`], or a `Result` of one and an [`AppError`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be returned by a method",
    note = "return a type that has `#[derive(Schema)]`, or a `Result` of one and an error that has `#[derive(AppError)]`"
)]
pub trait MethodOutput {
    /// What the caller gets.
    type Value: Schema;
    /// What the caller gets instead.
    type Error: AppError;
    /// Describes the value.
    const RETURNS: &'static TypeNode = <Self::Value as Schema>::TYPE;
    /// Describes the errors.
    const ERRORS: &'static [ErrorNode] = <Self::Error as AppError>::ERRORS;

    /// Hands the result to the host; an error ends the call.
    fn finish(self);
}

impl<V: Schema> MethodOutput for V {
    type Value = V;
    type Error = NoError;

    fn finish(self) {
        host::output(&encoding::to_bytes(&self));
    }
}

impl<V: Schema, E: AppError> MethodOutput for Result<V, E> {
    type Value = V;
    type Error = E;

    fn finish(self) {
        match self {
            Ok(value) => host::output(&encoding::to_bytes(&value)),
            Err(error) => error.fail(),
        }
    }
}
