//! Addresses of peers: whom to dial, and when to try again.

use libp2p::{Multiaddr, PeerId};
use std::collections::BTreeMap;

/// Peers whose address is known; beyond it the one not seen for longest is forgotten.
pub(crate) const PEERS_MAX: usize = 1_000;
/// Addresses of one peer.
const ADDRESSES_MAX: usize = 8;
/// A longer address is not kept.
const ADDRESS_BYTES_MAX: usize = 256;
/// After so many failures in a row a peer that nobody configured is forgotten.
const FAILURES_MAX: u32 = 8;
/// Dials that are started at one time.
const DIALS_MAX: usize = 8;

/// Why an address is known; later ones are dialled first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// Somebody said so.
    Known,
    /// Configured to ask first.
    Bootstrap,
    /// An outbound peer of the last run.
    Anchor,
    /// Always connected.
    Reserved,
}

impl Role {
    /// Returns whether the operator named the peer: such a peer is never forgotten.
    const fn is_configured(self) -> bool {
        matches!(self, Self::Bootstrap | Self::Reserved)
    }

    /// Returns the pause after the first failure and the longest one, in milliseconds. A reserved validator that
    /// restarts must be back within seconds.
    const fn pauses_ms(self) -> (u64, u64) {
        match self {
            Self::Reserved => (500, 3_000),
            Self::Anchor | Self::Bootstrap => (1_000, 60_000),
            Self::Known => (5_000, 600_000),
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) role: Role,
    pub(crate) addresses: Vec<Multiaddr>,
    /// When it was last connected; 0 for never.
    pub(crate) seen_ms: u64,
    failures: u32,
    next_ms: u64,
}

/// Known peers by id.
#[derive(Debug, Default)]
pub(crate) struct Book {
    peers: BTreeMap<PeerId, Entry>,
}

impl Book {
    /// Notes an address; a higher role replaces a lower one.
    pub(crate) fn add(&mut self, peer: PeerId, address: Multiaddr, role: Role) {
        if address.is_empty() || address.len() > ADDRESS_BYTES_MAX {
            return;
        }
        if !self.peers.contains_key(&peer) && self.peers.len() >= PEERS_MAX && !self.forget_one(role) {
            return;
        }
        let entry = self.peers.entry(peer).or_insert_with(|| Entry {
            role,
            addresses: Vec::new(),
            seen_ms: 0,
            failures: 0,
            next_ms: 0,
        });
        entry.role = entry.role.max(role);
        // The newest is tried first and the oldest is dropped, but what the operator configured stays.
        let kept = usize::from(entry.role.is_configured());
        if let Some(at) = entry.addresses.iter().position(|known| *known == address) {
            if at >= kept {
                entry.addresses.remove(at);
                entry.addresses.insert(kept.min(entry.addresses.len()), address);
            }
        } else if role.is_configured() {
            entry.addresses.insert(0, address);
        } else {
            entry.addresses.insert(kept.min(entry.addresses.len()), address);
        }
        entry.addresses.truncate(ADDRESSES_MAX);
    }

    /// Forgets the peer that is worth least, unless all are worth more than `role`.
    fn forget_one(&mut self, role: Role) -> bool {
        let least = self
            .peers
            .iter()
            .filter(|(_, entry)| !entry.role.is_configured() && entry.role <= role)
            .min_by_key(|(_, entry)| (entry.role, entry.seen_ms))
            .map(|(peer, _)| *peer);
        least.is_some_and(|peer| self.peers.remove(&peer).is_some())
    }

    /// Returns whom to dial now: reserved peers always, others while `missing` outbound peers are. Who `is_out` of the
    /// question takes no place.
    pub(crate) fn due(
        &self,
        now_ms: u64,
        missing: usize,
        is_out: impl Fn(&PeerId, &[Multiaddr]) -> bool,
    ) -> Vec<(PeerId, Vec<Multiaddr>)> {
        let mut due: Vec<(&PeerId, &Entry)> = self
            .peers
            .iter()
            .filter(|(_, entry)| entry.next_ms <= now_ms && !entry.addresses.is_empty())
            .filter(|(peer, entry)| !is_out(peer, &entry.addresses))
            .collect();
        due.sort_by_key(|(_, entry)| std::cmp::Reverse((entry.role, entry.seen_ms)));
        let reserved = due.iter().filter(|(_, entry)| entry.role == Role::Reserved).count();
        due.truncate(reserved + missing.min(DIALS_MAX));
        due.into_iter().map(|(peer, entry)| (*peer, entry.addresses.clone())).collect()
    }

    /// Notes that a dial has begun, so that it is not begun again before it ends.
    pub(crate) fn dialling(&mut self, peer: &PeerId, until_ms: u64) {
        if let Some(entry) = self.peers.get_mut(peer) {
            entry.next_ms = until_ms;
        }
    }

    /// Notes a failure and plans the next try. `jitter` is any number: it keeps nodes from knocking in step.
    pub(crate) fn failed(&mut self, peer: &PeerId, now_ms: u64, jitter: u32) {
        let Some(entry) = self.peers.get_mut(peer) else { return };
        entry.failures = entry.failures.saturating_add(1);
        if !entry.role.is_configured() && entry.failures >= FAILURES_MAX {
            self.peers.remove(peer);
            return;
        }
        let (first_ms, last_ms) = entry.role.pauses_ms();
        let pause_ms = first_ms.saturating_mul(1 << (entry.failures - 1).min(20)).min(last_ms);
        let spread_ms = pause_ms / 4;
        entry.next_ms = now_ms + pause_ms - spread_ms / 2 + u64::from(jitter) % spread_ms.max(1);
    }

