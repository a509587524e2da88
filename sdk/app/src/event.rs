//! Events: what an application says happened.

use crate::schema::{Schema, TypeNode};
use crate::{encoding, host};

/// Something that an application says happened; it stands in the receipt when the call succeeds.
///
/// Derived on a struct: the topic is the struct's name in snake case, or `#[event(topic = "..")]`. The derive also
/// makes the borsh encoding and the [`Schema`]. Emitting needs the permission `events`.
pub trait Event: Schema {
    /// The event's kind, by which readers filter.
    const TOPIC: &'static str;
    /// What the event means, from its documentation.
    const DOC: &'static str;

    /// Puts the event into the receipt, unless the call fails later.
    fn emit(&self)
    where
        Self: Listed,
    {
        host::emit(Self::TOPIC, &encoding::to_bytes(self));
    }
}

/// An event that an application declares, so that its schema is complete; implemented by `#[app(events(..))]`.
#[diagnostic::on_unimplemented(
    message = "the event `{Self}` is not declared by the application",
    label = "not declared",
    note = "list it in the macro: `#[app(events({Self}))]`"
)]
pub trait Listed {}

/// Describes an event in the schema.
#[derive(Debug, Clone, Copy)]
pub struct EventNode {
    /// See [`Event::TOPIC`].
    pub topic: &'static str,
    /// See [`Event::DOC`].
    pub doc: &'static str,
    /// The event's fields.
    pub schema: &'static TypeNode,
}

impl EventNode {
    /// Describes an event type.
    pub const fn of<E: Event>() -> Self {
        Self { topic: E::TOPIC, doc: E::DOC, schema: E::TYPE }
    }
}
