//! Transactions and the stages of trust they pass.

use borsh::{BorshDeserialize, BorshSerialize};
use purlin_abi::{AccountId, Amount, AppId, DeviceId, Gas, Height, limits};
use sha3::{Digest, Keccak256};
use std::sync::Arc;

use crate::{ChainId, Equivocation, PublicKey, Signature, TransactionId, hash_domain};

/// One thing a transaction does. Actions run in order; if one fails, none has an effect, the fee and the nonce
/// are spent, and the receipt says why.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Action {
    /// Moves native units from the sender.
    Transfer {
        /// Receiver.
        to: AccountId,
        /// How much.
        amount: Amount,
    },
    /// Installs a package; the sender becomes the owner. Starts it when the manifest says `auto_start`.
    InstallApp {
        /// The `.tar.gz`, as read by `purlin-package`.
        package: Vec<u8>,
        /// Borsh arguments of `initialize`, used at the first start.
        arguments: Vec<u8>,
    },
    /// Starts an installed application; the first start runs `initialize`. A running one is left alone.
    StartApp {
        /// Which.
        app: AppId,
    },
    /// Stops a running application. Its `stop` runs first; an error there is recorded and does not prevent it.
    StopApp {
        /// Which.
        app: AppId,
    },
    /// Replaces an application's code by a newer version and runs its `migrate`.
    UpgradeApp {
        /// The `.tar.gz` of the newer version.
        package: Vec<u8>,
        /// Borsh arguments of `migrate` after the old version.
        arguments: Vec<u8>,
    },
    /// Removes a stopped application and its state; its balance goes to the owner.
    UninstallApp {
        /// Which.
        app: AppId,
    },
    /// Calls a method.
    CallApp {
        /// Which application.
        app: AppId,
        /// Method, as in its schema.
        method: String,
        /// Borsh arguments.
        arguments: Vec<u8>,
        /// Native units that go to the application with the call.
        deposit: Amount,
    },
    /// Registers a device; the sender becomes its owner.
    RegisterDevice {
        /// Its name.
        id: DeviceId,
        /// W3C WoT Thing Description 1.1, JSON.
        description: String,
        /// Where it is; may be empty.
        area: String,
        /// Free labels.
        tags: Vec<String>,
        /// Its public key.
        key: purlin_abi::DeviceKey,
    },
    /// Changes what is known of a device; `None` leaves a field as it is.
    UpdateDevice {
        /// Which.
        id: DeviceId,
        /// New Thing Description.
        description: Option<String>,
        /// New place.
        area: Option<String>,
        /// New labels.
        tags: Option<Vec<String>>,
    },
    /// Gives a device to another owner.
    TransferDevice {
        /// Which.
        id: DeviceId,
        /// New owner.
        to: AccountId,
    },
    /// Replaces a device's key.
    RotateDeviceKey {
        /// Which.
        id: DeviceId,
        /// New key; may never have been used by a device before.
        key: purlin_abi::DeviceKey,
    },
    /// Takes a device out for good.
    RevokeDevice {
        /// Which.
        id: DeviceId,
    },
    /// Puts native units of the sender at stake for validating.
    Bond {
        /// The key that will sign blocks; its account must be the sender.
        validator: PublicKey,
        /// How much, on top of what is at stake already.
        amount: Amount,
    },
    /// Takes native units of the sender out of stake; they come back after the unbonding time.
    Unbond {
        /// How much.
        amount: Amount,
    },
    /// Lets a validator that was jailed for absence take part again.
    Unjail,
    /// Shows that a validator signed two things that exclude each other.
    ReportEquivocation {
        /// The proof.
        evidence: Equivocation,
    },
}

