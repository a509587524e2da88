//! The one interface over both ways to run applications.

use std::cell::RefCell;
use std::fmt;
use std::fs;
use std::marker::PhantomData;
use std::path::Path;
use std::rc::Rc;

use purlin_abi::test_host::{Answer, EmittedEvent, Report, Request, Response};
use purlin_abi::{
    AccountId, Amount, AppId, CallFailure, CallOutcome, Gas, Height, Manifest, StorageEntry, TimestampMs,
};
use purlin_sdk::{App, Event, Transport};
use sha3::{Digest, Keccak256};

use crate::device::TestDevice;
use crate::native::{Dispatch, NativeChain};
use crate::wasm::{self, TestHost};

/// How a chain runs applications.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// As the native code that the test is linked with: fast, and a debugger works.
    Native,
    /// As the compiled wasm, in the runtime and executor that nodes use.
    Wasm,
}

enum Host {
    Native(NativeChain),
    Wasm(TestHost),
}

struct Inner {
    host: Host,
    last: Option<Report>,
    gas_of_query: Gas,
    diagnostic: Option<String>,
}

/// A chain of its own for one test; cloning gives another handle to the same chain.
///
/// Every call is a block. Methods panic, with what to do, when the chain itself fails or a request makes no
/// sense; what applications answer is returned.
#[derive(Clone)]
pub struct Chain {
    inner: Rc<RefCell<Inner>>,
    backend: Backend,
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain").field("backend", &self.backend).finish_non_exhaustive()
    }
}

impl Chain {
    /// Starts an empty chain.
    pub fn start(backend: Backend) -> Self {
        let host = match backend {
            Backend::Native => Host::Native(NativeChain::new()),
            Backend::Wasm => Host::Wasm(TestHost::start()),
        };
        let inner = Inner { host, last: None, gas_of_query: Gas::ZERO, diagnostic: None };
        Self { inner: Rc::new(RefCell::new(inner)), backend }
    }

    /// Returns how this chain runs applications.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Returns the account of a person: the same name is the same account in every test. It has no funds.
    pub fn account(&self, name: &str) -> AccountId {
        let hash = Keccak256::digest([b"purlin.testing.account:", name.as_bytes()].concat());
        AccountId::new(hash[12..].try_into().expect("32 - 12 is 20"))
    }

    /// Installs and starts an application from its folder; `arguments` are those of its `#[init]` method, as a
    /// tuple. Panics when it is refused.
    #[track_caller]
    pub fn install<A: App>(&self, owner: AccountId, arguments: A::InitArguments) -> Installed<A> {
        match self.try_install(owner, arguments) {
            Ok(installed) => installed,
            Err(failure) => panic!("{} was not installed: {}: {}", A::NAME, failure.code, failure.message),
        }
    }

    /// Installs and starts an application from its folder, or says why it was refused.
    pub fn try_install<A: App>(
        &self,
        owner: AccountId,
        arguments: A::InitArguments,
    ) -> Result<Installed<A>, CallFailure> {
        let (app, manifest, wasm) = self.read_app::<A>();
        let request = Request::Install { owner, manifest, wasm, arguments: encode(&arguments) };
        self.report(request, Some(A::dispatch)).outcome?;
        Ok(Installed { app, owner, chain: self.clone(), code: PhantomData })
    }

    /// Adds newly made native units to an account.
    pub fn fund(&self, account: AccountId, amount: u128) {
        match self.request(Request::Fund { account, amount: Amount::new(amount) }) {
            Response::Done => {}
            other => unexpected(&other),
        }
    }

    /// Returns a native balance.
    pub fn balance(&self, account: AccountId) -> u128 {
        match self.request(Request::Balance { account }) {
            Response::Balance(amount) => amount.get(),
            other => unexpected(&other),
        }
    }

    /// Sets the time of the next block, in milliseconds since 1970. Times must not go back.
    pub fn set_time(&self, time_ms: u64) {
        self.block_request(Request::SetBlock { height: None, time: Some(TimestampMs::new(time_ms)) });
    }

    /// Sets the height of the next block. Heights must grow.
    pub fn set_height(&self, height: u64) {
        self.block_request(Request::SetBlock { height: Some(Height::new(height)), time: None });
    }

    /// Sets how many blocks must stand on a block before it counts as final; 0, as under proof of stake, until set.
    /// Only what applications are told changes: the blocks of a test chain are never taken back.
    pub fn set_confirmation_depth(&self, blocks: u64) {
        match self.request(Request::SetConfirmationDepth { blocks }) {
            Response::Done => {}
            other => unexpected(&other),
        }
    }

    /// Makes empty blocks, one second apart.
    pub fn advance(&self, blocks: u64) {
        self.block_request(Request::Advance { blocks });
    }

    /// Returns height and time that a query would see now.
    pub fn block(&self) -> (Height, TimestampMs) {
        self.block_request(Request::Block)
    }

