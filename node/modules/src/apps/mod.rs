//! Applications: records, life cycle and dependencies.

mod dependencies;
mod error;
mod lifecycle;
mod record;
#[cfg(test)]
mod tests;

pub use dependencies::{DEPENDENCY_CLOSURE_MAX, DEPENDENTS_NAMED_MAX, dependents};
pub use error::AppError;
pub use lifecycle::{
    Start, Stop, Upgrade, check_uninstall, clear_storage, finish_uninstall, install, set_running,
    set_stopped, start, stop, upgrade,
};
pub use record::{
    AppDependency, AppHooks, AppLimits, AppRecord, AppStatus, Release, app, list, put_storage_bytes, require,
    storage_bytes, storage_bytes_at, storage_bytes_key,
};