/// What a sender signs.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct TransactionBody {
    /// For which chain.
    pub chain_id: ChainId,
    /// Whose nonce and balance; must belong to the signing key.
    pub sender: AccountId,
    /// Number of this sender's transactions before this one.
    pub nonce: u64,
    /// Last height at which it may be included.
    pub expires_at: Height,
    /// Most gas it may use.
    pub gas_limit: Gas,
    /// Native units paid for inclusion, whatever the gas used turns out to be.
    pub fee: Amount,
    /// Applications it may touch; empty means any. Touching another one fails.
    #[borsh(deserialize_with = "bounded")]
    pub access: Vec<AppId>,
    /// What it does; 1 to [`limits::ACTIONS_MAX`].
    #[borsh(deserialize_with = "bounded")]
    pub actions: Vec<Action>,
}

/// Most entries of a list that are decoded. An entry in memory is hundreds of times its least encoding, so the size
/// of a transaction bounds nothing. Above the protocol's limits, whose errors say more.
const LIST_DECODED_MAX: u32 = 1_024;

fn bounded<R: borsh::io::Read, T: BorshDeserialize>(reader: &mut R) -> borsh::io::Result<Vec<T>> {
    let count = u32::deserialize_reader(reader)?;
    if count > LIST_DECODED_MAX {
        let text = format!("a list of {count} entries; at most {LIST_DECODED_MAX} are read");
        return Err(borsh::io::Error::new(borsh::io::ErrorKind::InvalidData, text));
    }
    (0..count).map(|_| T::deserialize_reader(reader)).collect()
}

impl TransactionBody {
    const DOMAIN: &'static str = "purlin.transaction.v1";

    /// Returns the id, which is also the digest that is signed. The signature is not part of it, so altering
    /// a signature cannot rename a transaction.
    pub fn id(&self) -> TransactionId {
        let bytes = borsh::to_vec(self).expect("writing to memory cannot fail");
        TransactionId::new(hash_domain(Self::DOMAIN, &bytes))
    }
}

/// A transaction as it travels; nothing about it has been checked.
///
/// Encoding: borsh of the body, 33 bytes of public key, 64 bytes of signature.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Transaction {
    /// What is signed.
    pub body: TransactionBody,
    /// Key of the sender.
    pub public_key: PublicKey,
    /// Signature of [`TransactionBody::id`].
    pub signature: Signature,
}

/// Says why bytes are not a transaction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeTransactionError {
    /// More bytes than any transaction may have.
    #[error("transaction has {size_bytes} bytes; at most {max_bytes} are allowed")]
    TooLarge {
        /// Bytes found.
        size_bytes: usize,
        /// Bytes allowed.
        max_bytes: usize,
    },
    /// Not borsh of a transaction, or followed by other bytes.
    #[error("not a transaction: {reason}; expected borsh of body, public key and signature")]
    Malformed {
        /// What the decoder found.
        reason: String,
    },
}

/// Says why a transaction can never be valid on this chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyTransactionError {
    /// Signed for another chain.
    #[error("transaction is for chain {found}, this is {expected}")]
    WrongChain {
        /// Chain in the transaction.
        found: ChainId,
        /// Chain here.
        expected: ChainId,
    },
    /// The signature does not match body and key, or is not in its one valid form.
    #[error("signature is not valid for this body and key")]
    BadSignature,
    /// The key belongs to another account.
    #[error("the signing key belongs to {signer}, not to the sender {sender}")]
    WrongSender {
        /// Account of the key.
        signer: AccountId,
        /// Account in the body.
        sender: AccountId,
    },
    /// No action, or too many.
    #[error("transaction has {count} actions; expected 1 to {max}")]
    ActionCount {
        /// Actions found.
        count: usize,
        /// Actions allowed.
        max: usize,
    },
    /// The access list is too long.
    #[error("access list names {count} applications; at most {max} are allowed")]
    AccessListLength {
        /// Entries found.
        count: usize,
        /// Entries allowed.
        max: usize,
    },
}

