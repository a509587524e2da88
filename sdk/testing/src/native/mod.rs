//! A chain in memory that runs applications as the native code they are linked with.

mod crypto;
mod devices;
mod host;
mod world;

use std::cell::RefCell;
use std::rc::Rc;

use purlin_abi::host::{CAPABILITIES, EXPORT_INITIALIZE, EXPORT_MIGRATE, EXPORT_STOP, permission_of};
use purlin_abi::test_host::{
    Answer, EmittedEvent, PAGE_ENTRIES_MAX, PROTOCOL_VERSION, Report, Request, Response,
};
use purlin_abi::{
    ABI_VERSION, AccountId, Amount, AppId, CallFailure, CallOutcome, DeviceStatus, FailureCode, Gas,
    Manifest, StorageEntry,
};
use semver::{Version, VersionReq};

use devices::Registration;
use host::{Entry, Invocation, app_account, invoke};
pub(crate) use world::Dispatch;
use world::{AppEntry, World};

/// Answers the requests of the test host protocol, except that applications are functions instead of wasm.
pub(crate) struct NativeChain {
    world: Rc<RefCell<World>>,
}

fn fail<T>(code: FailureCode, message: impl Into<String>) -> Result<T, CallFailure> {
    Err(CallFailure::new(code, message))
}

impl NativeChain {
    pub(crate) fn new() -> Self {
        Self { world: Rc::new(RefCell::new(World::new())) }
    }

    /// Answers a request. `dispatch` is the code of the application that `Install` and `Upgrade` bring.
    pub(crate) fn request(&mut self, request: Request, dispatch: Option<Dispatch>) -> Response {
        match request {
            Request::Hello { .. } => Response::Hello { version: PROTOCOL_VERSION, host: "native".into() },
            Request::Install { owner, manifest, arguments, .. } => {
                self.block(|chain| chain.install(owner, &manifest, arguments, code(dispatch)))
            }
            Request::Upgrade { owner, manifest, arguments, .. } => {
                self.block(|chain| chain.upgrade(owner, &manifest, &arguments, code(dispatch)))
            }
            Request::Start { owner, app } => self.block(|chain| {
                chain.owned(owner, &app)?;
                chain.set_running(&app, true);
                Ok(Vec::new())
            }),
            Request::Stop { owner, app } => self.block(|chain| chain.stop(owner, &app)),
            Request::Uninstall { owner, app } => self.block(|chain| chain.uninstall(owner, &app)),
            Request::Call { caller, app, method, arguments, deposit, .. } => self.block(|chain| {
                chain.invoke(Invocation { app, entry: Entry::Call(method), caller, arguments, deposit })
            }),
            Request::Query { caller, app, method, arguments, .. } => {
                let call =
                    Invocation { app, entry: Entry::Query(method), caller, arguments, deposit: Amount::ZERO };
                self.query(call)
            }
            Request::Fund { account, amount } => match self.world.borrow_mut().mint(account, amount) {
                true => Response::Done,
                false => {
                    Response::Refused { message: format!("{amount} more would be more than 2^128-1 in all") }
                }
            },
            Request::Balance { account } => Response::Balance(self.world.borrow().balance(&account)),
            Request::AppAccount { app } => Response::Account(app_account(&app)),
            Request::SetBlock { height, time } => {
                let result = self.world.borrow_mut().clock.choose(height, time);
                self.block_or_refusal(result)
            }
            Request::SetConfirmationDepth { blocks } => {
                self.world.borrow_mut().confirmation_depth = blocks;
                Response::Done
            }
            Request::Advance { blocks } => {
                let result = self.world.borrow_mut().clock.advance(blocks);
                self.block_or_refusal(result)
            }
            Request::Block => self.block_or_refusal(Ok(())),
            Request::Events { from, limit } => Response::Events(self.events(from, limit)),
            Request::RegisterDevice { owner, id, description, area, tags, key } => {
                let registration = Registration { owner, id, description, area, tags, key };
                self.change_devices(|devices, height| devices::register(devices, registration, height))
            }
            Request::TransferDevice { owner, id, to } => self.change_devices(|devices, height| {
                devices::update(devices, owner, &id, height, |device| device.owner = to)
            }),
            Request::RevokeDevice { owner, id } => self.change_devices(|devices, height| {
                devices::update(devices, owner, &id, height, |device| device.status = DeviceStatus::Revoked)
            }),
            Request::StorageGet { app, key } => Response::Value(self.world.borrow().get(&app, &key).cloned()),
            Request::StorageScan { app, from, limit } => Response::Entries(self.storage(&app, from, limit)),
        }
    }

