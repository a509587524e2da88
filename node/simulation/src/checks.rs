//! What must hold of a node after each of its steps.

use purlin_modules::staking::{self, ValidatorStatus};
use purlin_primitives::{AccountId, Height};
use purlin_service::{QueueLengths, StopReason};
use purlin_sync::limits::RESPONSE_BYTES_MAX;
use purlin_sync::{
    ASSEMBLIES_MAX, BODY_REQUESTS_MAX, BUFFER_BYTES_MAX, DELIVERED_MAX, GRACE_MS, HEADERS_AHEAD_MAX,
    STATUS_INTERVAL_MS, WAITING_MAX, WANTED_MAX,
};
use std::collections::BTreeMap;

use crate::ledger::{Checked, Violation, signature};
use crate::node::{POOL_BYTES_MAX, POOL_MAX};
use crate::world::World;

/// Blocks until an equivocator must have been slashed everywhere.
pub(crate) const SLASHED_WITHIN: u64 = 20;

/// Longest time that a deaf node is behind the others, in milliseconds: until it asks where they are, and then for
/// headers and bodies.
const DEAF_BEHIND_MS_MAX: u64 = STATUS_INTERVAL_MS + 2 * GRACE_MS;
/// More validators than any run has: those of the genesis, and clients that bond.
const VALIDATORS_MAX: usize = 16;

/// What may wait inside a node at most.
const LENGTHS_MAX: QueueLengths = QueueLengths {
    messages: 1_024,
    urgent: 4_096,
    bulk: 1_024,
    checks: 4_096,
    builds: 64,
    commits: 8,
    bodies: 16,
    built: 64,
    wanted: 64,
    pool: POOL_MAX,
    pool_bytes: POOL_BYTES_MAX,
    in_blocks: 2 * POOL_MAX,
    dropped: 10_000,
    waiters: 64,
    delivered: DELIVERED_MAX,
    assemblies: ASSEMBLIES_MAX,
    announcing: WAITING_MAX,
    fetching: WANTED_MAX,
    headers: HEADERS_AHEAD_MAX,
    body_bytes: BUFFER_BYTES_MAX + BODY_REQUESTS_MAX * RESPONSE_BYTES_MAX,
    shown_blocks: 8,
    shown_messages: 512,
    announced: 16,
    proposed: 64,
    ahead: 3,
    // Of this height while it may not sign and of two more, 8 of each validator.
    early: 3 * 8 * VALIDATORS_MAX,
    // Of 65 heights, 128 of each validator, and what was found of these.
    evidence: 65 * 2 * 128 * VALIDATORS_MAX,
    // Two of each round, ten rounds back and ten ahead.
    proposals: 2 * 21,
};

/// Two signatures that an honest node has heard, and what must follow.
#[derive(Default)]
pub(crate) struct Evidence {
    /// By node and place, the digest heard first.
    heard: BTreeMap<(usize, Vec<u8>), purlin_primitives::Hash32>,
    /// Who must be slashed, and by when.
    pub(crate) expected: BTreeMap<AccountId, Height>,
}

impl World {
    pub(crate) fn check(&mut self, node: usize) -> Checked {
        let one = &mut self.nodes[node];
        let Some(running) = &one.running else { return Ok(()) };
        if !one.is_honest() {
            return Ok(());
        }
        let (from, to) = (one.reported.0, running.node.final_height());
        for height in (from.get() + 1..=to.get()).map(Height::new) {
            self.ledger.observe(node, running.node.chain(), height)?;
            if let Some(id) = self.ledger.block(height) {
                one.reported = (height, id);
                self.trace.mix(self.now_us, &[node as u64, height.get()]);
                self.trace.line(self.now_us, || format!("node {node}: block {height} is final, {id}"));
            }
        }
        if to > from {
            let now_ms = self.now_ms();
            self.finals_ms.resize(self.ledger.height().get() as usize, now_ms);
            self.check_slashed(node)?;
        }
        self.check_deaf(node)?;
        self.check_running(node)?;
        self.check_lengths(node)
    }

    /// A deaf node keeps up by asking, when nothing else is wrong.
    fn check_deaf(&self, node: usize) -> Checked {
        let Some((_, since_ms)) = self.deaf.filter(|(deaf, _)| *deaf == node) else { return Ok(()) };
        let Some(due_ms) = self.now_ms().checked_sub(DEAF_BEHIND_MS_MAX).filter(|due| *due >= since_ms)
        else {
            return Ok(());
        };
        let due = Height::new(self.finals_ms.partition_point(|at| *at <= due_ms) as u64);
        let has = self.nodes[node].reported.0;
        if has >= due {
            return Ok(());
        }
        let detail = format!(
            "the deaf node {node} is at height {has}; {due} was final {DEAF_BEHIND_MS_MAX} ms ago, {} is",
            self.ledger.height()
        );
        Err(Violation::new("pulls", detail))
    }

    /// A node stops only for lack of room on its disk.
    fn check_running(&mut self, node: usize) -> Checked {
        let one = &self.nodes[node];
        let stopped = one.running.as_ref().filter(|running| running.node.is_stopped());
        let stopped = stopped.and_then(|running| running.node.stop_reason());
        match stopped {
            None => Ok(()),
            Some(_) if one.full => Ok(()),
            Some(StopReason::Requested) => Ok(()),
            Some(StopReason::Failed(reason)) => {
                // The write that failed may have been asked for while there was no room.
                if reason.contains("no space left (simulated)") {
                    return self.crash(node).and_then(|()| self.start(node));
                }
                Err(Violation::new("running", format!("the honest node {node} stopped: {reason}")))
            }
        }
    }

