//! Keeps, for each epoch, the proof of who decides in it: newcomers need it long after the state is pruned.

use borsh::BorshDeserialize;
use purlin_primitives::{BlockHeader, ConsensusRules, Height, PosRules};
use purlin_state::{
    Column, KeyValueStore, MerkleTree, Order, StateKey, StatePrefix, StateProof, StateTree, StoreError,
    TreeVersion, Turnover, WriteBatch,
};

use crate::chain::Chain;
use crate::records;

/// Says whether a block is the first of an epoch that has one before it.
fn opens_epoch(rules: &PosRules, height: Height) -> bool {
    height > Height::new(1) && rules.epoch_blocks > 0 && (height.get() - 1).is_multiple_of(rules.epoch_blocks)
}

/// Adds the proof of who decides from `header`'s next block on, when it is the first block of an epoch, and the removal
/// of one that is of no use any more. `parent` is the stored tree of the state that the header has the root of. Costs
/// nothing for other blocks.
pub(crate) fn record<S: KeyValueStore>(
    batch: &mut WriteBatch,
    (store, tree): (&S, &MerkleTree<impl KeyValueStore>),
    rules: &ConsensusRules,
    header: &BlockHeader,
    parent: &TreeVersion,
) -> Result<(), StoreError> {
    let ConsensusRules::Pos(rules) = rules else { return Ok(()) };
    if !opens_epoch(rules, header.height) {
        return Ok(());
    }
    let first = [StatePrefix::ValidatorSet as u8];
    let from = header.height.next();
    let end = StateKey::validator_set(from.next());
    let newest = store.scan(Column::Values, &first, Some(&end), Order::Descending, 1)?.pop();
    // A chain whose executor has no staking.
    let Some((key, value)) = newest else { return Ok(()) };
    let wanted = StateKey::validator_set(from);
    let none_newer = if key == wanted { None } else { Some(tree.prove(parent, &wanted)?) };
    let path = tree.prove(parent, &key)?;
    let proof = StateProof { key, value: Some(value), path, header: header.clone(), certificate: None };
    let turnover = Turnover { proof, none_newer };
    batch.put(Column::Meta, records::turnover_key(header.height), records::encode(&turnover));
    // Whoever trusts something older needs a checkpoint anyway; two epochs more than that are kept.
    let kept = rules.unbonding_epochs.saturating_add(2).saturating_mul(rules.epoch_blocks);
    if let Some(old) = header.height.checked_sub(Height::new(kept)) {
        batch.delete(Column::Meta, records::turnover_key(old));
    }
    Ok(())
}

impl<S: KeyValueStore> Chain<S> {
    /// Returns the proofs of who decides, one for each epoch that begins above `after` and up to `to`, in ascending
    /// order; those of the unbonding period are kept.
    pub fn turnovers(&self, after: Height, to: Height) -> Result<Vec<Turnover>, StoreError> {
        let (from, to) = (records::turnover_key(after.next()), records::turnover_key(to.next()));
        let records = self.store.scan(Column::Meta, &from, Some(&to), Order::Ascending, usize::MAX)?;
        let read = |(key, bytes): (Vec<u8>, Vec<u8>)| {
            let mut turnover = Turnover::try_from_slice(&bytes)
                .map_err(|error| records::damaged(Column::Meta, &key, error.to_string()))?;
            if turnover.proof.certificate.is_none() {
                // It may have come after the block.
                turnover.proof.certificate = self.certificate(turnover.height())?;
            }
            Ok(turnover)
        };
        records.into_iter().map(read).collect()
    }
}
