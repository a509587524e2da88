//! Headers of the chain and of its branches.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use purlin_primitives::{BlockHeader, BlockId, ChainId, Height, PowRules, Seal, TimestampMs};

use super::asert::Schedule;
use super::hash::{PowHash, meets_own_target};
use super::target::{CompactTargetError, Target, Work};
use super::times::{MEDIAN_TIME_BLOCKS, median_time_past};

/// Most headers that are not of the chain: side branches, and what is ahead of the head. When it is reached, the
/// branch with the least work loses its last header.
pub const HEADERS_MAX: usize = 8_192;

/// How far above the head headers are taken. Peers are asked again for those after it. Well below
/// [`HEADERS_MAX`], so that the chain being fetched never pushes itself out.
pub const HEADERS_AHEAD_MAX: u64 = 2_048;

/// Most ids of invalid blocks that are remembered, so that their descendants are refused unseen.
const INVALID_MAX: usize = 1_024;

/// What is known of the block behind a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// Nothing was asked.
    Unknown,
    /// The driver was asked to fetch, check and execute it.
    Asked,
    /// It is right, and the driver holds it.
    Valid,
    /// Nobody had it; asked again after this time.
    Missing {
        /// When.
        until: TimestampMs,
    },
}

/// Who sent a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Who, as the network names it.
    pub peer: Vec<u8>,
    /// Whether it answers for the header: it gave it as one of its chain. What is announced passes through many
    /// honest nodes, which cannot all know the header's ancestors.
    pub answers: bool,
}

/// A header that was checked, with what follows from its place.
#[derive(Debug, Clone)]
pub struct HeaderEntry {
    /// Its id.
    pub id: BlockId,
    /// The header before; for height 1 the genesis.
    pub parent: BlockId,
    /// Its height.
    pub height: Height,
    /// Its time.
    pub time: TimestampMs,
    /// Work of all headers up to it, from the lowest in the tree on.
    pub work: Work,
    /// What is known of its block.
    pub body: Body,
    /// Who sent it; `None` when it came from here.
    pub from: Option<Source>,
    /// `None` for the genesis.
    pub header: Option<Box<BlockHeader>>,
    /// Time of block 1 of its branch, which anchors the difficulty; of the genesis, nothing that counts.
    first_time: TimestampMs,
    /// Counts up with every header: who was first.
    sequence: u64,
}

/// Says why a header is not in the tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderFault {
    /// Of another chain.
    #[error("the header is of another chain")]
    Chain,
    /// Not for this engine.
    #[error("the header has no proof of work")]
    Seal,
    /// The compact target means nothing.
    #[error(transparent)]
    CompactTarget(#[from] CompactTargetError),
    /// Not as hard as the chain demands there.
    #[error("the header's target is {found:#010x}; there it must be {expected:#010x}")]
    Target {
        /// In the header.
        found: u32,
        /// What the schedule gives.
        expected: u32,
    },
    /// Easier than any target of this chain.
    #[error("the header's target {0:#010x} is easier than the easiest of the chain")]
    TooEasy(u32),
    /// Its hash is too large.
    #[error("the header's hash does not meet its target")]
    Work,
    /// Not one more than its parent.
    #[error("the header has height {found}; its parent has {parent}")]
    Height {
        /// In the header.
        found: Height,
        /// Of the parent.
        parent: Height,
    },
    /// Too early for its place.
    #[error("the header's time {found} is not after {after}, which its ancestors demand")]
    Time {
        /// In the header.
        found: TimestampMs,
        /// The later of its parent's time and the median of the last eleven.
        after: TimestampMs,
    },
    /// Descends from a block that breaks a rule.
    #[error("the header is, or descends from, an invalid block")]
    Invalid,
}

/// What became of a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inserted {
    /// It is in the tree now.
    New,
    /// It was there.
    Known,
    /// Its parent is not there; its own target and work are right as far as can be told.
    Orphan,
    /// It leaves the chain below the window, where it is final.
    Final,
    /// It is from the future: right perhaps, but later.
    Early,
    /// It is too far above the head to be kept now.
    Ahead,
    /// It breaks a rule; who has it in its chain knew or should have known.
    Refused(HeaderFault),
}

/// What of the genesis counts for headers.
#[derive(Debug, Clone)]
pub struct HeaderRules {
    /// Which chain.
    pub chain_id: ChainId,
    /// Parent of block 1.
    pub genesis: BlockId,
    /// No block is before it.
    pub genesis_time: TimestampMs,
    /// Difficulty and times.
    pub rules: PowRules,
    /// Blocks that can be taken back: the undo window.
    pub window_blocks: u64,
}

