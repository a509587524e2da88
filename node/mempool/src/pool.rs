//! The pool: queues by sender, and the orders in which they are used and evicted.

use purlin_primitives::{AccountId, Amount, Gas, Height, TransactionId, VerifiedTransaction};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, VecDeque};

use crate::limits::{Budget, EVICTIONS_MAX, Limits, MISFITS_MAX};
use crate::price::Price;

/// Says why a transaction may not wait here. Nothing has changed then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdmitError {
    /// It waits already.
    #[error("transaction {id} is waiting already")]
    Duplicate {
        /// Which.
        id: TransactionId,
    },
    /// Its nonce is in a block already.
    #[error("nonce {nonce} was used already; the next one of this account is {expected}")]
    NonceUsed {
        /// Nonce of the transaction.
        nonce: u64,
        /// Next nonce that is free.
        expected: u64,
    },
    /// A transaction before it is missing.
    #[error("nonce {nonce} leaves a gap; the next one of this account is {expected}")]
    NonceGap {
        /// Nonce of the transaction.
        nonce: u64,
        /// Next nonce that is free.
        expected: u64,
    },
    /// No block to come may include it.
    #[error("transaction expired at height {expires_at}; the next block is {next}")]
    Expired {
        /// Last height for it.
        expires_at: Height,
        /// Height of the next block.
        next: Height,
    },
    /// Another transaction with this nonce waits, and this one does not pay enough to replace it.
    #[error("nonce {nonce} is waiting already; replacing it takes a fee of at least {needed}, not {fee}")]
    ReplacementFee {
        /// Nonce of both.
        nonce: u64,
        /// Offered.
        fee: Amount,
        /// Least accepted.
        needed: Amount,
    },
    /// The sender has as many waiting as one may have.
    #[error("this account has {max} transactions waiting, the most that are allowed; wait for a block")]
    SenderFull {
        /// Most per sender.
        max: usize,
    },
    /// The pool is full of transactions that pay at least as much.
    #[error("the pool is full; a fee of at least {needed} would make room now")]
    PoolFull {
        /// Fee that would be enough at the moment for the same gas limit.
        needed: Amount,
    },
    /// It does not fit, whatever it pays.
    #[error("transaction has {size_bytes} bytes; the pool of {max_bytes} bytes cannot make room for it")]
    TooLarge {
        /// Bytes of the transaction.
        size_bytes: usize,
        /// Bytes of the pool.
        max_bytes: usize,
    },
}

/// Says what an admission did besides admitting.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Admitted {
    /// What had to go: the replaced one, or evicted ones.
    pub removed: Vec<Removed>,
}

/// A transaction that waits no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removed {
    /// Which.
    pub id: TransactionId,
    /// Why.
    pub reason: Removal,
}

/// Says why a transaction waits no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// A better paying one with the same nonce took its place.
    Replaced {
        /// Which.
        by: TransactionId,
    },
    /// The pool was full and this was the cheapest.
    Evicted,
    /// Its last height passed.
    Expired,
    /// Execution refused it.
    Rejected,
    /// One before it in its sender's queue went, so its nonce leaves a gap.
    Orphaned,
    /// A block used its nonce for another transaction.
    NonceUsed,
}

struct Waiting {
    transaction: VerifiedTransaction,
    price: Price,
    arrival: u64,
}

/// One sender's transactions; the nonce of the one at position `i` is `first + i`. Never empty.
struct Queue {
    first: u64,
    waiting: VecDeque<Waiting>,
}

impl Queue {
    fn next(&self) -> u64 {
        self.first.saturating_add(self.waiting.len() as u64)
    }

    fn head_key(&self, sender: AccountId, position: usize) -> HeadKey {
        let waiting = &self.waiting[position];
        (Reverse(waiting.price), waiting.arrival, sender)
    }

    fn tail_key(&self, sender: AccountId, position: usize) -> TailKey {
        let waiting = &self.waiting[position];
        (waiting.price, Reverse(waiting.arrival), sender)
    }
}

/// Best first: dearest, then oldest.
type HeadKey = (Reverse<Price>, u64, AccountId);
/// Cheapest first, then newest.
type TailKey = (Price, Reverse<u64>, AccountId);

