//! Transactions, receipts and what became of them.

use purlin_primitives::{
    AccountId, Action, Amount, AppId, BlockId, CallFailure, ChainId, DeviceId, Gas, Height, Outcome,
    PublicKey, Receipt, TimestampMs, Transaction, TransactionBody, TransactionId,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::device::{DeviceKeyView, algorithm_name};
use crate::{EventView, HexBytes, Problem};

/// A transaction in JSON form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SubmitRequest {
    /// Canonical bytes of the signed transaction.
    pub transaction: HexBytes,
}

/// Several transactions in JSON form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SubmitBatchRequest {
    /// Canonical bytes of each signed transaction, in the order of submission.
    pub transactions: Vec<HexBytes>,
}

/// Says that a transaction waits for a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Submitted {
    /// Its id, to ask for it.
    #[schema(value_type = String)]
    pub id: TransactionId,
}

/// What became of one transaction of a batch: exactly one field is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BatchItem {
    /// Its id, when it waits for a block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub id: Option<TransactionId>,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BatchResult {
    /// How many wait for a block.
    pub accepted: u32,
    /// One per transaction, in the order of the request.
    pub results: Vec<BatchItem>,
}

/// Why an action had no effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FailureView {
    /// Stable code: `out_of_gas`.
    pub code: String,
    /// Application in which it happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub app: Option<AppId>,
    /// One sentence for a person.
    pub message: String,
    /// The application's own error number, with `app_error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_code: Option<u32>,
    /// The application's own error value in borsh, with `app_error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_error: Option<HexBytes>,
}

impl From<&CallFailure> for FailureView {
    fn from(failure: &CallFailure) -> Self {
        Self {
            code: failure.code.as_str().into(),
            app: failure.app.clone(),
            message: failure.message.clone(),
            app_code: failure.app_code,
            app_error: (!failure.app_error.is_empty()).then(|| HexBytes(failure.app_error.clone())),
        }
    }
}

/// Result of one action.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ActionOutput {
    /// Borsh of the result; empty when the action has none.
    pub borsh: HexBytes,
    /// The result as JSON, when the application's schema can read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub value: Option<Value>,
}

/// Whether a transaction took effect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum OutcomeView {
    /// All actions did.
    Succeeded {
        /// One per action.
        outputs: Vec<ActionOutput>,
    },
    /// None did; fee and nonce are spent.
    Failed {
        /// Zero-based index of the action that failed.
        action: u32,
        /// Why.
        failure: FailureView,
    },
}

impl OutcomeView {
    /// Copies an outcome; outputs carry no JSON value yet.
    pub fn new(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Succeeded { outputs } => Self::Succeeded {
                outputs: outputs
                    .iter()
                    .map(|output| ActionOutput { borsh: HexBytes(output.clone()), value: None })
                    .collect(),
            },
            Outcome::Failed { action, failure } => Self::Failed { action: *action, failure: failure.into() },
        }
    }
}

/// What a transaction did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReceiptView {
    /// Which transaction.
    #[schema(value_type = String)]
    pub transaction: TransactionId,
    /// Whether it took effect.
    pub outcome: OutcomeView,
    /// Work done.
    #[schema(value_type = u64)]
    pub gas_used: Gas,
    /// Native units paid.
    #[schema(value_type = String)]
    pub fee: Amount,
    /// In order of emission.
    pub events: Vec<ReceiptEvent>,
}

/// An event inside a receipt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReceiptEvent {
    /// Application that emitted it.
    #[schema(value_type = String)]
    pub app: AppId,
    /// What kind.
    pub topic: String,
    /// Borsh of its fields.
    pub payload: HexBytes,
    /// The fields by name, when the application's current schema can read them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub data: Option<Value>,
}

impl From<EventView> for ReceiptEvent {
    fn from(event: EventView) -> Self {
        Self { app: event.app, topic: event.topic, payload: event.payload, data: event.data }
    }
}

impl ReceiptView {
    /// Copies a receipt; nothing is decoded by schema yet.
    pub fn new(receipt: &Receipt) -> Self {
        Self {
            transaction: receipt.transaction,
            outcome: OutcomeView::new(&receipt.outcome),
            gas_used: receipt.gas_used,
            fee: receipt.fee,
            events: receipt
                .events
                .iter()
                .map(|event| ReceiptEvent {
                    app: event.app.clone(),
                    topic: event.topic.clone(),
                    payload: HexBytes(event.payload.clone()),
                    data: None,
                })
                .collect(),
        }
    }

    /// Says whether the actions took effect.
    pub fn succeeded(&self) -> bool {
        matches!(self.outcome, OutcomeView::Succeeded { .. })
    }
}

/// Where a transaction is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum TransactionPlace {
    /// Waits for a block.
    Pending,
    /// In a durable block.
    Committed {
        /// Height of the block.
        #[schema(value_type = u64)]
        height: Height,
        /// Id of the block.
        #[schema(value_type = String)]
        block: BlockId,
        /// Zero-based index in the block.
        index: u32,
        /// Time of the block in milliseconds since 1970.
        #[schema(value_type = u64)]
        time: TimestampMs,
        /// Blocks on top of it.
        #[serde(default)]
        confirmations: u64,
        /// Whether that makes it final: always under proof of stake. Under proof of work a block that is not may
        /// still leave the chain; the transaction then waits again.
        #[serde(rename = "final", default)]
        is_final: bool,
    },
}

