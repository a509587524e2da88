//! Typed calls to applications, whoever makes them.

use alloc::string::String;
use alloc::vec::Vec;
use borsh::BorshDeserialize;
use core::fmt;
use purlin_abi::{Amount, AppId, CallFailure, CallOutcome, FailureCode, Gas};

use crate::error::AppError;
use crate::host;

/// Carries a client's calls to an application.
///
/// [`Guest`] is the one inside applications; `purlin-testing` has one for tests. Arguments and results are borsh.
pub trait Transport {
    /// Calls a method. `gas` of zero means all that the transport has.
    fn call(&self, app: &AppId, method: &str, arguments: &[u8], deposit: Amount, gas: Gas) -> CallOutcome;

    /// Queries; `method` has no `query_` prefix. `gas` of zero means all that the transport has.
    fn query(&self, app: &AppId, method: &str, arguments: &[u8], gas: Gas) -> CallOutcome;
}

/// Calls from inside an application. Needs the permission `apps`, and the callee among the manifest's
/// `dependencies`. A call that fails undoes only itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Guest;

impl Transport for Guest {
    fn call(&self, app: &AppId, method: &str, arguments: &[u8], deposit: Amount, gas: Gas) -> CallOutcome {
        host::call(app, method, arguments, deposit, gas)
    }

    fn query(&self, app: &AppId, method: &str, arguments: &[u8], gas: Gas) -> CallOutcome {
        host::query(app, method, arguments, gas)
    }
}

/// Says why a call to another application gave nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallError<E> {
    /// The application returned this error.
    App(E),
    /// Anything else: the code says what.
    Failed(CallFailure),
}

impl<E> CallError<E> {
    /// Returns the stable code of the failure.
    pub fn code(&self) -> FailureCode {
        match self {
            Self::App(_) => FailureCode::AppError,
            Self::Failed(failure) => failure.code,
        }
    }
}

impl<E: fmt::Display> fmt::Display for CallError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::App(error) => error.fmt(f),
            Self::Failed(failure) => write!(f, "{}: {}", failure.code, failure.message),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for CallError<E> {}

/// What every generated client is made of: an application, a way to it, and what goes along.
#[derive(Debug, Clone)]
pub struct Caller<T> {
    app: AppId,
    transport: T,
    deposit: Amount,
    gas: Gas,
}

impl<T: Transport> Caller<T> {
    /// Calls `app` through `transport`, without a deposit, with all gas.
    pub fn new(app: AppId, transport: T) -> Self {
        Self { app, transport, deposit: Amount::ZERO, gas: Gas::ZERO }
    }

    /// Sends a native amount with each call.
    pub fn with_deposit(mut self, deposit: Amount) -> Self {
        self.deposit = deposit;
        self
    }

    /// Lets each call use at most this much; zero means all there is.
    pub fn with_gas(mut self, gas: Gas) -> Self {
        self.gas = gas;
        self
    }

    /// Returns the application's name.
    pub fn app(&self) -> &AppId {
        &self.app
    }

    /// Returns the way to it.
    pub fn transport(&self) -> &T {
        &self.transport
    }

    /// Calls a method with borsh arguments and decodes what comes back.
    pub fn call<V: BorshDeserialize, E: AppError>(
        &self,
        method: &str,
        arguments: &[u8],
    ) -> Result<V, CallError<E>> {
        self.read(method, self.transport.call(&self.app, method, arguments, self.deposit, self.gas))
    }

    /// Queries with borsh arguments and decodes what comes back.
    pub fn query<V: BorshDeserialize, E: AppError>(
        &self,
        method: &str,
        arguments: &[u8],
    ) -> Result<V, CallError<E>> {
        self.read(method, self.transport.query(&self.app, method, arguments, self.gas))
    }

    fn read<V: BorshDeserialize, E: AppError>(
        &self,
        method: &str,
        outcome: CallOutcome,
    ) -> Result<V, CallError<E>> {
        match outcome {
            Ok(bytes) => {
                V::try_from_slice(&bytes).map_err(|_| CallError::Failed(self.unreadable(method, bytes)))
            }
            Err(failure) => Err(self.error(failure)),
        }
    }

    /// Turns an application's own error back into its type; what does not fit stays a failure.
    fn error<E: AppError>(&self, failure: CallFailure) -> CallError<E> {
        let own =
            failure.code == FailureCode::AppError && failure.app.as_ref().is_none_or(|app| *app == self.app);
        match E::try_from_slice(&failure.app_error) {
            Ok(error) if own => CallError::App(error),
            _ => CallError::Failed(failure),
        }
    }

    fn unreadable(&self, method: &str, bytes: Vec<u8>) -> CallFailure {
        let mut message = String::from("the result of `");
        message.push_str(method);
        message.push_str("` has another type than this client was built for (");
        message.push_str(&alloc::string::ToString::to_string(&bytes.len()));
        message.push_str(" bytes); build it again with the installed version of the application");
        CallFailure::new(FailureCode::BadArgument, message).in_app(&self.app)
    }
}