/// Holds the transactions waiting for a block. Lives as long as the node and is empty after a restart.
pub struct Mempool {
    limits: Limits,
    /// Only looked up, never walked: a hash map's order must not decide anything.
    queues: HashMap<AccountId, Queue>,
    /// Sender and nonce of everything that waits. Only looked up, never walked.
    by_id: BTreeMap<TransactionId, (AccountId, u64)>,
    /// First of each queue: what a block may take.
    heads: BTreeSet<HeadKey>,
    /// Last of each queue: what may be evicted without leaving a gap.
    tails: BTreeSet<TailKey>,
    /// By last height and arrival.
    expiries: BTreeMap<(Height, u64), (AccountId, u64)>,
    bytes: usize,
    arrivals: u64,
}

impl Mempool {
    /// Makes an empty pool.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            queues: HashMap::new(),
            by_id: BTreeMap::new(),
            heads: BTreeSet::new(),
            tails: BTreeSet::new(),
            expiries: BTreeMap::new(),
            bytes: 0,
            arrivals: 0,
        }
    }

    /// Returns the bounds.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns how many wait.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Says whether none waits.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Returns the canonical bytes of all that wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns a waiting transaction.
    pub fn get(&self, id: &TransactionId) -> Option<&VerifiedTransaction> {
        let (sender, nonce) = self.by_id.get(id)?;
        let queue = self.queues.get(sender)?;
        let position = usize::try_from(nonce - queue.first).ok()?;
        queue.waiting.get(position).map(|waiting| &waiting.transaction)
    }

    /// Returns ids of waiting transactions in ascending order, from one on.
    pub fn ids_from(&self, from: &TransactionId, limit: usize) -> Vec<TransactionId> {
        self.by_id.range(from..).take(limit).map(|(id, _)| *id).collect()
    }

    /// Returns the nonce that a sender's next transaction needs, given the nonce of its account in state.
    pub fn next_nonce(&self, sender: &AccountId, account_nonce: u64) -> u64 {
        self.queues.get(sender).map_or(account_nonce, |queue| queue.next().max(account_nonce))
    }

    /// Lets a transaction wait: at the end of its sender's queue, or in the place of one with the same nonce.
    ///
    /// `account_nonce` is the sender's in the state that the next block starts from, `next` that block's
    /// height. When the pool is full, the cheapest by fee per gas that is last in its sender's queue goes, as
    /// long as it pays less than this one; otherwise this one is refused. A sender's own transactions are never
    /// evicted for its new one. On an error nothing has changed.
    pub fn admit(
        &mut self,
        transaction: VerifiedTransaction,
        account_nonce: u64,
        next: Height,
    ) -> Result<Admitted, AdmitError> {
        let id = transaction.id();
        let body = transaction.body();
        let (sender, nonce, expires_at) = (body.sender, body.nonce, body.expires_at);
        if self.by_id.contains_key(&id) {
            return Err(AdmitError::Duplicate { id });
        }
        if expires_at < next {
            return Err(AdmitError::Expired { expires_at, next });
        }
        let first = self.queues.get(&sender).map_or(account_nonce, |queue| queue.first);
        let expected = self.next_nonce(&sender, account_nonce);
        if nonce < first.max(account_nonce) {
            return Err(AdmitError::NonceUsed { nonce, expected });
        }
        if nonce > expected {
            return Err(AdmitError::NonceGap { nonce, expected });
        }
        let waiting = Waiting { price: Price::of(body), transaction, arrival: self.arrivals };
        let admitted = if nonce < expected {
            self.replace(sender, nonce, waiting)?
        } else {
            self.append(sender, account_nonce, waiting)?
        };
        self.by_id.insert(id, (sender, nonce));
        self.expiries.insert((expires_at, self.arrivals), (sender, nonce));
        self.arrivals += 1;
        Ok(admitted)
    }

    fn append(
        &mut self,
        sender: AccountId,
        account_nonce: u64,
        new: Waiting,
    ) -> Result<Admitted, AdmitError> {
        if self.queues.get(&sender).is_some_and(|queue| queue.waiting.len() >= self.limits.per_sender_max) {
            return Err(AdmitError::SenderFull { max: self.limits.per_sender_max });
        }
        let evicted = self.room_for(&sender, &new, 1, new.transaction.size_bytes())?;
        let mut removed = self.evict(&evicted);
        // A queue that is behind the account's nonce was not told of a block; none of it can be used again.
        if self.queues.get(&sender).is_some_and(|queue| queue.first < account_nonce) {
            self.drop_below(sender, account_nonce, None, &mut removed);
        }
        self.bytes += new.transaction.size_bytes();
        match self.queues.get_mut(&sender) {
            Some(queue) => {
                self.tails.remove(&queue.tail_key(sender, queue.waiting.len() - 1));
                queue.waiting.push_back(new);
                self.tails.insert(queue.tail_key(sender, queue.waiting.len() - 1));
            }
            None => {
                let first = new.transaction.body().nonce;
                let queue = Queue { first, waiting: VecDeque::from([new]) };
                self.heads.insert(queue.head_key(sender, 0));
                self.tails.insert(queue.tail_key(sender, 0));
                self.queues.insert(sender, queue);
            }
        }
        Ok(Admitted { removed })
    }

    fn replace(&mut self, sender: AccountId, nonce: u64, new: Waiting) -> Result<Admitted, AdmitError> {
        let queue = self.queues.get(&sender).expect("a nonce below the expected one is in a queue");
        let position = usize::try_from(nonce - queue.first).expect("a queue's length fits");
        let old = &queue.waiting[position];
        let body = new.transaction.body();
        let needed = old.price.fee_to_replace(body.gas_limit);
        if body.fee < needed || body.fee <= old.transaction.body().fee {
            return Err(AdmitError::ReplacementFee { nonce, fee: body.fee, needed });
        }
        let (old_bytes, new_bytes) = (old.transaction.size_bytes(), new.transaction.size_bytes());
        let evicted = self.room_for(&sender, &new, 0, new_bytes.saturating_sub(old_bytes))?;
        let mut removed = self.evict(&evicted);
        self.unlink(&sender);
        let by = new.transaction.id();
        let queue = self.queues.get_mut(&sender).expect("evictions spare the sender's own queue");
        let old = std::mem::replace(&mut queue.waiting[position], new);
        self.link(&sender);
        self.bytes += new_bytes;
        removed.push(Removed { id: old.transaction.id(), reason: Removal::Replaced { by } });
        self.forget(&old);
        Ok(Admitted { removed })
    }

    /// Returns whose tails must go, in order, to make room; changes nothing.
    fn room_for(
        &self,
        sender: &AccountId,
        new: &Waiting,
        transactions: usize,
        bytes: usize,
    ) -> Result<Vec<AccountId>, AdmitError> {
        let size_bytes = new.transaction.size_bytes();
        let too_large = AdmitError::TooLarge { size_bytes, max_bytes: self.limits.bytes_max };
        if size_bytes > self.limits.bytes_max {
            return Err(too_large);
        }
        let mut excess = (self.len() + transactions).saturating_sub(self.limits.transactions_max);
        let mut excess_bytes = (self.bytes + bytes).saturating_sub(self.limits.bytes_max);
        let mut evicted = Vec::new();
        let mut tails = self.tails.iter().copied().peekable();
        // Becomes the tail of its queue once what is behind it goes; counts how many are.
        let mut uncovered: BinaryHeap<Reverse<(TailKey, usize)>> = BinaryHeap::new();
        while excess > 0 || excess_bytes > 0 {
            if evicted.len() == EVICTIONS_MAX {
                return Err(too_large);
            }
            let from_tails = match (tails.peek(), uncovered.peek()) {
                (Some(tail), Some(Reverse((key, _)))) => tail < key,
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (None, None) => return Err(too_large),
            };
            let next = if from_tails {
                tails.next().map(|key| (key, 0))
            } else {
                uncovered.pop().map(|Reverse(entry)| entry)
            };
            let Some(((price, arrival, owner), behind)) = next else { return Err(too_large) };
            if owner == *sender {
                continue;
            }
            if price >= new.price {
                return Err(AdmitError::PoolFull {
                    needed: price.fee_above(new.transaction.body().gas_limit),
                });
            }
            let queue = &self.queues[&owner];
            let position = queue.waiting.len() - 1 - behind;
            debug_assert_eq!(queue.waiting[position].arrival, arrival.0);
            excess = excess.saturating_sub(1);
            excess_bytes = excess_bytes.saturating_sub(queue.waiting[position].transaction.size_bytes());
            evicted.push(owner);
            if let Some(before) = position.checked_sub(1) {
                uncovered.push(Reverse((queue.tail_key(owner, before), behind + 1)));
            }
        }
        Ok(evicted)
    }

    fn evict(&mut self, owners: &[AccountId]) -> Vec<Removed> {
        let mut removed = Vec::with_capacity(owners.len());
        for owner in owners {
            let keep = self.queues[owner].waiting.len() - 1;
            self.truncate(*owner, keep, Removal::Evicted, &mut removed);
        }
        removed
    }

    /// Returns what a block should hold, in order: dearest first, then oldest, each sender's in order of nonce.
    /// Nothing is removed; call [`Self::committed`] with what was used.
    ///
    /// One that does not fit is passed over with everything behind it in its queue.
    pub fn take(&self, mut budget: Budget) -> Vec<VerifiedTransaction> {
        let mut taken = Vec::new();
        let mut misfits = 0;
        let mut heads = self.heads.iter().copied().peekable();
        let mut uncovered: BinaryHeap<Reverse<(HeadKey, usize)>> = BinaryHeap::new();
        while taken.len() < budget.transactions && misfits < MISFITS_MAX {
            let from_heads = match (heads.peek(), uncovered.peek()) {
                (Some(head), Some(Reverse((key, _)))) => head < key,
                (head, _) => head.is_some(),
            };
            let next = if from_heads {
                heads.next().map(|key| (key, 0))
            } else {
                uncovered.pop().map(|Reverse(entry)| entry)
            };
            let Some(((_, _, sender), position)) = next else { break };
            let queue = &self.queues[&sender];
            let transaction = &queue.waiting[position].transaction;
            let (gas, bytes) = (transaction.body().gas_limit, transaction.size_bytes());
            let Some(gas_left) = budget.gas.checked_sub(gas).filter(|_| bytes <= budget.bytes) else {
                misfits += 1;
                continue;
            };
            budget.gas = gas_left;
            budget.bytes -= bytes;
            taken.push(transaction.clone());
            if position + 1 < queue.waiting.len() {
                uncovered.push(Reverse((queue.head_key(sender, position + 1), position + 1)));
            }
        }
        taken
    }

    /// Learns what a block included, in the block's order: removes that, and what waits with a nonce that was
    /// used by it. Returns the removed ones that were not included themselves.
    pub fn committed<'a>(
        &mut self,
        included: impl IntoIterator<Item = &'a VerifiedTransaction>,
    ) -> Vec<Removed> {
        let mut removed = Vec::new();
        for transaction in included {
            let body = transaction.body();
            self.drop_below(body.sender, body.nonce.saturating_add(1), Some(transaction.id()), &mut removed);
        }
        removed
    }

    /// Removes a sender's transactions with nonces below `next`; all but the one that was included are added to
    /// `removed`.
    fn drop_below(
        &mut self,
        sender: AccountId,
        next: u64,
        included: Option<TransactionId>,
        removed: &mut Vec<Removed>,
    ) {
        if self.queues.get(&sender).is_none_or(|queue| queue.first >= next) {
            return;
        }
        self.unlink(&sender);
        while let Some(queue) = self.queues.get_mut(&sender).filter(|queue| queue.first < next) {
            let Some(old) = queue.waiting.pop_front() else { break };
            queue.first += 1;
            self.forget(&old);
            let id = old.transaction.id();
            if included != Some(id) {
                removed.push(Removed { id, reason: Removal::NonceUsed });
            }
        }
        self.link(&sender);
    }

    /// Starts again on another branch of the chain, whose accounts have other nonces: `returned`, which were in
    /// blocks of the branch that was left, in their old order, and after them everything that waits are admitted
    /// anew. `account_nonce` and `next` are as in [`Mempool::admit`]. Returns what waits no longer.
    ///
    /// # Errors
    ///
    /// The first error of `account_nonce`; the pool is empty then, because nothing is known of what it held.
    pub fn restart<E>(
        &mut self,
        returned: Vec<VerifiedTransaction>,
        mut account_nonce: impl FnMut(&AccountId) -> Result<u64, E>,
        next: Height,
    ) -> Result<Vec<Removed>, E> {
        let all = Budget { gas: Gas::MAX, bytes: usize::MAX, transactions: usize::MAX };
        let waiting = self.take(all);
        *self = Self { arrivals: self.arrivals, ..Self::new(self.limits) };
        let mut removed = Vec::new();
        let mut nonces = BTreeMap::new();
        for transaction in returned.into_iter().chain(waiting) {
            let (id, sender) = (transaction.id(), transaction.body().sender);
            let nonce = match nonces.get(&sender) {
                Some(nonce) => *nonce,
                None => {
                    let nonce = account_nonce(&sender)?;
                    nonces.insert(sender, nonce);
                    nonce
                }
            };
            let reason = match self.admit(transaction, nonce, next) {
                Ok(admitted) => {
                    removed.extend(admitted.removed);
                    continue;
                }
                // It was in a block and submitted again.
                Err(AdmitError::Duplicate { .. }) => continue,
                Err(AdmitError::NonceUsed { .. } | AdmitError::ReplacementFee { .. }) => Removal::NonceUsed,
                Err(AdmitError::NonceGap { .. }) => Removal::Orphaned,
                Err(AdmitError::Expired { .. }) => Removal::Expired,
                Err(
                    AdmitError::SenderFull { .. } | AdmitError::PoolFull { .. } | AdmitError::TooLarge { .. },
                ) => Removal::Evicted,
            };
            removed.push(Removed { id, reason });
        }
        Ok(removed)
    }

    /// Removes what no block from `next` on may include, with what stands behind it.
    pub fn expire(&mut self, next: Height) -> Vec<Removed> {
        let mut removed = Vec::new();
        while let Some((&(expires_at, _), &(sender, nonce))) = self.expiries.first_key_value() {
            if expires_at >= next {
                break;
            }
            self.remove_from(sender, nonce, Removal::Expired, &mut removed);
        }
        removed
    }

    /// Removes one that execution refused for good, with what stands behind it. Does nothing when it does not
    /// wait here.
    pub fn reject(&mut self, id: &TransactionId) -> Vec<Removed> {
        let mut removed = Vec::new();
        if let Some(&(sender, nonce)) = self.by_id.get(id) {
            self.remove_from(sender, nonce, Removal::Rejected, &mut removed);
        }
        removed
    }

    /// Removes the one with this nonce for `reason` and everything behind it as orphaned; in order of nonce.
    fn remove_from(&mut self, sender: AccountId, nonce: u64, reason: Removal, removed: &mut Vec<Removed>) {
        let Some(queue) = self.queues.get(&sender) else { return };
        let position = usize::try_from(nonce - queue.first).expect("a queue's length fits");
        let start = removed.len();
        self.truncate(sender, position, Removal::Orphaned, removed);
        removed[start..].reverse();
        if let Some(first) = removed.get_mut(start) {
            first.reason = reason;
        }
    }

    /// Keeps the first `keep` of a queue; what goes is added to `removed`, last first.
    fn truncate(&mut self, sender: AccountId, keep: usize, reason: Removal, removed: &mut Vec<Removed>) {
        self.unlink(&sender);
        while let Some(queue) = self.queues.get_mut(&sender).filter(|queue| queue.waiting.len() > keep) {
            let Some(old) = queue.waiting.pop_back() else { break };
            self.forget(&old);
            removed.push(Removed { id: old.transaction.id(), reason });
        }
        self.link(&sender);
    }

    /// Takes a queue's ends out of the orders before it changes.
    fn unlink(&mut self, sender: &AccountId) {
        if let Some(queue) = self.queues.get(sender) {
            self.heads.remove(&queue.head_key(*sender, 0));
            self.tails.remove(&queue.tail_key(*sender, queue.waiting.len() - 1));
        }
    }

    /// Puts a queue's ends into the orders after it changed; an empty queue goes.
    fn link(&mut self, sender: &AccountId) {
        match self.queues.get(sender) {
            Some(queue) if !queue.waiting.is_empty() => {
                self.heads.insert(queue.head_key(*sender, 0));
                self.tails.insert(queue.tail_key(*sender, queue.waiting.len() - 1));
            }
            Some(_) => {
                self.queues.remove(sender);
            }
            None => {}
        }
    }

    /// Removes what is known of a transaction outside its queue.
    fn forget(&mut self, old: &Waiting) {
        let body = old.transaction.body();
        self.by_id.remove(&old.transaction.id());
        self.expiries.remove(&(body.expires_at, old.arrival));
        self.bytes -= old.transaction.size_bytes();
    }
}

impl std::fmt::Debug for Mempool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mempool")
            .field("transactions", &self.len())
            .field("senders", &self.queues.len())
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}