/// The end of a stored chain.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Headers in ascending order up to the head: those of the window and of the [`MEDIAN_TIME_BLOCKS`] heights
    /// below it, or all from height 1 on where there are fewer.
    pub headers: Vec<BlockHeader>,
    /// Time of block 1; needed when it is not among the headers.
    pub first_time: Option<TimestampMs>,
    /// Lowest height to which the chain can go back; it can be above the window's start after the chain went
    /// over to a branch that is shorter, and heavier.
    pub oldest_state: Height,
}

/// Headers of the last blocks of the chain, of branches that leave it within the window, and of what comes next.
///
/// The chain's own part is as long as the window and the eleven blocks below it; the rest is bounded by
/// [`HEADERS_MAX`].
pub struct HeaderTree {
    rules: HeaderRules,
    schedule: Schedule,
    entries: BTreeMap<BlockId, HeaderEntry>,
    /// Parent and child.
    children: BTreeSet<(BlockId, BlockId)>,
    /// Everything that is not of the chain, by work; of equal work the one that came first is last.
    by_work: BTreeSet<(Work, Reverse<u64>, BlockId)>,
    /// The chain.
    active: BTreeMap<Height, BlockId>,
    head: BlockId,
    /// Everything at and below this height is final.
    final_height: Height,
    invalid: VecDeque<BlockId>,
    sequence: u64,
}

/// Says why a tree cannot start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// The rules' first target means nothing.
    #[error("the genesis names a first target that means nothing: {0}")]
    Target(#[from] CompactTargetError),
    /// The headers do not follow each other from the genesis or from a known first block on.
    #[error("the stored headers do not follow each other at height {height}")]
    Broken {
        /// Where.
        height: Height,
    },
    /// The time of block 1 is needed and not given.
    #[error("the history begins at height {height} and does not say when block 1 was")]
    NoFirstTime {
        /// Where it begins.
        height: Height,
    },
}

impl HeaderTree {
    /// Starts with the chain as it is stored.
    pub fn new(rules: HeaderRules, history: History) -> Result<Self, HistoryError> {
        let History { headers: history, first_time, oldest_state } = history;
        let schedule = Schedule::of(&rules.rules)?;
        let mut history = history.into_iter();
        let base = match history.as_slice().first() {
            Some(header) if header.height.get() > 1 => {
                let height = header.height;
                let first_time = first_time.ok_or(HistoryError::NoFirstTime { height })?;
                let header = history.next().map(Box::new);
                HeaderEntry {
                    id: header.as_ref().map(|header| header.id()).unwrap_or_default(),
                    parent: header.as_ref().map(|header| header.parent).unwrap_or_default(),
                    height,
                    time: header.as_ref().map(|header| header.time).unwrap_or_default(),
                    first_time,
                    ..Self::genesis_entry(&rules)
                }
                .with_header(header)
            }
            _ => Self::genesis_entry(&rules),
        };
        let head = base.id;
        let final_height = base.height;
        let mut tree = Self {
            rules,
            schedule,
            entries: BTreeMap::from([(head, base.clone())]),
            children: BTreeSet::new(),
            by_work: BTreeSet::new(),
            active: BTreeMap::from([(base.height, head)]),
            head,
            final_height,
            invalid: VecDeque::new(),
            sequence: 0,
        };
        for header in history {
            let (id, height, parent) = (header.id(), header.height, header.parent);
            let before = tree.head_entry();
            if parent != before.id || height != before.height.next() {
                return Err(HistoryError::Broken { height });
            }
            let Seal::Pow { target, .. } = header.seal else { return Err(HistoryError::Broken { height }) };
            let target = Target::from_compact(target)?;
            tree.add(id, header, target, None, Body::Valid);
            tree.set_head(id);
        }
        tree.final_height = tree.final_height.max(oldest_state);
        Ok(tree)
    }

    fn genesis_entry(rules: &HeaderRules) -> HeaderEntry {
        HeaderEntry {
            id: rules.genesis,
            parent: BlockId::ZERO,
            height: Height::ZERO,
            time: rules.genesis_time,
            work: Work::ZERO,
            body: Body::Valid,
            from: None,
            header: None,
            first_time: rules.genesis_time,
            sequence: 0,
        }
    }

    /// Returns what of the genesis counts.
    pub fn rules(&self) -> &HeaderRules {
        &self.rules
    }

    /// Returns an entry.
    pub fn get(&self, id: &BlockId) -> Option<&HeaderEntry> {
        self.entries.get(id)
    }