    /// Leaves a peer alone for a while: it is banned, or belongs to another chain.
    pub(crate) fn avoid(&mut self, peer: &PeerId, until_ms: u64) {
        if let Some(entry) = self.peers.get_mut(peer) {
            entry.next_ms = until_ms;
        }
    }

    /// Notes that a peer has proved to be one of this chain.
    pub(crate) fn seen(&mut self, peer: &PeerId, now_ms: u64) {
        if let Some(entry) = self.peers.get_mut(peer) {
            entry.seen_ms = now_ms;
            entry.failures = 0;
            entry.next_ms = now_ms;
        }
    }

    /// Plans to come back to a peer that left.
    pub(crate) fn left(&mut self, peer: &PeerId, now_ms: u64) {
        if let Some(entry) = self.peers.get_mut(peer) {
            entry.next_ms = entry.next_ms.max(now_ms + entry.role.pauses_ms().0);
        }
    }

    /// Takes over what an earlier run knew.
    pub(crate) fn restore(&mut self, peer: PeerId, addresses: Vec<Multiaddr>, seen_ms: u64, role: Role) {
        for address in addresses.into_iter().rev() {
            self.add(peer, address, role);
        }
        if let Some(entry) = self.peers.get_mut(&peer) {
            entry.seen_ms = entry.seen_ms.max(seen_ms);
        }
    }

    /// Returns the peers that were ever connected.
    pub(crate) fn proven(&self) -> impl Iterator<Item = (&PeerId, &Entry)> {
        self.peers.iter().filter(|(_, entry)| entry.seen_ms > 0)
    }

    #[cfg(test)]
    fn addresses(&self, peer: &PeerId) -> &[Multiaddr] {
        self.peers.get(peer).map_or(&[], |entry| &entry.addresses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> Multiaddr {
        format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap()
    }

    fn due(book: &Book, now_ms: u64, missing: usize) -> Vec<PeerId> {
        book.due(now_ms, missing, |_, _| false).into_iter().map(|(peer, _)| peer).collect()
    }

    #[test]
    fn reserved_peers_come_first_and_always() {
        let (mut book, friend, other, anchor) =
            (Book::default(), PeerId::random(), PeerId::random(), PeerId::random());
        book.add(other, address(1), Role::Known);
        book.add(anchor, address(2), Role::Anchor);
        book.add(friend, address(3), Role::Reserved);
        assert_eq!(due(&book, 0, 0), [friend]);
        assert_eq!(due(&book, 0, 1), [friend, anchor]);
        assert_eq!(due(&book, 0, 9), [friend, anchor, other]);
    }

    #[test]
    fn pauses_grow_to_a_limit_and_strangers_are_forgotten() {
        let (mut book, friend, other) = (Book::default(), PeerId::random(), PeerId::random());
        book.add(friend, address(1), Role::Reserved);
        book.add(other, address(2), Role::Known);
        let mut now_ms = 0;
        for _ in 0..20 {
            book.failed(&friend, now_ms, 7);
            book.failed(&other, now_ms, 7);
            let pause_ms = book.peers[&friend].next_ms - now_ms;
            assert!((437..=9_000).contains(&pause_ms), "{pause_ms}");
            now_ms = book.peers[&friend].next_ms;
        }
        assert_eq!(due(&book, now_ms, 9), [friend]);
        assert!(!book.peers.contains_key(&other));
        book.seen(&friend, now_ms);
        book.left(&friend, now_ms);
        assert_eq!(due(&book, now_ms, 9), [], "a pause after a goodbye");
        assert_eq!(due(&book, now_ms + 500, 9), [friend]);
    }

    #[test]
    fn the_book_is_bounded_and_keeps_who_was_seen() {
        let (mut book, friend, seen) = (Book::default(), PeerId::random(), PeerId::random());
        book.add(friend, address(1), Role::Reserved);
        book.add(seen, address(1), Role::Known);
        book.seen(&seen, 5);
        for _ in 0..PEERS_MAX * 2 {
            book.add(PeerId::random(), address(1), Role::Known);
        }
        assert_eq!(book.peers.len(), PEERS_MAX);
        assert!(book.peers.contains_key(&friend) && book.peers.contains_key(&seen));
        for port in 1..100 {
            book.add(seen, address(port), Role::Known);
        }
        assert_eq!(book.addresses(&seen).len(), ADDRESSES_MAX);
        assert_eq!(book.addresses(&seen)[0], address(99), "the newest first");
    }

    #[test]
    fn a_configured_address_is_not_pushed_out() {
        let (mut book, friend) = (Book::default(), PeerId::random());
        book.add(friend, address(1), Role::Reserved);
        for port in 2..100 {
            book.add(friend, address(port), Role::Known);
        }
        assert_eq!(book.addresses(&friend)[0], address(1));
        assert_eq!(book.addresses(&friend)[1], address(99));
    }
}