impl Transaction {
    /// Decodes canonical bytes; anything left over is refused.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeTransactionError> {
        if bytes.len() > limits::TRANSACTION_BYTES_MAX {
            return Err(DecodeTransactionError::TooLarge {
                size_bytes: bytes.len(),
                max_bytes: limits::TRANSACTION_BYTES_MAX,
            });
        }
        borsh::from_slice(bytes)
            .map_err(|error| DecodeTransactionError::Malformed { reason: error.to_string() })
    }

    /// Returns the canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        borsh::to_vec(self).expect("writing to memory cannot fail")
    }

    /// Checks everything that needs no state: chain, counts, signature, sender. About 60 us.
    pub fn verify(self, chain_id: &ChainId) -> Result<VerifiedTransaction, VerifyTransactionError> {
        let body = &self.body;
        if body.chain_id != *chain_id {
            return Err(VerifyTransactionError::WrongChain {
                found: body.chain_id.clone(),
                expected: chain_id.clone(),
            });
        }
        if body.actions.is_empty() || body.actions.len() > limits::ACTIONS_MAX {
            return Err(VerifyTransactionError::ActionCount {
                count: body.actions.len(),
                max: limits::ACTIONS_MAX,
            });
        }
        if body.access.len() > limits::ACCESS_LIST_MAX {
            return Err(VerifyTransactionError::AccessListLength {
                count: body.access.len(),
                max: limits::ACCESS_LIST_MAX,
            });
        }
        let bytes = borsh::to_vec(body).expect("writing to memory cannot fail");
        let id = TransactionId::new(hash_domain(TransactionBody::DOMAIN, &bytes));
        let signer = self
            .public_key
            .verify_digest(id.hash(), &self.signature)
            .ok_or(VerifyTransactionError::BadSignature)?;
        if signer != body.sender {
            return Err(VerifyTransactionError::WrongSender { signer, sender: body.sender });
        }
        let size_bytes = bytes.len() + 33 + 64;
        Ok(VerifiedTransaction { id, size_bytes, transaction: Arc::new(self) })
    }
}

/// A transaction whose chain, limits and signature were checked. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedTransaction {
    id: TransactionId,
    size_bytes: usize,
    transaction: Arc<Transaction>,
}

impl VerifiedTransaction {
    /// Returns the id.
    pub fn id(&self) -> TransactionId {
        self.id
    }

    /// Returns the length of the canonical bytes.
    pub fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    /// Returns the transaction.
    pub fn transaction(&self) -> &Transaction {
        &self.transaction
    }

    /// Returns the body.
    pub fn body(&self) -> &TransactionBody {
        &self.transaction.body
    }
}

/// Returns the account of an application: the last 20 bytes of Keccak-256 of `"purlin.app.account.v1:" || id`.
pub fn app_account(app: &AppId) -> AccountId {
    let mut hasher = Keccak256::new();
    hasher.update(b"purlin.app.account.v1:");
    hasher.update(app.as_str().as_bytes());
    let hash = hasher.finalize();
    AccountId::new(hash[12..].try_into().expect("32 - 12 is 20"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_tiny_entries_takes_no_memory() {
        let key = crate::SecretKey::from_bytes(&[7; 32]).unwrap();
        let body = |count| TransactionBody {
            chain_id: "dev".parse().unwrap(),
            sender: key.public_key().account_id(),
            nonce: 0,
            expires_at: Height::new(1),
            gas_limit: Gas::new(1),
            fee: Amount::ZERO,
            access: Vec::new(),
            actions: vec![Action::Unjail; count],
        };
        let few = key.sign_transaction(body(limits::ACTIONS_MAX + 1));
        let few = Transaction::decode(&few.encode()).unwrap();
        assert!(matches!(
            few.verify(&"dev".parse().unwrap()),
            Err(VerifyTransactionError::ActionCount { .. })
        ));
        let many = key.sign_transaction(body(1_000_000)).encode();
        assert!(matches!(Transaction::decode(&many), Err(DecodeTransactionError::Malformed { .. })));
    }
}
