//! Those who send transactions and remember what they were told.

use purlin_modules::staking;
use purlin_primitives::{
    AccountId, Action, Amount, ChainId, Gas, Height, SecretKey, Transaction, TransactionBody, TransactionId,
};
use purlin_rpc::SubmitError;
use purlin_service::{Fate, Waiting, development_key};

use crate::app;
use crate::bug::Bug;
use crate::ledger::{Checked, Ledger, Violation};
use crate::node::Stepped;
use crate::random::Random;

/// Time after which a client asks another node, in microseconds.
const PATIENCE_US: u64 = 4_000_000;

/// Gas limit of a transaction, and where an application may be installed by it.
const GAS: Gas = Gas::new(1_000_000);
const APP_GAS: Gas = Gas::new(2_000_000_000);

/// A transaction on its way.
struct Current {
    transaction: Transaction,
    id: TransactionId,
    /// Where it was sent, and what waits there.
    at: Option<(usize, Waiting)>,
    since_us: u64,
}

/// One account that sends one transaction after another.
pub(crate) struct Client {
    pub(crate) key: SecretKey,
    pub(crate) account: AccountId,
    current: Option<Current>,
    bonded: bool,
    /// Whether it is the one that installs the application, and has not yet.
    installs: bool,
    /// What it was told is committed.
    pub(crate) acknowledged: Vec<TransactionId>,
    pub(crate) dropped: u64,
}

/// Returns the key of a client.
pub(crate) fn client_key(index: usize) -> SecretKey {
    development_key(&format!("simulation-client-{index}"))
}

/// What a client sees when it is its turn.
pub(crate) struct Turn<'a> {
    pub(crate) now_us: u64,
    pub(crate) chain_id: &'a ChainId,
    /// Accounts of all clients.
    pub(crate) accounts: &'a [AccountId],
    /// The node that it asks, when there is one that runs.
    pub(crate) node: Option<(usize, &'a mut Stepped)>,
    pub(crate) bug: Option<Bug>,
    /// Whether it begins new transactions.
    pub(crate) begins: bool,
    /// Whether there is an application to install and call.
    pub(crate) app: bool,
}

impl Client {
    pub(crate) fn new(index: usize) -> Self {
        let key = client_key(index);
        let account = key.public_key().account_id();
        Self {
            key,
            account,
            current: None,
            bonded: false,
            installs: index == 0,
            acknowledged: Vec::new(),
            dropped: 0,
        }
    }

    /// Says whether it waits for nothing.
    pub(crate) fn is_done(&self) -> bool {
        self.current.is_none()
    }

    /// Describes what it waits for.
    pub(crate) fn waits_for(&self) -> Option<TransactionId> {
        self.current.as_ref().map(|current| current.id)
    }

    /// Forgets where it waited: the node is gone.
    pub(crate) fn lost(&mut self, node: usize) {
        if let Some(current) = &mut self.current
            && current.at.as_ref().is_some_and(|(at, _)| *at == node)
        {
            current.at = None;
        }
    }

    /// Looks whether something was answered, and sends what is to be sent.
    pub(crate) fn turn(&mut self, random: &mut Random, ledger: &Ledger, turn: Turn<'_>) -> Checked {
        self.look(ledger, turn.now_us)?;
        if self.current.is_none() && turn.begins {
            self.begin(random, ledger, &turn);
        }
        let (Some(current), Some((node, stepped))) = (&mut self.current, turn.node) else { return Ok(()) };
        if current.at.is_some() {
            return Ok(());
        }
        current.since_us = turn.now_us;
        match stepped.submit(current.transaction.clone()) {
            Ok((id, _)) if turn.bug == Some(Bug::EarlyAcknowledgement) => {
                self.acknowledged.push(id);
                self.current = None;
            }
            Ok((_, waiting)) => current.at = Some((node, waiting)),
            // It is here already, or it cannot be yet: it is tried again until its fate is clear.
            Err(SubmitError::Refused { .. }) => {
                current.at = stepped.follow(&current.id).map(|waiting| (node, waiting));
            }
            // It stops; another one is asked the next time.
            Err(SubmitError::Node(_)) => {}
        }
        Ok(())
    }

    fn look(&mut self, ledger: &Ledger, now_us: u64) -> Checked {
        let Some(current) = &mut self.current else { return Ok(()) };
        let id = current.id;
        match current.at.as_mut().and_then(|(node, waiting)| Some((*node, waiting.poll()?))) {
            Some((node, Fate::Committed { height, index })) => {
                if ledger.place(&id) != Some((height, index)) {
                    let detail = format!("node {node} acknowledged {id} in block {height}, where it is not");
                    return Err(Violation::new("acknowledged", detail));
                }
                self.acknowledged.push(id);
                self.current = None;
            }
            Some((_, Fate::Dropped { .. })) => {
                self.dropped += 1;
                self.current = None;
            }
            Some((_, Fate::Unknown)) => current.at = None,
            None if current.since_us + PATIENCE_US < now_us => current.at = None,
            None => {}
        }
        let Some(Current { id, transaction, at: None, .. }) = &self.current else { return Ok(()) };
        let body = &transaction.body;
        if ledger.place(id).is_some() {
            // Whoever looks it up finds it.
            self.acknowledged.push(*id);
            self.current = None;
        } else if body.nonce < ledger.nonce(&self.account) || body.expires_at <= ledger.height() {
            // Another one of this account has its nonce, or it is too late.
            self.dropped += 1;
            self.current = None;
        }
        Ok(())
    }

    fn begin(&mut self, random: &mut Random, ledger: &Ledger, turn: &Turn<'_>) {
        let Some((_, node)) = &turn.node else { return };
        let to = *random.pick(turn.accounts);
        let record = staking::validator(&mut &*node.chain().state(), &self.account).ok().flatten();
        let action = match random.between(0, 99) {
            _ if turn.app && self.installs => {
                self.installs = false;
                app::install()
            }
            20..=49 if turn.app => app::call(random),
            // A little: those who are away must stay far below a third.
            0..=4 if !self.bonded => {
                self.bonded = true;
                let amount = Amount::new(u128::from(random.between(1, 2)));
                Action::Bond { validator: self.key.public_key(), amount }
            }
            0..=9 if record.is_some() => Action::Unbond { amount: Amount::new(1) },
            10..=14 => Action::Transfer { to, amount: Amount::new(u128::MAX / 2) },
            15..=16 => Action::Unjail,
            _ => Action::Transfer { to, amount: Amount::new(u128::from(random.between(0, 50))) },
        };
        let head = node.chain().head().height;
        let transaction = self.key.sign_transaction(TransactionBody {
            chain_id: turn.chain_id.clone(),
            sender: self.account,
            nonce: ledger.nonce(&self.account),
            expires_at: head.saturating_add(Height::new(random.between(3, 400))),
            gas_limit: if turn.app { APP_GAS } else { GAS },
            fee: Amount::new(u128::from(random.between(0, 3))),
            access: Vec::new(),
            actions: vec![action],
        });
        let id = transaction.body.id();
        self.current = Some(Current { transaction, id, at: None, since_us: turn.now_us });
    }
}
