//! Forgets at every start what it signed; the plan crashes it often, and its start wipes its record.

use super::Behaviour;

pub(super) struct Amnesiac;

impl Behaviour for Amnesiac {}