    /// Registers a device. Panics when it is refused.
    #[track_caller]
    pub fn register_device(&self, owner: AccountId, device: &TestDevice) {
        let request = Request::RegisterDevice {
            owner,
            id: device.id.clone(),
            description: device.description(),
            area: device.area.clone(),
            tags: device.tags.clone(),
            key: device.key(),
        };
        self.expect(request);
    }

    /// Gives a device to another owner. Panics when it is refused.
    #[track_caller]
    pub fn transfer_device(&self, owner: AccountId, device: &TestDevice, to: AccountId) {
        self.expect(Request::TransferDevice { owner, id: device.id.clone(), to });
    }

    /// Takes a device out for good. Panics when it is refused.
    #[track_caller]
    pub fn revoke_device(&self, owner: AccountId, device: &TestDevice) {
        self.expect(Request::RevokeDevice { owner, id: device.id.clone() });
    }

    /// Returns what the last block did. Panics before the first one.
    #[track_caller]
    pub fn last_report(&self) -> Report {
        self.inner.borrow().last.clone().expect("no block was made yet: call a method first")
    }

    /// Returns the gas that the last block used; `None` natively, where nothing is metered.
    #[track_caller]
    pub fn gas_used(&self) -> Option<Gas> {
        (self.backend == Backend::Wasm).then(|| self.last_report().gas_used)
    }

    /// Returns the gas that the last query used; `None` natively, where nothing is metered.
    pub fn gas_of_query(&self) -> Option<Gas> {
        (self.backend == Backend::Wasm).then(|| self.inner.borrow().gas_of_query)
    }

    /// Returns log lines and backtrace of the last call or query, for people.
    pub fn diagnostic(&self) -> Option<String> {
        self.inner.borrow().diagnostic.clone()
    }

    /// Returns the events of all applications since the start, in order of emission.
    pub fn events(&self) -> Vec<EmittedEvent> {
        let mut events = Vec::new();
        loop {
            match self.request(Request::Events { from: events.len() as u64, limit: 0 }) {
                Response::Events(page) if page.is_empty() => return events,
                Response::Events(page) => events.extend(page),
                other => unexpected(&other),
            }
        }
    }

    /// Returns the way to applications for an account; [`Installed::by`] is the usual way to get a client.
    pub fn actor(&self, account: AccountId) -> Actor {
        Actor { chain: self.clone(), account }
    }

    fn read_app<A: App>(&self) -> (AppId, String, Vec<u8>) {
        let folder = Path::new(A::MANIFEST_DIR);
        let path = folder.join("manifest.json");
        let text = fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
        let manifest: Manifest =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let wasm = match self.backend {
            Backend::Native => Vec::new(),
            Backend::Wasm => wasm::read_module(folder, &manifest.id),
        };
        (manifest.id, text, wasm)
    }

    fn request(&self, request: Request) -> Response {
        self.request_with(request, None)
    }

    fn request_with(&self, request: Request, dispatch: Option<Dispatch>) -> Response {
        match &mut self.inner.borrow_mut().host {
            Host::Native(chain) => chain.request(request, dispatch),
            Host::Wasm(host) => host.request(&request),
        }
    }

    fn report(&self, request: Request, dispatch: Option<Dispatch>) -> Report {
        match self.request_with(request, dispatch) {
            Response::Report(report) => {
                let mut inner = self.inner.borrow_mut();
                inner.last = Some(report.clone());
                inner.diagnostic.clone_from(&report.diagnostic);
                report
            }
            other => unexpected(&other),
        }
    }

    #[track_caller]
    fn expect(&self, request: Request) {
        if let Err(failure) = self.report(request, None).outcome {
            panic!("{}: {}", failure.code, failure.message);
        }
    }

    fn answer(&self, request: Request) -> Answer {
        match self.request(request) {
            Response::Answer(answer) => {
                let mut inner = self.inner.borrow_mut();
                inner.gas_of_query = answer.gas_used;
                inner.diagnostic.clone_from(&answer.diagnostic);
                answer
            }
            other => unexpected(&other),
        }
    }

    fn block_request(&self, request: Request) -> (Height, TimestampMs) {
        match self.request(request) {
            Response::Block { height, time } => (height, time),
            other => unexpected(&other),
        }
    }
}

fn unexpected(response: &Response) -> ! {
    match response {
        Response::Refused { message } => panic!("the test chain refused: {message}"),
        Response::Fault { message } => panic!("the test chain failed: {message}"),
        other => panic!("the test chain answered something else: {other:?}"),
    }
}

fn encode(value: &impl borsh::BorshSerialize) -> Vec<u8> {
    borsh::to_vec(value).expect("writing to memory cannot fail")
}

/// An application on a chain.
pub struct Installed<A> {
    app: AppId,
    owner: AccountId,
    chain: Chain,
    code: PhantomData<fn() -> A>,
}

impl<A> Clone for Installed<A> {
    fn clone(&self) -> Self {
        Self { app: self.app.clone(), owner: self.owner, chain: self.chain.clone(), code: PhantomData }
    }
}

