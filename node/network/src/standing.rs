//! What is held against peers, and who is banned for how long.

use libp2p::PeerId;
use purlin_sync::Offence;
use std::collections::BTreeMap;

/// Scores kept; beyond it the one closest to 0 is forgotten.
const SCORES_MAX: usize = 4_096;
/// Bans kept; beyond it the one that ends first is lifted.
pub(crate) const BANS_MAX: usize = 4_096;

/// Returns what an offence costs. A peer starts at 0 and is banned at -100 by default, so five forged messages or
/// twenty slow answers end it.
const fn cost(offence: Offence) -> i32 {
    match offence {
        Offence::Malformed | Offence::Invalid => 20,
        Offence::Lied => 25,
        Offence::Flooded => 10,
        Offence::Stalled => 5,
    }
}

#[derive(Debug, Clone, Copy)]
struct Score {
    points: i32,
    updated_ms: u64,
}

/// Scores and bans by peer.
#[derive(Debug)]
pub(crate) struct Standing {
    scores: BTreeMap<PeerId, Score>,
    bans: BTreeMap<PeerId, u64>,
    ban_score: i32,
    ban_ms: u64,
    recovery_ms: u64,
}

impl Standing {
    pub(crate) fn new(ban_score: i32, ban_ms: u64, recovery_ms: u64) -> Self {
        Self { scores: BTreeMap::new(), bans: BTreeMap::new(), ban_score, ban_ms, recovery_ms }
    }

    /// Returns the score: 0 at first, negative after offences, recovering with time.
    pub(crate) fn score(&self, peer: &PeerId, now_ms: u64) -> i32 {
        self.scores.get(peer).map_or(0, |score| self.recovered(*score, now_ms).points)
    }

    fn recovered(&self, score: Score, now_ms: u64) -> Score {
        let steps = now_ms.saturating_sub(score.updated_ms) / self.recovery_ms;
        Score {
            points: score.points.saturating_add(i32::try_from(steps).unwrap_or(i32::MAX)).min(0),
            updated_ms: score.updated_ms.saturating_add(steps.saturating_mul(self.recovery_ms)),
        }
    }

    /// Holds an offence against a peer and returns its score.
    pub(crate) fn charge(&mut self, peer: PeerId, offence: Offence, now_ms: u64) -> i32 {
        let before = self.scores.get(&peer).copied().unwrap_or(Score { points: 0, updated_ms: now_ms });
        let mut score = self.recovered(before, now_ms);
        score.points = score.points.saturating_sub(cost(offence));
        if self.scores.len() >= SCORES_MAX && !self.scores.contains_key(&peer) {
            let mildest = self.scores.iter().max_by_key(|(_, score)| score.points).map(|(peer, _)| *peer);
            mildest.and_then(|peer| self.scores.remove(&peer));
        }
        self.scores.insert(peer, score);
        score.points
    }

    /// Returns whether the score is one to ban for.
    pub(crate) fn deserves_ban(&self, score: i32) -> bool {
        score <= self.ban_score
    }

    /// Bans a peer from now on; returns when it ends. Its score starts afresh then.
    pub(crate) fn ban(&mut self, peer: PeerId, now_ms: u64) -> u64 {
        let until_ms = now_ms.saturating_add(self.ban_ms);
        self.scores.remove(&peer);
        self.restore(peer, until_ms);
        until_ms
    }

    /// Takes over a ban of an earlier run.
    pub(crate) fn restore(&mut self, peer: PeerId, until_ms: u64) {
        if self.bans.len() >= BANS_MAX && !self.bans.contains_key(&peer) {
            let first = self.bans.iter().min_by_key(|(_, until)| **until).map(|(peer, _)| *peer);
            first.and_then(|peer| self.bans.remove(&peer));
        }
        self.bans.insert(peer, until_ms);
    }

    /// Lifts the bans that are over and forgets the scores that have recovered; returns whose ban ended.
    pub(crate) fn expire(&mut self, now_ms: u64) -> Vec<PeerId> {
        let over: Vec<PeerId> =
            self.bans.iter().filter(|(_, until)| **until <= now_ms).map(|(peer, _)| *peer).collect();
        for peer in &over {
            self.bans.remove(peer);
        }
        let recovery_ms = self.recovery_ms;
        self.scores.retain(|_, score| {
            let needed = u64::from(score.points.unsigned_abs()).saturating_mul(recovery_ms);
            now_ms.saturating_sub(score.updated_ms) < needed
        });
        over
    }

    pub(crate) fn bans(&self) -> impl Iterator<Item = (&PeerId, u64)> {
        self.bans.iter().map(|(peer, until_ms)| (peer, *until_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing() -> Standing {
        Standing::new(-100, 60_000, 1_000)
    }

    #[test]
    fn offences_add_up_to_a_ban_that_ends() {
        let (mut standing, peer) = (standing(), PeerId::random());
        let scores: Vec<i32> = (0..5).map(|_| standing.charge(peer, Offence::Invalid, 0)).collect();
        assert_eq!(scores, [-20, -40, -60, -80, -100]);
        assert!(!standing.deserves_ban(-99) && standing.deserves_ban(-100));
        assert_eq!(standing.ban(peer, 0), 60_000);
        assert_eq!(standing.score(&peer, 0), 0);
        assert_eq!(standing.expire(59_999), []);
        assert_eq!(standing.bans().count(), 1);
        assert_eq!(standing.expire(60_000), [peer]);
        assert_eq!(standing.bans().count(), 0);
    }

    #[test]
    fn scores_recover_and_are_forgotten() {
        let (mut standing, peer) = (standing(), PeerId::random());
        standing.charge(peer, Offence::Flooded, 0);
        assert_eq!(standing.score(&peer, 3_999), -7);
        assert_eq!(standing.charge(peer, Offence::Stalled, 3_999), -12);
        assert_eq!(standing.score(&peer, 4_000), -11, "the part of a step before the second offence counts");
        standing.expire(1_000_000);
        assert!(standing.scores.is_empty());
    }

    #[test]
    fn a_thousand_identities_do_not_push_out_the_worst() {
        let (mut standing, worst) = (standing(), PeerId::random());
        for _ in 0..4 {
            standing.charge(worst, Offence::Lied, 0);
        }
        for _ in 0..SCORES_MAX + 100 {
            standing.charge(PeerId::random(), Offence::Stalled, 0);
        }
        assert_eq!(standing.scores.len(), SCORES_MAX);
        assert_eq!(standing.score(&worst, 0), -100);
    }
}
