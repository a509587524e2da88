//! Applications that do what they are told: a list of steps as the arguments of `run`.
#![allow(clippy::unwrap_used, reason = "this is test code")]

use std::fs;
use std::path::Path;

use borsh::{BorshDeserialize, BorshSerialize};
use purlin_sdk::abi::{AccountId, Amount, AppId, CallOutcome, DeviceFilter, DeviceId, Gas, StorageEntry};
use purlin_sdk::private::{Arguments, Caller};
use purlin_sdk::storage::Order;
use purlin_sdk::{AppError, Event, Guest, Listed, MethodOutput, Schema, Transport, TypeNode};
use purlin_sdk::{ErrorNode, accounts, context, devices, log, storage};
use purlin_testing::{Actor, Chain, Installed};

/// All permissions.
pub(crate) const ALL: &[&str] = &["storage", "events", "accounts", "apps", "devices", "crypto"];

/// What a probe does.
#[derive(Debug, Clone, BorshSerialize, BorshDeserialize)]
pub(crate) enum Step {
    Set(Vec<u8>, Vec<u8>),
    Get(Vec<u8>),
    Remove(Vec<u8>),
    Scan { from: Vec<u8>, to: Vec<u8>, limit: u32, descending: bool },
    Emit(Vec<u8>),
    EmitLongTopic,
    Transfer(AccountId, u128),
    Balance(AccountId),
    Context,
    ConfirmationDepth,
    Device(String),
    Devices { owner: Option<AccountId>, area: Option<String>, after: Option<String>, limit: u32 },
    Call { app: String, steps: Vec<Self>, deposit: u128 },
    CallMethod(String, String),
    Query { app: String, steps: Vec<Self> },
    Sha256(Vec<u8>),
    Log(String),
    Fail(u32),
    Panic(String),
}

impl Schema for Step {
    const TYPE: &'static TypeNode = &TypeNode::Unit;
}

/// Results of the steps, each in borsh.
pub(crate) type Results = Vec<Vec<u8>>;

/// The error of `Step::Fail`.
#[derive(Debug, Clone, PartialEq, BorshSerialize, BorshDeserialize)]
pub(crate) struct ProbeError(pub(crate) u32);

impl std::fmt::Display for ProbeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "told to fail with {}", self.0)
    }
}

impl AppError for ProbeError {
    const ERRORS: &'static [ErrorNode] = &[];

    fn code(&self) -> u32 {
        self.0
    }
}

/// The event of `Step::Emit`.
#[derive(Debug, Clone, PartialEq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Note(pub(crate) Vec<u8>);

impl Schema for Note {
    const TYPE: &'static TypeNode = &TypeNode::Bytes;
}

impl Event for Note {
    const TOPIC: &'static str = "note";
    const DOC: &'static str = "";
}

impl Listed for Note {}

/// The event of `Step::EmitLongTopic`: one byte too many.
#[derive(BorshSerialize, BorshDeserialize)]
struct LongTopic;

impl Schema for LongTopic {
    const TYPE: &'static TypeNode = &TypeNode::Unit;
}

impl Event for LongTopic {
    const TOPIC: &'static str = "0123456789012345678901234567890123456789012345678901234567890123_";
    const DOC: &'static str = "";
}

impl Listed for LongTopic {}

fn bytes(value: &impl BorshSerialize) -> Vec<u8> {
    borsh::to_vec(value).unwrap()
}

fn app(name: &str) -> AppId {
    name.parse().unwrap()
}

fn perform(step: Step) -> Vec<u8> {
    match step {
        Step::Set(key, value) => bytes(&storage::set(&key, &value)),
        Step::Get(key) => bytes(&storage::get(&key)),
        Step::Remove(key) => bytes(&storage::remove(&key)),
        Step::Scan { from, to, limit, descending } => {
            let order = if descending { Order::Descending } else { Order::Ascending };
            let entries: Vec<StorageEntry> = storage::scan(&from, &to, limit, order);
            bytes(&entries)
        }
        Step::Emit(payload) => bytes(&Note(payload).emit()),
        Step::EmitLongTopic => bytes(&LongTopic.emit()),
        Step::Transfer(to, amount) => bytes(&accounts::transfer(&to, Amount::new(amount)).is_ok()),
        Step::Balance(account) => bytes(&accounts::balance(&account)),
        Step::ConfirmationDepth => bytes(&context::confirmation_depth()),
        Step::Context => bytes(&(
            context::caller(),
            context::app_id(),
            context::account(),
            context::block_height(),
            context::block_time(),
            context::deposit(),
        )),
        Step::Device(id) => bytes(&devices::get(&id.parse::<DeviceId>().unwrap())),
        Step::Devices { owner, area, after, limit } => {
            let after = after.map(|id| id.parse().unwrap());
            bytes(&devices::list(&DeviceFilter { owner, area, after, limit, ..DeviceFilter::default() }))
        }
        Step::Call { app: name, steps, deposit } => {
            let outcome = Guest.call(&app(&name), "run", &bytes(&steps), Amount::new(deposit), Gas::ZERO);
            bytes(&outcome)
        }
        Step::CallMethod(name, method) => {
            bytes(&Guest.call(&app(&name), &method, &[], Amount::ZERO, Gas::ZERO))
        }
        Step::Query { app: name, steps } => {
            bytes(&Guest.query(&app(&name), "run", &bytes(&steps), Gas::ZERO))
        }
        Step::Sha256(data) => bytes(&purlin_sdk::crypto::sha256(&data)),
        Step::Log(text) => bytes(&log::write(log::Level::Info, format_args!("{text}"))),
        Step::Fail(code) => ProbeError(code).fail(),
        Step::Panic(message) => panic!("{message}"),
    }
}