    /// Runs one transaction in a block of its own.
    fn block(&mut self, action: impl FnOnce(&mut Self) -> CallOutcome) -> Response {
        let checkpoint = {
            let mut world = self.world.borrow_mut();
            world.block = world.clock.next();
            world.checkpoint()
        };
        let outcome = action(self);
        let mut world = self.world.borrow_mut();
        if outcome.is_err() {
            world.rollback(&checkpoint);
        }
        world.commit();
        if let Err(message) = world.clock.advance(1) {
            return Response::Fault { message };
        }
        let (height, time) = world.block;
        let events = std::mem::take(&mut world.events);
        let position = world.history.len() as u64;
        let emitted = events.iter().zip(position..);
        let emitted: Vec<EmittedEvent> = emitted
            .map(|(event, position)| EmittedEvent { position, height, time, event: event.clone() })
            .collect();
        world.history.extend(emitted);
        let diagnostic = take_log(&mut world);
        Response::Report(Report { outcome, gas_used: Gas::ZERO, events, height, time, diagnostic })
    }

    fn query(&mut self, call: Invocation) -> Response {
        {
            let mut world = self.world.borrow_mut();
            world.block = world.clock.view();
        }
        let outcome = self.invoke(call);
        let mut world = self.world.borrow_mut();
        world.commit();
        Response::Answer(Answer { outcome, gas_used: Gas::ZERO, diagnostic: take_log(&mut world) })
    }

    fn invoke(&mut self, call: Invocation) -> CallOutcome {
        invoke(&self.world, call)
    }

    /// Runs a life-cycle export. `before` goes in front of the arguments.
    fn lifecycle(
        &mut self,
        app: &AppId,
        export: &'static str,
        caller: AccountId,
        before: &[u8],
        arguments: &[u8],
    ) -> CallOutcome {
        let entry = Entry::Lifecycle { export, with_arguments: !arguments.is_empty() };
        let arguments = [before, arguments].concat();
        self.invoke(Invocation { app: app.clone(), entry, caller, arguments, deposit: Amount::ZERO })
    }

    fn install(
        &mut self,
        owner: AccountId,
        manifest: &str,
        arguments: Vec<u8>,
        dispatch: Dispatch,
    ) -> CallOutcome {
        let manifest = read_manifest(manifest)?;
        let app = manifest.id.clone();
        if self.world.borrow().apps.contains_key(&app) {
            return fail(FailureCode::AppExists, format!("application {app} is installed already"));
        }
        self.check_dependencies(&manifest)?;
        let entry = AppEntry { owner, manifest, dispatch, running: true };
        self.world.borrow_mut().apps.insert(app.clone(), entry);
        let outcome = self.lifecycle(&app, EXPORT_INITIALIZE, owner, &[], &arguments);
        if outcome.is_err() {
            self.world.borrow_mut().apps.remove(&app);
        }
        outcome
    }

    fn upgrade(
        &mut self,
        owner: AccountId,
        manifest: &str,
        arguments: &[u8],
        dispatch: Dispatch,
    ) -> CallOutcome {
        let manifest = read_manifest(manifest)?;
        let app = manifest.id.clone();
        let before = self.owned(owner, &app)?;
        let (old, new) = (version(&before.manifest)?, version(&manifest)?);
        if new <= old {
            return fail(FailureCode::NotAnUpgrade, format!("{app} {new} is not newer than {old}"));
        }
        self.check_dependencies(&manifest)?;
        let old = encode(&before.manifest.version);
        let entry = AppEntry { owner, manifest, dispatch, running: before.running };
        self.world.borrow_mut().apps.insert(app.clone(), entry);
        let outcome = self.lifecycle(&app, EXPORT_MIGRATE, owner, &old, arguments);
        if outcome.is_err() {
            self.world.borrow_mut().apps.insert(app, before);
        }
        outcome
    }

    fn stop(&mut self, owner: AccountId, app: &AppId) -> CallOutcome {
        if self.owned(owner, app)?.running {
            // An error in `stop` is told and does not prevent stopping.
            if let Err(failure) = self.lifecycle(app, EXPORT_STOP, owner, &[], &[]) {
                self.world
                    .borrow_mut()
                    .log
                    .push(format!("{app} stop: {}: {}", failure.code, failure.message));
            }
            self.set_running(app, false);
        }
        Ok(Vec::new())
    }

    fn uninstall(&mut self, owner: AccountId, app: &AppId) -> CallOutcome {
        if self.owned(owner, app)?.running {
            return fail(FailureCode::BadLifecycle, format!("application {app} is running; stop it first"));
        }
        let mut world = self.world.borrow_mut();
        let needs = |entry: &&AppEntry| {
            entry.manifest.dependencies.iter().any(|needed| needed.id == *app && !needed.optional)
        };
        let dependents: Vec<&str> =
            world.apps.values().filter(needs).map(|entry| entry.manifest.id.as_str()).collect();
        if !dependents.is_empty() {
            return fail(FailureCode::HasDependents, format!("{app} is needed by {}", dependents.join(", ")));
        }
        world.apps.remove(app);
        world.clear_storage(app);
        let account = app_account(app);
        let balance = world.balance(&account);
        world.transfer(account, owner, balance);
        Ok(Vec::new())
    }