/// A transaction and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TransactionView {
    /// Its id.
    #[schema(value_type = String)]
    pub id: TransactionId,
    /// Where it is.
    pub place: TransactionPlace,
    /// What was signed.
    pub body: BodyView,
    /// What it did, once committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<ReceiptView>,
    /// This node's explanation: log lines and a backtrace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diagnostic: Option<String>,
}

/// What a sender signed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BodyView {
    /// For which chain.
    #[schema(value_type = String)]
    pub chain_id: ChainId,
    /// Who.
    #[schema(value_type = String)]
    pub sender: AccountId,
    /// Number of this sender's transactions before this one.
    pub nonce: u64,
    /// Last height at which it could be included.
    #[schema(value_type = u64)]
    pub expires_at: Height,
    /// Most gas it may use.
    #[schema(value_type = u64)]
    pub gas_limit: Gas,
    /// Native units offered for inclusion.
    #[schema(value_type = String)]
    pub fee: Amount,
    /// Applications it may touch; empty means any.
    #[schema(value_type = Vec<String>)]
    pub access: Vec<AppId>,
    /// What it does.
    pub actions: Vec<ActionView>,
}

/// One thing a transaction does. Packages are given by size only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ActionView {
    /// Moves native units from the sender.
    Transfer {
        /// Receiver.
        #[schema(value_type = String)]
        to: AccountId,
        /// How much.
        #[schema(value_type = String)]
        amount: Amount,
    },
    /// Installs a package.
    InstallApp {
        /// Bytes of the package.
        package_bytes: u64,
        /// Borsh arguments of `initialize`.
        arguments: HexBytes,
    },
    /// Starts an application.
    StartApp {
        /// Which.
        #[schema(value_type = String)]
        app: AppId,
    },
    /// Stops an application.
    StopApp {
        /// Which.
        #[schema(value_type = String)]
        app: AppId,
    },
    /// Replaces an application's code.
    UpgradeApp {
        /// Bytes of the package.
        package_bytes: u64,
        /// Borsh arguments of `migrate`.
        arguments: HexBytes,
    },
    /// Removes an application.
    UninstallApp {
        /// Which.
        #[schema(value_type = String)]
        app: AppId,
    },
    /// Calls a method.
    CallApp {
        /// Which application.
        #[schema(value_type = String)]
        app: AppId,
        /// Method.
        method: String,
        /// Borsh arguments.
        arguments: HexBytes,
        /// The arguments by name, when the application's current schema can read them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<Object>)]
        arguments_json: Option<Value>,
        /// Native units that go with the call.
        #[schema(value_type = String)]
        deposit: Amount,
    },
    /// Registers a device.
    RegisterDevice {
        /// Its name.
        #[schema(value_type = String)]
        id: DeviceId,
        /// Thing Description, JSON text.
        description: String,
        /// Where it is.
        area: String,
        /// Free labels.
        tags: Vec<String>,
        /// Its public key.
        key: DeviceKeyView,
    },
    /// Changes what is known of a device.
    UpdateDevice {
        /// Which.
        #[schema(value_type = String)]
        id: DeviceId,
        /// New Thing Description, JSON text.
        description: Option<String>,
        /// New place.
        area: Option<String>,
        /// New labels.
        tags: Option<Vec<String>>,
    },
    /// Gives a device to another owner.
    TransferDevice {
        /// Which.
        #[schema(value_type = String)]
        id: DeviceId,
        /// New owner.
        #[schema(value_type = String)]
        to: AccountId,
    },
    /// Replaces a device's key.
    RotateDeviceKey {
        /// Which.
        #[schema(value_type = String)]
        id: DeviceId,
        /// New key.
        key: DeviceKeyView,
    },
    /// Takes a device out for good.
    RevokeDevice {
        /// Which.
        #[schema(value_type = String)]
        id: DeviceId,
    },
    /// Puts native units of the sender at stake for validating.
    Bond {
        /// The key that will sign blocks.
        #[schema(value_type = String)]
        validator: PublicKey,
        /// How much.
        #[schema(value_type = String)]
        amount: Amount,
    },
    /// Takes native units of the sender out of stake; they come back after the unbonding time.
    Unbond {
        /// How much.
        #[schema(value_type = String)]
        amount: Amount,
    },
    /// Lets a validator that was jailed for absence take part again.
    Unjail,
    /// Shows that a validator signed two things that exclude each other.
    ReportEquivocation {
        /// Whose signatures they claim to be.
        #[schema(value_type = String)]
        offender: PublicKey,
        /// Height at which it happened.
        #[schema(value_type = u64)]
        height: Height,
        /// Borsh of the proof: both messages and both signatures.
        evidence: HexBytes,
    },
}