/// Runs an export of a probe.
pub(crate) fn dispatch(export: &str) -> bool {
    match export {
        "run" | "query_run" | "initialize" => {
            let mut arguments = Arguments::of("run");
            let steps: Vec<Step> = arguments.next("steps");
            arguments.end();
            steps.into_iter().map(perform).collect::<Results>().finish();
        }
        "migrate" => {
            let mut arguments = Arguments::of("migrate");
            let (old, steps): (String, Vec<Step>) = (arguments.next("old"), arguments.next("steps"));
            storage::set(b"migrated from", old.as_bytes());
            steps.into_iter().for_each(|step| drop(perform(step)));
        }
        "stop" => storage::set(b"stopped", b""),
        _ => return false,
    }
    true
}

/// The client of a probe.
pub(crate) struct ProbeClient<T>(pub(crate) Caller<T>);

impl<T: Transport> ProbeClient<T> {
    /// Calls `run`.
    pub(crate) fn run(&self, steps: &[Step]) -> CallOutcome {
        let caller = &self.0;
        caller.transport().call(caller.app(), "run", &bytes(&steps), Amount::ZERO, Gas::ZERO)
    }

    /// Calls `run` with a deposit.
    pub(crate) fn run_with(&self, steps: &[Step], deposit: u128) -> CallOutcome {
        let caller = &self.0;
        caller.transport().call(caller.app(), "run", &bytes(&steps), Amount::new(deposit), Gas::ZERO)
    }

    /// Queries `run`.
    pub(crate) fn ask(&self, steps: &[Step]) -> CallOutcome {
        let caller = &self.0;
        caller.transport().query(caller.app(), "run", &bytes(&steps), Gas::ZERO)
    }

    /// Calls any method.
    pub(crate) fn method(&self, name: &str) -> CallOutcome {
        let caller = &self.0;
        caller.transport().call(caller.app(), name, &[], Amount::ZERO, Gas::ZERO)
    }
}

/// Makes a probe type whose folder is made by [`write_manifest`].
macro_rules! probe {
    ($name:ident, $folder:literal) => {
        pub(crate) struct $name;

        impl purlin_sdk::State for $name {
            const DOC: &'static str = "";
            const FIELDS: &'static [purlin_sdk::private::StateNode] = &[];

            fn attach() -> Self {
                Self
            }
        }

        impl purlin_sdk::App for $name {
            const NAME: &'static str = stringify!($name);
            const MANIFEST_DIR: &'static str = concat!(env!("CARGO_TARGET_TMPDIR"), "/", $folder);
            const SCHEMA: &'static [u8] = b"{}";
            type InitArguments = Vec<$crate::probe::Step>;
            type MigrateArguments = Vec<$crate::probe::Step>;
            type Client<T: purlin_sdk::Transport> = $crate::probe::ProbeClient<T>;

            fn client<T: purlin_sdk::Transport>(
                app: purlin_sdk::abi::AppId,
                transport: T,
            ) -> Self::Client<T> {
                $crate::probe::ProbeClient(purlin_sdk::private::Caller::new(app, transport))
            }

            fn dispatch(export: &str) -> bool {
                $crate::probe::dispatch(export)
            }
        }
    };
}
pub(crate) use probe;

/// Writes the manifest of a probe; `more` are further fields.
pub(crate) fn write_manifest<A: purlin_sdk::App>(id: &str, version: &str, permissions: &[&str], more: &str) {
    let folder = Path::new(A::MANIFEST_DIR);
    fs::create_dir_all(folder).unwrap();
    let text = format!(
        r#"{{"id":"{id}","name":"Probe","version":"{version}","abi":1,"permissions":{permissions:?}{more}}}"#
    );
    // Tests run in parallel: a reader must not see half a file.
    let unfinished = folder.join(format!("manifest.{:?}", std::thread::current().id()));
    fs::write(&unfinished, text).unwrap();
    fs::rename(unfinished, folder.join("manifest.json")).unwrap();
}

/// Installs a probe with all permissions.
pub(crate) fn install<A>(chain: &Chain, id: &str) -> Installed<A>
where
    A: purlin_sdk::App<InitArguments = Vec<Step>, Client<Actor> = ProbeClient<Actor>>,
{
    write_manifest::<A>(id, "1.0.0", ALL, "");
    chain.install::<A>(chain.account("owner"), Vec::new())
}

/// Reads the result of one step.
pub(crate) fn result<T: BorshDeserialize>(outcome: &CallOutcome, index: usize) -> T {
    let bytes = outcome.as_ref().unwrap_or_else(|failure| panic!("{failure:?}"));
    let results: Results = borsh::from_slice(bytes).unwrap();
    borsh::from_slice(&results[index]).unwrap()
}
