//! Whether peers may be believed: weak subjectivity, and the operator's checkpoint.

use purlin_primitives::Certificate;
use purlin_state::KeyValueStore;
use purlin_sync::{Checkpoint, TrustProblem, check_age};

use super::Exchange;

impl<S: KeyValueStore> Exchange<S> {
    /// Sees whether what this node trusts is young enough to follow peers to where they are.
    pub(super) fn check_trust(&mut self) {
        let head = self.core.head.read().height;
        let trusted = self.core.trusted.map_or(head, |checkpoint| checkpoint.height.max(head));
        let rules = &self.core.chain.parameters().consensus;
        let believed = self.blocks.believed_height();
        let age = believed.map_or(Ok(()), |height| check_age(rules, trusted, height));
        let gone = self.blocks.oldest_offered();
        let gone = gone.map(|oldest| TrustProblem::HistoryGone { wanted: head.next(), oldest });
        let age = gone.map_or(age, Err);
        let mut problem = self.core.sync_problem.lock();
        if let Some(TrustProblem::Contradiction { .. }) = &*problem {
            return;
        }
        if problem.is_none()
            && let Err(found) = &age
        {
            tracing::warn!(problem = %found, "blocks of peers are not taken");
        }
        *problem = age.err();
    }

    /// Says whether a block must not be taken because it is not the one of the checkpoint. That is a problem of the
    /// whole chain only when the block is certified; the engine sees to whoever forged it.
    pub(super) fn contradicts(&self, certificate: &Certificate) -> bool {
        let Some(Checkpoint { block: checkpoint, height: at }) = self.core.trusted else { return false };
        let (height, found) = (certificate.height, certificate.block);
        if height != at || found == checkpoint {
            return false;
        }
        if height > self.core.chain.head().height.next() {
            // Who decides there is not known yet.
            return true;
        }
        let chain_id = &self.core.chain.genesis().chain_id;
        let validators = self.core.validators(height);
        if !validators.is_ok_and(|validators| certificate.verify(chain_id, &validators).is_ok()) {
            return false;
        }
        let problem = TrustProblem::Contradiction { height, checkpoint, found };
        let mut noted = self.core.sync_problem.lock();
        if noted.as_ref() != Some(&problem) {
            tracing::warn!(%problem, "blocks of peers are not taken");
        }
        *noted = Some(problem);
        true
    }
}
