//! Snapshots: making, keeping and serving them, and beginning a chain with one.

mod file;
mod install;
mod make;
mod operator;
mod shelf;

pub use file::SnapshotFileError;
pub use make::{MakeError, Made};
pub use operator::{SnapshotError, SnapshotSummary, create_snapshot, restore_snapshot};

pub(crate) use file::SnapshotFile;
pub(crate) use install::{InstallError, Installer};
pub(crate) use make::make;
pub(crate) use shelf::Shelf;
