//! Request ids, so that every answer finds who asked.

use crate::network::RequestId;

/// Which state machine asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Planner {
    /// [`BlockSync`](crate::BlockSync).
    Blocks,
    /// [`Assemblies`](crate::Assemblies).
    Assemblies,
    /// [`TransactionRelay`](crate::TransactionRelay).
    Transactions,
    /// [`SnapshotSync`](crate::SnapshotSync).
    Snapshots,
    /// Whoever drives them, with ids of its own.
    Driver,
}

impl Planner {
    const ALL: [Self; 5] =
        [Self::Driver, Self::Blocks, Self::Assemblies, Self::Transactions, Self::Snapshots];

    /// Returns who asked; the answer goes to it.
    pub fn of(id: RequestId) -> Self {
        let tag = (id.0 >> RequestIds::TAG_SHIFT) as usize;
        Self::ALL.get(tag).copied().unwrap_or(Self::Driver)
    }
}

/// Gives ids that no other planner gives.
#[derive(Debug, Clone)]
pub struct RequestIds {
    next: u64,
}

impl RequestIds {
    const TAG_SHIFT: u32 = 56;

    /// Starts for a planner. One object per planner and process.
    pub fn new(planner: Planner) -> Self {
        let tag = Planner::ALL.iter().position(|one| *one == planner).unwrap_or(0) as u64;
        Self { next: tag << Self::TAG_SHIFT }
    }

    /// Returns the next.
    pub fn give(&mut self) -> RequestId {
        let id = RequestId(self.next);
        self.next += 1;
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_name_their_planner() {
        for planner in Planner::ALL {
            let mut ids = RequestIds::new(planner);
            let (first, second) = (ids.give(), ids.give());
            assert_ne!(first, second);
            assert_eq!((Planner::of(first), Planner::of(second)), (planner, planner));
        }
    }
}
