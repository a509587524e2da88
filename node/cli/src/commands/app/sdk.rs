//! The SDK that the binary carries.

use std::path::Path;

use crate::error::{Attempt, CliError};

const ARCHIVE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/sdk.tar.gz"));

/// Where an application keeps the SDK, relative to its folder; not checked in.
pub(super) const FOLDER: &str = ".purlin/sdk";

/// Unpacks the SDK below `project` if the project uses a carried SDK and it is missing or of another version.
pub(super) fn ensure_unpacked(project: &Path) -> Result<(), CliError> {
    let cargo_toml = std::fs::read_to_string(project.join("Cargo.toml")).unwrap_or_default();
    if cargo_toml.contains(FOLDER) { unpack(project) } else { Ok(()) }
}

/// Unpacks the SDK below `project`.
pub(super) fn unpack(project: &Path) -> Result<(), CliError> {
    let folder = project.join(FOLDER);
    let stamp = folder.join(".version");
    let version = fingerprint();
    if std::fs::read_to_string(&stamp).is_ok_and(|found| found == version) {
        return Ok(());
    }
    if folder.exists() {
        std::fs::remove_dir_all(&folder).attempt(|| format!("replace {}", folder.display()))?;
    }
    std::fs::create_dir_all(&folder).attempt(|| format!("create {}", folder.display()))?;
    tar::Archive::new(flate2::read::GzDecoder::new(ARCHIVE))
        .unpack(&folder)
        .attempt(|| format!("unpack the SDK into {}", folder.display()))?;
    std::fs::write(&stamp, version).attempt(|| format!("write {}", stamp.display()))
}

/// Tells one carried SDK from another.
fn fingerprint() -> String {
    // FNV-1a: only has to change when the archive does.
    let hash = ARCHIVE.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    });
    format!("{}-{hash:016x}", env!("CARGO_PKG_VERSION"))
}