impl<A> fmt::Debug for Installed<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Installed")
            .field("app", &self.app)
            .field("owner", &self.owner)
            .finish_non_exhaustive()
    }
}

impl<A: App> Installed<A> {
    /// Returns the typed client of an account.
    pub fn by(&self, account: AccountId) -> A::Client<Actor> {
        A::client(self.app.clone(), self.chain.actor(account))
    }

    /// Returns the application's name.
    pub fn id(&self) -> &AppId {
        &self.app
    }

    /// Returns who installed it.
    pub fn owner(&self) -> AccountId {
        self.owner
    }

    /// Returns the account that the application owns.
    pub fn account(&self) -> AccountId {
        match self.chain.request(Request::AppAccount { app: self.app.clone() }) {
            Response::Account(account) => account,
            other => unexpected(&other),
        }
    }

    /// Replaces it by a newer version; `arguments` are those of its `#[migrate]` method after the old version.
    pub fn upgrade<B: App>(self, arguments: B::MigrateArguments) -> Result<Installed<B>, CallFailure> {
        let (app, manifest, wasm) = self.chain.read_app::<B>();
        let request = Request::Upgrade { owner: self.owner, manifest, wasm, arguments: encode(&arguments) };
        self.chain.report(request, Some(B::dispatch)).outcome?;
        Ok(Installed { app, owner: self.owner, chain: self.chain, code: PhantomData })
    }

    /// Stops it; its `#[stop]` method runs first.
    pub fn stop(&self) -> Result<(), CallFailure> {
        let request = Request::Stop { owner: self.owner, app: self.app.clone() };
        self.chain.report(request, None).outcome.map(drop)
    }

    /// Starts it again.
    pub fn start(&self) -> Result<(), CallFailure> {
        let request = Request::Start { owner: self.owner, app: self.app.clone() };
        self.chain.report(request, None).outcome.map(drop)
    }

    /// Removes it, when it is stopped.
    pub fn uninstall(self) -> Result<(), CallFailure> {
        let request = Request::Uninstall { owner: self.owner, app: self.app.clone() };
        self.chain.report(request, None).outcome.map(drop)
    }

    /// Returns its events of one type since the start. Panics when a payload is not of this type.
    #[track_caller]
    pub fn events<E: Event>(&self) -> Vec<E> {
        self.chain.events().iter().filter_map(|emitted| self.decode(&emitted.event)).collect()
    }

    /// Returns its events of one type in the last block. Panics when a payload is not of this type.
    #[track_caller]
    pub fn last_events<E: Event>(&self) -> Vec<E> {
        self.chain.last_report().events.iter().filter_map(|event| self.decode(event)).collect()
    }

    fn decode<E: Event>(&self, event: &purlin_abi::Event) -> Option<E> {
        let mine = event.app == self.app && event.topic == E::TOPIC;
        mine.then(|| match E::try_from_slice(&event.payload) {
            Ok(event) => event,
            Err(error) => panic!("event {:?} of {} is of another type: {error}", event.topic, event.app),
        })
    }

    /// Returns one value of its storage, by key: `total_supply`.
    pub fn storage(&self, key: impl AsRef<[u8]>) -> Option<Vec<u8>> {
        match self.chain.request(Request::StorageGet { app: self.app.clone(), key: key.as_ref().to_vec() }) {
            Response::Value(value) => value,
            other => unexpected(&other),
        }
    }

    /// Returns its whole storage in key order: what two runs that agree have in common.
    pub fn dump(&self) -> Vec<StorageEntry> {
        let mut entries: Vec<StorageEntry> = Vec::new();
        loop {
            // The shortest key after the last one is that with a zero byte added.
            let from = entries.last().map(|last| [&last.key[..], &[0]].concat()).unwrap_or_default();
            match self.chain.request(Request::StorageScan { app: self.app.clone(), from, limit: 0 }) {
                Response::Entries(page) if page.is_empty() => return entries,
                Response::Entries(page) => entries.extend(page),
                other => unexpected(&other),
            }
        }
    }
}

/// The way from a test to applications, on behalf of one account.
#[derive(Debug, Clone)]
pub struct Actor {
    chain: Chain,
    account: AccountId,
}

impl Transport for Actor {
    fn call(&self, app: &AppId, method: &str, arguments: &[u8], deposit: Amount, gas: Gas) -> CallOutcome {
        let request = Request::Call {
            caller: self.account,
            app: app.clone(),
            method: method.to_string(),
            arguments: arguments.to_vec(),
            deposit,
            gas_limit: (gas > Gas::ZERO).then_some(gas),
        };
        self.chain.report(request, None).outcome
    }

    fn query(&self, app: &AppId, method: &str, arguments: &[u8], gas: Gas) -> CallOutcome {
        let request = Request::Query {
            caller: self.account,
            app: app.clone(),
            method: method.to_string(),
            arguments: arguments.to_vec(),
            gas_limit: (gas > Gas::ZERO).then_some(gas),
        };
        self.chain.answer(request).outcome
    }
}