impl From<&Action> for ActionView {
    fn from(action: &Action) -> Self {
        let key_view = |key: &purlin_abi::DeviceKey| DeviceKeyView {
            algorithm: algorithm_name(key.algorithm).into(),
            bytes: HexBytes(key.bytes.clone()),
        };
        match action {
            Action::Transfer { to, amount } => Self::Transfer { to: *to, amount: *amount },
            Action::InstallApp { package, arguments } => Self::InstallApp {
                package_bytes: package.len() as u64,
                arguments: HexBytes(arguments.clone()),
            },
            Action::StartApp { app } => Self::StartApp { app: app.clone() },
            Action::StopApp { app } => Self::StopApp { app: app.clone() },
            Action::UpgradeApp { package, arguments } => Self::UpgradeApp {
                package_bytes: package.len() as u64,
                arguments: HexBytes(arguments.clone()),
            },
            Action::UninstallApp { app } => Self::UninstallApp { app: app.clone() },
            Action::CallApp { app, method, arguments, deposit } => Self::CallApp {
                app: app.clone(),
                method: method.clone(),
                arguments: HexBytes(arguments.clone()),
                arguments_json: None,
                deposit: *deposit,
            },
            Action::RegisterDevice { id, description, area, tags, key } => Self::RegisterDevice {
                id: id.clone(),
                description: description.clone(),
                area: area.clone(),
                tags: tags.clone(),
                key: key_view(key),
            },
            Action::UpdateDevice { id, description, area, tags } => Self::UpdateDevice {
                id: id.clone(),
                description: description.clone(),
                area: area.clone(),
                tags: tags.clone(),
            },
            Action::TransferDevice { id, to } => Self::TransferDevice { id: id.clone(), to: *to },
            Action::RotateDeviceKey { id, key } => {
                Self::RotateDeviceKey { id: id.clone(), key: key_view(key) }
            }
            Action::RevokeDevice { id } => Self::RevokeDevice { id: id.clone() },
            Action::Bond { validator, amount } => Self::Bond { validator: *validator, amount: *amount },
            Action::Unbond { amount } => Self::Unbond { amount: *amount },
            Action::Unjail => Self::Unjail,
            Action::ReportEquivocation { evidence } => Self::ReportEquivocation {
                offender: *evidence.offender(),
                height: evidence.height(),
                evidence: HexBytes(borsh::to_vec(evidence).expect("writing to memory cannot fail")),
            },
        }
    }
}

impl From<&TransactionBody> for BodyView {
    fn from(body: &TransactionBody) -> Self {
        Self {
            chain_id: body.chain_id.clone(),
            sender: body.sender,
            nonce: body.nonce,
            expires_at: body.expires_at,
            gas_limit: body.gas_limit,
            fee: body.fee,
            access: body.access.clone(),
            actions: body.actions.iter().map(ActionView::from).collect(),
        }
    }
}

impl From<&Transaction> for BodyView {
    fn from(transaction: &Transaction) -> Self {
        Self::from(&transaction.body)
    }
}

/// An unsigned transaction to try out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SimulateRequest {
    /// Borsh of the transaction's body; nonce, fee and expiry are not checked.
    pub body: HexBytes,
}

/// What a transaction would do now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SimulateResult {
    /// Height of the state it ran on.
    #[schema(value_type = u64)]
    pub height: Height,
    /// What it would have done.
    pub receipt: ReceiptView,
    /// Log lines and a backtrace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diagnostic: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use purlin_primitives::{Equivocation, Hash32, SecretKey, Vote, VoteKind};
    use serde_json::json;

    #[test]
    fn actions_of_staking_have_a_form_for_people() {
        let key = SecretKey::from_bytes(&[1; 32]).expect("a number below the group order");
        let sign = |block| {
            key.sign_vote(Vote {
                chain_id: "test".parse().expect("a chain id"),
                height: Height::new(7),
                round: 0,
                kind: VoteKind::Prevote,
                block: Some(BlockId::new(Hash32::new([block; 32]))),
            })
        };
        let evidence = Equivocation::votes(sign(1), sign(2));
        let bytes = borsh::to_vec(&evidence).expect("writing to memory cannot fail");
        let validator = key.public_key();
        let amount = Amount::new(u128::MAX);
        let actions = [
            Action::Bond { validator, amount },
            Action::Unbond { amount: Amount::new(5) },
            Action::Unjail,
            Action::ReportEquivocation { evidence },
        ];
        let views: Vec<ActionView> = actions.iter().map(ActionView::from).collect();
        let text = validator.to_string();
        let expected = json!([
            {"type": "bond", "validator": text, "amount": "340282366920938463463374607431768211455"},
            {"type": "unbond", "amount": "5"},
            {"type": "unjail"},
            {"type": "report_equivocation", "offender": text, "height": 7, "evidence": HexBytes(bytes)},
        ]);
        assert_eq!(serde_json::to_value(&views).expect("views are JSON"), expected);
        assert_eq!(serde_json::from_value::<Vec<ActionView>>(expected).expect("and back"), views);
    }
}