    fn owned(&self, owner: AccountId, app: &AppId) -> Result<AppEntry, CallFailure> {
        match self.world.borrow().apps.get(app) {
            None => fail(FailureCode::AppNotFound, format!("application {app} is not installed")),
            Some(entry) if entry.owner != owner => {
                fail(FailureCode::NotOwner, format!("application {app} belongs to {}", entry.owner))
            }
            Some(entry) => Ok(entry.clone()),
        }
    }

    fn set_running(&mut self, app: &AppId, running: bool) {
        if let Some(entry) = self.world.borrow_mut().apps.get_mut(app) {
            entry.running = running;
        }
    }

    fn check_dependencies(&self, manifest: &Manifest) -> Result<(), CallFailure> {
        let world = self.world.borrow();
        for dependency in manifest.dependencies.iter().filter(|dependency| !dependency.optional) {
            let required = VersionReq::parse(&dependency.version).or_else(|error| {
                fail(FailureCode::BadPackage, format!("dependency {}: {error}", dependency.id))
            })?;
            let installed =
                world.apps.get(&dependency.id).map(|entry| version(&entry.manifest)).transpose()?;
            if !installed.as_ref().is_some_and(|installed| required.matches(installed)) {
                let found =
                    installed.map_or("not installed".into(), |installed| format!("version {installed}"));
                let message = format!("{} needs {} {required}, which is {found}", manifest.id, dependency.id);
                return fail(FailureCode::MissingDependency, message);
            }
        }
        Ok(())
    }

    fn change_devices(
        &mut self,
        change: impl FnOnce(
            &mut std::collections::BTreeMap<purlin_abi::DeviceId, purlin_abi::DeviceRecord>,
            purlin_abi::Height,
        ) -> Result<(), CallFailure>,
    ) -> Response {
        self.block(|chain| {
            let mut world = chain.world.borrow_mut();
            let height = world.block.0;
            change(&mut world.devices, height).map(|()| Vec::new())
        })
    }

    fn block_or_refusal(&self, result: Result<(), String>) -> Response {
        match result {
            Ok(()) => {
                let (height, time) = self.world.borrow().clock.view();
                Response::Block { height, time }
            }
            Err(message) => Response::Refused { message },
        }
    }

    fn events(&self, from: u64, limit: u32) -> Vec<EmittedEvent> {
        let start = usize::try_from(from).unwrap_or(usize::MAX);
        self.world.borrow().history.iter().skip(start).take(page(limit)).cloned().collect()
    }

    fn storage(&self, app: &AppId, from: Vec<u8>, limit: u32) -> Vec<StorageEntry> {
        let world = self.world.borrow();
        let Some(entries) = world.storage_of(app) else { return Vec::new() };
        let entry =
            |(key, value): (&Vec<u8>, &Vec<u8>)| StorageEntry { key: key.clone(), value: value.clone() };
        entries.range(from..).take(page(limit)).map(entry).collect()
    }
}

fn code(dispatch: Option<Dispatch>) -> Dispatch {
    dispatch.expect("an install comes with the application's code")
}

fn page(limit: u32) -> usize {
    match limit {
        0 => PAGE_ENTRIES_MAX as usize,
        limit => limit.min(PAGE_ENTRIES_MAX) as usize,
    }
}

fn take_log(world: &mut World) -> Option<String> {
    let lines = std::mem::take(&mut world.log);
    (!lines.is_empty()).then(|| lines.join("\n"))
}

fn encode(text: &str) -> Vec<u8> {
    borsh::to_vec(text).expect("writing to memory cannot fail")
}

fn version(manifest: &Manifest) -> Result<Version, CallFailure> {
    Version::parse(&manifest.version).or_else(|error| {
        fail(FailureCode::BadPackage, format!("{}: version {:?}: {error}", manifest.id, manifest.version))
    })
}

/// Reads a manifest and checks what native tests can meet; the package reader checks the rest.
fn read_manifest(text: &str) -> Result<Manifest, CallFailure> {
    let manifest: Manifest = serde_json::from_str(text)
        .or_else(|error| fail(FailureCode::BadPackage, format!("manifest.json: {error}")))?;
    if manifest.abi != ABI_VERSION {
        let message = format!("manifest.json: abi is {}; this host has {ABI_VERSION}", manifest.abi);
        return fail(FailureCode::BadPackage, message);
    }
    let known =
        |name: &&String| CAPABILITIES.iter().any(|module| permission_of(module) == Some(name.as_str()));
    if let Some(unknown) = manifest.permissions.iter().find(|name| !known(name)) {
        return fail(FailureCode::BadPackage, format!("manifest.json: unknown permission {unknown:?}"));
    }
    version(&manifest)?;
    Ok(manifest)
}