    /// Returns the chain's last entry.
    pub fn head_entry(&self) -> &HeaderEntry {
        self.entries.get(&self.head).expect("the head is never removed")
    }

    /// Returns the height up to which the chain is final.
    pub fn final_height(&self) -> Height {
        self.final_height
    }

    /// Returns how many headers are not of the chain.
    pub fn side_headers(&self) -> usize {
        self.by_work.len()
    }

    /// Says whether an entry is of the chain.
    pub fn is_active(&self, entry: &HeaderEntry) -> bool {
        self.active.get(&entry.height) == Some(&entry.id)
    }

    /// Returns the target that a block after `parent` must name, in compact form.
    pub fn next_target(&self, parent: &HeaderEntry) -> u32 {
        self.schedule.target_on(parent.height, parent.time, parent.first_time).to_compact()
    }

    /// Returns what the time of a block after `parent` must be after: the parent's time, and the median of the
    /// last eleven. The first implies the second while every block obeys it; the second is checked for itself,
    /// because it is the rule that a chain with other stores would be left with.
    pub fn time_bound(&self, parent: &HeaderEntry) -> TimestampMs {
        let mut times = Vec::with_capacity(MEDIAN_TIME_BLOCKS);
        let mut entry = Some(parent);
        while let Some(one) = entry {
            if times.len() == MEDIAN_TIME_BLOCKS {
                break;
            }
            times.push(one.time);
            entry = self.entries.get(&one.parent);
        }
        median_time_past(&times).unwrap_or(parent.time).max(parent.time)
    }

    /// Checks a header and takes it in. `body` is what is known of its block.
    pub fn insert(
        &mut self,
        hash: &dyn PowHash,
        header: &BlockHeader,
        now: TimestampMs,
        from: Option<&Source>,
        body: Body,
    ) -> Inserted {
        let id = header.id();
        match self.check(hash, header, id, now) {
            Err(fault) => Inserted::Refused(fault),
            Ok((Inserted::New, target)) => {
                if !self.make_room(&header.parent) {
                    return Inserted::Ahead;
                }
                self.add(id, header.clone(), target, from, body);
                Inserted::New
            }
            Ok((other, _)) => other,
        }
    }

    fn check(
        &self,
        hash: &dyn PowHash,
        header: &BlockHeader,
        id: BlockId,
        now: TimestampMs,
    ) -> Result<(Inserted, Target), HeaderFault> {
        if header.chain_id != self.rules.chain_id {
            return Err(HeaderFault::Chain);
        }
        let Seal::Pow { target: bits, .. } = header.seal else { return Err(HeaderFault::Seal) };
        let target = Target::from_compact(bits)?;
        if self.entries.contains_key(&id) {
            return Ok((Inserted::Known, target));
        }
        if self.invalid.contains(&id) || self.invalid.contains(&header.parent) {
            return Err(HeaderFault::Invalid);
        }
        if target > self.schedule.limit {
            return Err(HeaderFault::TooEasy(bits));
        }
        // Before anything is kept or asked for: every header costs whoever made it some work.
        if !meets_own_target(hash, header) {
            return Err(HeaderFault::Work);
        }
        let Some(parent) = self.entries.get(&header.parent) else {
            let unknown =
                if header.height <= self.final_height.next() { Inserted::Final } else { Inserted::Orphan };
            return Ok((unknown, target));
        };
        if header.height != parent.height.next() {
            return Err(HeaderFault::Height { found: header.height, parent: parent.height });
        }
        let expected = self.next_target(parent);
        if bits != expected {
            return Err(HeaderFault::Target { found: bits, expected });
        }
        let after = self.time_bound(parent);
        if header.time <= after {
            return Err(HeaderFault::Time { found: header.time, after });
        }
        if parent.height < self.final_height {
            return Ok((Inserted::Final, target));
        }
        if header.time.get() > now.get().saturating_add(self.rules.rules.future_ms_max) {
            return Ok((Inserted::Early, target));
        }
        if header.height.get() > self.head_entry().height.get().saturating_add(HEADERS_AHEAD_MAX) {
            return Ok((Inserted::Ahead, target));
        }
        Ok((Inserted::New, target))
    }

    fn add(&mut self, id: BlockId, header: BlockHeader, target: Target, from: Option<&Source>, body: Body) {
        let parent = self.entries.get(&header.parent).expect("the caller has found the parent");
        self.sequence += 1;
        let first_time = if parent.height == Height::ZERO { header.time } else { parent.first_time };
        let entry = HeaderEntry {
            id,
            parent: header.parent,
            height: header.height,
            time: header.time,
            work: parent.work.plus(target.work()),
            body,
            from: from.cloned(),
            first_time,
            sequence: self.sequence,
            header: Some(Box::new(header)),
        };
        self.children.insert((entry.parent, id));
        self.by_work.insert(work_key(&entry));
        self.entries.insert(id, entry);
    }

