//! Snapshots: making, keeping and serving them, and beginning a chain with one.

mod file;
mod install;
mod make;
mod operator;
mod shelf;

pub use file::SnapshotFileError;
pub use make::{Made, MakeError};
pub use operator::{SnapshotError, SnapshotSummary, create_snapshot, restore_snapshot};

pub(crate) use file::SnapshotFile;
pub use install::InstallError;

pub(crate) use install::{Installer, is_fresh};
pub(crate) use make::make;
pub(crate) use shelf::Shelf;
