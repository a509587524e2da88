//! Which rule of applications was broken.

use purlin_primitives::{AccountId, AppId, FailureCode};

/// Says why a life-cycle step was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppError {
    /// The name is taken.
    #[error("app {id} is installed already, by {owner}; upgrade it, or choose another id")]
    Exists {
        /// Which.
        id: AppId,
        /// By whom.
        owner: AccountId,
    },
    /// Nothing has this name.
    #[error("app {id} is not installed")]
    NotFound {
        /// Which.
        id: AppId,
    },
    /// Only the owner may do this.
    #[error("app {id} belongs to {owner}; {sender} may not change it")]
    NotOwner {
        /// Which.
        id: AppId,
        /// Who may.
        owner: AccountId,
        /// Who tried.
        sender: AccountId,
    },
    /// The package asks to run where this version cannot run it.
    #[error("app {id} asks for edge placement; only chain placement can be installed")]
    EdgePlacement {
        /// Which.
        id: AppId,
    },
    /// A version that is not semantic versioning.
    #[error("{field} {text:?} of app {id} is not valid: {problem}")]
    BadVersion {
        /// Which application.
        id: AppId,
        /// `version`, or whose requirement.
        field: String,
        /// What was read.
        text: String,
        /// What is wrong.
        problem: String,
    },
    /// A required application is not there.
    #[error("app {id} needs {dependency} {requirement}, which is not installed; install it first")]
    MissingDependency {
        /// Who needs it.
        id: AppId,
        /// What it needs.
        dependency: AppId,
        /// In which versions.
        requirement: String,
    },
    /// A required application is there in another version.
    #[error("app {id} needs {dependency} {requirement}; version {installed} is installed")]
    UnsatisfiedDependency {
        /// Who needs it.
        id: AppId,
        /// What it needs.
        dependency: AppId,
        /// In which versions.
        requirement: String,
        /// What is there.
        installed: String,
    },
    /// An application would depend on itself.
    #[error("dependencies of app {} go round in a circle: {}", .path[0], join(.path, " -> "))]
    CircularDependency {
        /// From the application back to itself.
        path: Vec<AppId>,
    },
    /// Following all dependencies takes too long.
    #[error("app {id} depends, directly or not, on more than {max} applications")]
    TooManyDependencies {
        /// Which.
        id: AppId,
        /// Most allowed.
        max: usize,
    },
    /// Others would break.
    #[error("app {id} is needed by {}; uninstall those first", join(.dependents, ", "))]
    HasDependents {
        /// Which.
        id: AppId,
        /// Who needs it, in order, at most [`super::DEPENDENTS_NAMED_MAX`].
        dependents: Vec<AppId>,
    },
    /// The new version does not suit an application that depends on it.
    #[error("app {dependent} needs {id} {requirement}; version {version} does not satisfy that")]
    BreaksDependent {
        /// Which would change.
        id: AppId,
        /// Who needs it.
        dependent: AppId,
        /// In which versions.
        requirement: String,
        /// The new version.
        version: String,
    },
    /// Not newer.
    #[error("version {new} of app {id} is not newer than the installed {installed}")]
    NotAnUpgrade {
        /// Which.
        id: AppId,
        /// Installed version.
        installed: String,
        /// Offered version.
        new: String,
    },
    /// A running application cannot be removed.
    #[error("app {id} is running; stop it first")]
    StillRunning {
        /// Which.
        id: AppId,
    },
    /// Calls need a running application.
    #[error("app {id} is {status}, not running; its owner can start it")]
    NotRunning {
        /// Which.
        id: AppId,
        /// What it is.
        status: String,
    },
}

fn join(ids: &[AppId], separator: &str) -> String {
    ids.iter().map(AppId::as_str).collect::<Vec<_>>().join(separator)
}

impl AppError {
    /// Returns the stable code.
    pub fn code(&self) -> FailureCode {
        match self {
            Self::Exists { .. } => FailureCode::AppExists,
            Self::NotFound { .. } => FailureCode::AppNotFound,
            Self::NotOwner { .. } => FailureCode::NotOwner,
            Self::EdgePlacement { .. } | Self::BadVersion { .. } => FailureCode::BadPackage,
            Self::MissingDependency { .. } | Self::UnsatisfiedDependency { .. } => {
                FailureCode::MissingDependency
            }
            Self::CircularDependency { .. } => FailureCode::CircularDependency,
            Self::TooManyDependencies { .. } => FailureCode::LimitExceeded,
            Self::HasDependents { .. } | Self::BreaksDependent { .. } => FailureCode::HasDependents,
            Self::NotAnUpgrade { .. } => FailureCode::NotAnUpgrade,
            Self::StillRunning { .. } => FailureCode::BadLifecycle,
            Self::NotRunning { .. } => FailureCode::AppNotRunning,
        }
    }
}