    /// Removes the leaf with the least work when there is no room for one more; says whether there is room now.
    /// Neither the parent of the new one nor a block that the driver holds has to go.
    fn make_room(&mut self, parent: &BlockId) -> bool {
        if self.by_work.len() < HEADERS_MAX {
            return true;
        }
        let may_go = |id: &BlockId| {
            id != parent
                && self.children_of(id).next().is_none()
                && self.entries.get(id).is_some_and(|entry| entry.body != Body::Valid)
        };
        let leaf = self.by_work.iter().map(|(_, _, id)| *id).find(may_go);
        leaf.is_some_and(|leaf| !self.remove_branch(leaf).is_empty())
    }

    fn children_of(&self, id: &BlockId) -> impl Iterator<Item = BlockId> {
        let range = (*id, BlockId::ZERO)..=(*id, BlockId::new(purlin_primitives::Hash32::new([0xff; 32])));
        self.children.range(range).map(|(_, child)| *child)
    }

    /// Removes a header that is not of the chain, and everything above it; returns what was removed.
    fn remove_branch(&mut self, root: BlockId) -> Vec<HeaderEntry> {
        let mut removed = Vec::new();
        let mut waiting = vec![root];
        while let Some(id) = waiting.pop() {
            waiting.extend(self.children_of(&id));
            if let Some(entry) = self.entries.remove(&id) {
                self.children.remove(&(entry.parent, id));
                self.by_work.remove(&work_key(&entry));
                removed.push(entry);
            }
        }
        removed
    }

    /// Sets what is known of a block.
    pub fn set_body(&mut self, id: &BlockId, body: Body) {
        if let Some(entry) = self.entries.get_mut(id) {
            entry.body = body;
        }
    }

    /// Notes who answers for a header, when nobody does yet.
    pub fn answered_by(&mut self, id: &BlockId, from: &Source) {
        if let Some(entry) = self.entries.get_mut(id)
            && let Some(before) = &mut entry.from
            && !before.answers
        {
            *before = from.clone();
        }
    }

    /// Takes back that the blocks above one were asked for: they cannot be executed before it.
    pub fn unask_above(&mut self, id: &BlockId) {
        let mut waiting = vec![*id];
        while let Some(id) = waiting.pop() {
            for child in self.children_of(&id).collect::<Vec<_>>() {
                waiting.push(child);
                if self.get(&child).is_some_and(|entry| entry.body == Body::Asked) {
                    self.set_body(&child, Body::Unknown);
                }
            }
        }
    }

    /// Remembers that a block breaks a rule; it and what descends from it are gone. A block of the chain cannot.
    pub fn invalidate(&mut self, id: &BlockId) -> Vec<HeaderEntry> {
        if self.entries.get(id).is_none_or(|entry| self.is_active(entry)) {
            return Vec::new();
        }
        let removed = self.remove_branch(*id);
        // The parent is enough to refuse a descendant, so the block itself is remembered longest: it goes in last.
        for entry in removed.iter().rev() {
            if self.invalid.len() == INVALID_MAX {
                self.invalid.pop_front();
            }
            self.invalid.push_back(entry.id);
        }
        removed
    }

    /// Leaves a block of a branch and all above it alone for as long as the tree lives, without saying that they are
    /// invalid; returns those that the driver held. A block of the chain cannot be left.
    pub fn leave(&mut self, id: &BlockId) -> Vec<BlockId> {
        if self.entries.get(id).is_none_or(|entry| self.is_active(entry)) {
            return Vec::new();
        }
        let mut held = Vec::new();
        let mut waiting = vec![*id];
        while let Some(id) = waiting.pop() {
            waiting.extend(self.children_of(&id));
            if let Some(entry) = self.entries.get_mut(&id) {
                if entry.body == Body::Valid {
                    held.push(id);
                }
                entry.body = Body::Unknown;
            }
        }
        self.set_body(id, Body::Missing { until: TimestampMs::new(u64::MAX) });
        held
    }