    fn check_lengths(&self, node: usize) -> Checked {
        let Some(running) = &self.nodes[node].running else { return Ok(()) };
        let (found, max) = (running.node.lengths(), LENGTHS_MAX);
        let pairs = [
            ("messages of the driver", found.messages, max.messages),
            ("urgent events", found.urgent, max.urgent),
            ("bulk events", found.bulk, max.bulk),
            ("checks", found.checks, max.checks),
            ("builds", found.builds, max.builds),
            ("commits", found.commits, max.commits),
            ("bodies", found.bodies, max.bodies),
            ("executed blocks", found.built, max.built),
            ("wanted blocks", found.wanted, max.wanted),
            ("pooled transactions", found.pool, max.pool),
            ("pooled bytes", found.pool_bytes, max.pool_bytes),
            ("transactions in blocks", found.in_blocks, max.in_blocks),
            ("reasons of drops", found.dropped, max.dropped),
            ("waiters", found.waiters, max.waiters),
            ("fetched blocks", found.delivered, max.delivered),
            ("blocks being completed", found.assemblies, max.assemblies),
            ("transactions to announce", found.announcing, max.announcing),
            ("transactions to fetch", found.fetching, max.fetching),
            ("headers", found.headers, max.headers),
            ("bytes of bodies", found.body_bytes, max.body_bytes),
            ("blocks to show", found.shown_blocks, max.shown_blocks),
            ("messages to show", found.shown_messages, max.shown_messages),
            ("announcements without a proposal", found.announced, max.announced),
            ("proposals remembered", found.proposed, max.proposed),
            ("certified blocks ahead", found.ahead, max.ahead),
            ("early messages", found.early, max.early),
            ("signatures for evidence", found.evidence, max.evidence),
            ("proposals without a block", found.proposals, max.proposals),
        ];
        match pairs.into_iter().find(|(_, found, max)| found > max) {
            None => Ok(()),
            Some((what, found, max)) => Err(Violation::new(
                "bounded queues",
                format!("node {node} keeps {found} {what}; at most {max}"),
            )),
        }
    }

    /// What a node reported before a crash is there after it.
    pub(crate) fn check_kept(&mut self, node: usize) -> Checked {
        let one = &self.nodes[node];
        let (height, id) = one.reported;
        let Some(running) = one.running.as_ref().filter(|_| one.is_honest() && height > Height::ZERO) else {
            return Ok(());
        };
        let found = running.node.chain().header(height);
        match found {
            Ok(Some(header)) if header.id() == id => Ok(()),
            Ok(found) => {
                let found =
                    found.map(|header| header.id().to_string()).unwrap_or_else(|| "nothing".to_owned());
                let detail =
                    format!("node {node} reported block {height} as {id}, and has {found} after a crash");
                Err(Violation::new("final stays final", detail))
            }
            Err(error) => Err(Violation::new("storage", error.to_string())),
        }
    }

    /// Notes that an honest node heard two signatures that exclude each other, when nothing else goes wrong: then
    /// they must come into a block.
    pub(crate) fn expect_evidence(&mut self, node: usize, bytes: &[u8]) {
        if !self.healed || !self.nodes[node].is_honest() || self.nodes[node].key.is_none() {
            return;
        }
        let Some((signer, place, digest)) = signature(bytes) else { return };
        // A stranger has nothing to lose.
        if !self.genesis.validators.iter().any(|validator| validator.public_key == signer) {
            return;
        }
        let head = self.nodes[node].reported.0;
        if place.1 != head.next() {
            return;
        }
        let key = borsh::to_vec(&place).expect("writing to memory cannot fail");
        let first = *self.evidence.heard.entry((node, key)).or_insert(digest);
        if first != digest {
            let by = self.ledger.height().saturating_add(Height::new(SLASHED_WITHIN));
            self.evidence.expected.entry(signer.account_id()).or_insert(by);
        }
    }

    fn check_slashed(&self, node: usize) -> Checked {
        for (account, by) in &self.evidence.expected {
            if self.nodes[node].reported.0 >= *by && !self.is_slashed(node, account) {
                let detail =
                    format!("{account} signed twice and is not slashed at node {node} by block {by}");
                return Err(Violation::new("slashing", detail));
            }
        }
        Ok(())
    }

    fn is_slashed(&self, node: usize, account: &AccountId) -> bool {
        let Some(running) = &self.nodes[node].running else { return false };
        let record = staking::validator(&mut &*running.node.chain().state(), account);
        record.is_ok_and(|record| record.is_some_and(|one| one.status == ValidatorStatus::Tombstoned))
    }

    /// Says whether everybody who must be slashed is, at every honest node.
    pub(crate) fn all_slashed(&self) -> bool {
        let honest = || self.nodes.iter().filter(|node| node.is_honest());
        self.evidence.expected.keys().all(|account| honest().all(|node| self.is_slashed(node.index, account)))
    }
}
