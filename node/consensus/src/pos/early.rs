//! Keeps messages of the next heights until this node gets there, and of this height until it may sign.

use purlin_primitives::{Height, PublicKey};
use std::collections::BTreeMap;

use super::evidence::Signed;

/// How many heights ahead messages are kept. A node further behind catches up by certificates.
pub(super) const HEIGHTS_AHEAD_MAX: u64 = 2;
/// Most messages kept of one validator for one height: its proposal and votes of two rounds, and some to spare.
const MESSAGES_MAX: usize = 8;

/// Messages of validators for heights to come, their signatures checked.
#[derive(Debug, Default)]
pub(super) struct EarlyMessages {
    kept: BTreeMap<(Height, PublicKey), Vec<Signed>>,
}

impl EarlyMessages {
    /// Says whether this message would be kept at this height.
    pub(super) fn has_room(&self, current: Height, signed: &Signed) -> bool {
        let ahead = signed.height().get().saturating_sub(current.get());
        let kept = self.kept.get(&(signed.height(), *signed.public_key()));
        signed.height() >= current
            && ahead <= HEIGHTS_AHEAD_MAX
            && kept.is_none_or(|kept| kept.len() < MESSAGES_MAX && !kept.contains(signed))
    }

    /// Keeps a message of a validator whose signature is valid, when there is room.
    pub(super) fn keep(&mut self, signed: Signed) {
        self.kept.entry((signed.height(), *signed.public_key())).or_default().push(signed);
    }

    /// Returns how many are kept.
    pub(super) fn len(&self) -> usize {
        self.kept.values().map(Vec::len).sum()
    }

    /// Takes what was kept for a height and forgets what was kept for those before.
    pub(super) fn take(&mut self, height: Height) -> Vec<Signed> {
        let mut taken = Vec::new();
        while let Some(entry) = self.kept.first_entry().filter(|entry| entry.key().0 <= height) {
            let (key, messages) = entry.remove_entry();
            if key.0 == height {
                taken.extend(messages);
            }
        }
        taken
    }
}