    /// Returns the entry with the most work above the head's whose branch has no block that is missing; the one
    /// that came first when several are equal.
    pub fn best(&self) -> Option<&HeaderEntry> {
        let head = self.head_entry().work;
        let heavier = self.by_work.iter().rev().take_while(|(work, _, _)| *work > head);
        let mut entries = heavier.filter_map(|(_, _, id)| self.entries.get(id));
        // Each entry is looked at once, however many lie above one that is missing.
        let mut above_missing = BTreeSet::new();
        let mut free = BTreeSet::new();
        entries.find(|tip| {
            let mut walked = Vec::new();
            let mut entry = *tip;
            let blocked = loop {
                if matches!(entry.body, Body::Missing { .. }) || above_missing.contains(&entry.id) {
                    break true;
                }
                if self.is_active(entry) || free.contains(&entry.id) {
                    break false;
                }
                walked.push(entry.id);
                entry = self.parent_of(entry);
            };
            if blocked {
                above_missing.extend(walked)
            } else {
                free.extend(walked)
            }
            !blocked
        })
    }

    /// Returns the entry with the most work above the head's whose block was found valid. Blocks are found valid in
    /// the order of their branch, so all below it are, too.
    pub fn best_valid(&self) -> Option<&HeaderEntry> {
        let head = self.head_entry().work;
        let heavier = self.by_work.iter().rev().take_while(|(work, _, _)| *work > head);
        heavier.filter_map(|(_, _, id)| self.entries.get(id)).find(|entry| entry.body == Body::Valid)
    }

    fn parent_of(&self, entry: &HeaderEntry) -> &HeaderEntry {
        self.entries.get(&entry.parent).expect("every branch leaves the chain within the tree")
    }

    /// Returns where a branch leaves the chain, and its entries, lowest first.
    pub fn branch<'a>(&'a self, tip: &'a HeaderEntry) -> (Height, Vec<&'a HeaderEntry>) {
        let mut branch = Vec::new();
        let mut entry = tip;
        while !self.is_active(entry) {
            branch.push(entry);
            entry = self.parent_of(entry);
        }
        branch.reverse();
        (entry.height, branch)
    }

    /// Makes an entry the end of the chain. Blocks of the branch that is left are unknown from now on: nobody
    /// holds them. Returns entries that left the tree because they forked off where it is final now.
    pub fn set_head(&mut self, id: BlockId) -> Vec<HeaderEntry> {
        let Some(tip) = self.entries.get(&id) else { return Vec::new() };
        let (ancestor, branch) = self.branch(tip);
        let branch: Vec<BlockId> = branch.iter().map(|entry| entry.id).collect();
        let left: Vec<BlockId> = self.active.split_off(&ancestor.next()).into_values().collect();
        for id in left {
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.body = Body::Unknown;
                self.by_work.insert(work_key(entry));
            }
        }
        for id in branch {
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.body = Body::Valid;
                self.by_work.remove(&work_key(entry));
                self.active.insert(entry.height, id);
            }
        }
        self.head = id;
        self.finalize()
    }

    /// Lets go of what the window has left behind.
    fn finalize(&mut self) -> Vec<HeaderEntry> {
        let height = self.head_entry().height;
        let window_start = height.saturating_sub(Height::new(self.rules.window_blocks));
        let mut removed = Vec::new();
        while self.final_height < window_start {
            // Branches that leave the chain at a height below the window cannot become it.
            let kept = self.active.get(&self.final_height.next()).copied();
            if let Some(id) = self.active.get(&self.final_height).copied() {
                let side: Vec<_> = self.children_of(&id).filter(|child| Some(*child) != kept).collect();
                side.into_iter().for_each(|child| removed.extend(self.remove_branch(child)));
            }
            self.final_height = self.final_height.next();
        }
        let lowest = self.final_height.saturating_sub(Height::new(MEDIAN_TIME_BLOCKS as u64));
        while let Some((height, id)) = self.active.first_key_value().map(|(height, id)| (*height, *id)) {
            if height >= lowest {
                break;
            }
            self.active.remove(&height);
            if let Some(entry) = self.entries.remove(&id) {
                self.children.remove(&(entry.parent, id));
            }
            let above: Vec<_> = self.children_of(&id).collect();
            for child in above {
                self.children.remove(&(id, child));
            }
        }
        removed
    }

    /// Returns entries that are not of the chain, in no order that matters.
    pub fn side(&self) -> impl Iterator<Item = &HeaderEntry> {
        self.by_work.iter().filter_map(|(_, _, id)| self.entries.get(id))
    }
}

impl HeaderEntry {
    fn with_header(mut self, header: Option<Box<BlockHeader>>) -> Self {
        self.header = header;
        self
    }
}

fn work_key(entry: &HeaderEntry) -> (Work, Reverse<u64>, BlockId) {
    (entry.work, Reverse(entry.sequence), entry.id)
}

#[cfg(test)]
pub(super) mod tests;
