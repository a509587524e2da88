//! How a command fails: what, why, what next, and the exit code.

use std::fmt;

/// Kinds of failure, one exit code each; documented in `purlin --help`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExitKind {
    /// Something on this machine went wrong.
    Failure = 1,
    /// The command line or an argument is wrong. clap uses 2 as well.
    Usage = 2,
    /// No node answered.
    Unreachable = 3,
    /// The node or an application refused.
    Refused = 4,
    /// A check found a problem: `doctor`, `state verify`.
    CheckFailed = 5,
}

/// A failed command.
#[derive(Debug)]
pub(crate) struct CliError {
    /// Decides the exit code.
    pub(crate) kind: ExitKind,
    /// Stable code from the node, if the failure came from there.
    pub(crate) code: Option<String>,
    /// What failed and why.
    pub(crate) message: String,
    /// What to do next.
    pub(crate) hint: Option<String>,
}

impl CliError {
    /// Makes an error of a kind.
    pub(crate) fn new(kind: ExitKind, message: impl Into<String>) -> Self {
        Self { kind, code: None, message: message.into(), hint: None }
    }

    /// Makes an error about this machine.
    pub(crate) fn failure(message: impl Into<String>) -> Self {
        Self::new(ExitKind::Failure, message)
    }

    /// Makes an error about the command line.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(ExitKind::Usage, message)
    }

    /// Says what to do next.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CliError {}

/// Adds what was being done to an operating error.
pub(crate) trait Attempt<T> {
    /// Turns the error into `could not <what>: <reason>`.
    fn attempt(self, what: impl FnOnce() -> String) -> Result<T, CliError>;
}

impl<T, E: fmt::Display> Attempt<T> for Result<T, E> {
    fn attempt(self, what: impl FnOnce() -> String) -> Result<T, CliError> {
        self.map_err(|error| CliError::failure(format!("could not {}: {error}", what())))
    }
}
