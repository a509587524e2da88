//! Why a manifest is refused.

use purlin_abi::limits::{DEPENDENCIES_MAX, MANIFEST_BYTES_MAX, PACKAGE_ENTRIES_MAX};
use purlin_abi::{AppId, ParseIdError};

use crate::path::PathError;
use crate::text::{Guess, Shown};

/// Says why a manifest is refused. `field` is a path: `limits.memory_pages`, `dependencies[1].version`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// More bytes than [`MANIFEST_BYTES_MAX`].
    #[error("manifest.json has {bytes} bytes; at most {MANIFEST_BYTES_MAX} are allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Not JSON.
    #[error("manifest.json is not JSON: {reason}")]
    Syntax {
        /// What the parser says, with line and column.
        reason: String,
    },
    /// A key written twice in one object.
    #[error("manifest.json has the field {} twice in one object; keep one", Shown(.key))]
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// A field that does not exist.
    #[error("unknown field {}{}", Shown(.field), Guess(.nearest))]
    UnknownField {
        /// Where.
        field: String,
        /// The known field nearest to it.
        nearest: Option<String>,
    },
    /// A required field that is not there.
    #[error("field `{field}` is missing; add it, for example {example}")]
    MissingField {
        /// Where.
        field: String,
        /// How it could look.
        example: &'static str,
    },
    /// A value of the wrong JSON type.
    #[error("field `{field}` is {found}; expected {expected}")]
    WrongType {
        /// Where.
        field: String,
        /// What would have been right.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// Text that is empty, or longer than its field may be.
    #[error("field `{field}` has {bytes} bytes; expected {min} to {max}")]
    TextLength {
        /// Where.
        field: String,
        /// Its length in bytes.
        bytes: usize,
        /// Fewest.
        min: usize,
        /// Most.
        max: usize,
    },
    /// A control character: it could change what a terminal shows.
    #[error("field `{field}` has the control character {character:?}; remove it")]
    ControlCharacter {
        /// Where.
        field: String,
        /// The character.
        character: char,
    },
    /// Not an application name.
    #[error("field `{field}` is {}: {reason}", Shown(.value))]
    BadId {
        /// Where.
        field: String,
        /// What is there.
        value: String,
        /// Why not.
        reason: ParseIdError,
    },
    /// Not a semantic version.
    #[error("field `{field}` is {}, not a semantic version: {reason}; write MAJOR.MINOR.PATCH, like \"1.0.0\"", Shown(.value))]
    BadVersion {
        /// Where.
        field: String,
        /// What is there.
        value: String,
        /// Why not.
        reason: String,
    },
    /// Build metadata: it orders no versions, so an upgrade could not be told from a downgrade.
    #[error("field `{field}` is {}; leave out the build metadata after '+'", Shown(.value))]
    BuildMetadata {
        /// Where.
        field: String,
        /// What is there.
        value: String,
    },
    /// Not a version requirement.
    #[error("field `{field}` is {}, not a version requirement: {reason}; write for example \"^1.2\"", Shown(.value))]
    BadRequirement {
        /// Where.
        field: String,
        /// What is there.
        value: String,
        /// Why not.
        reason: String,
    },
    /// Made for another ABI.
    #[error(
        "field `abi` is {found}; this host runs ABI {expected}, so build the application with a matching purlin-sdk"
    )]
    WrongAbi {
        /// Version in the manifest.
        found: u64,
        /// Version of this host.
        expected: u32,
    },
    /// Not a place where applications run.
    #[error("field `placement` is {}; expected \"chain\" or \"edge\"{}", Shown(.found), Guess(.nearest))]
    UnknownPlacement {
        /// What is there.
        found: String,
        /// The known one nearest to it.
        nearest: Option<String>,
    },
    /// Not a permission.
    #[error("field `{field}` is {}, which is no permission; known are {}{}", Shown(.found), .known.join(", "), Guess(.nearest))]
    UnknownPermission {
        /// Where.
        field: String,
        /// What is there.
        found: String,
        /// All permissions.
        known: Vec<&'static str>,
        /// The known one nearest to it.
        nearest: Option<String>,
    },
    /// `core`, which every application has.
    #[error("field `{field}` is \"core\", which every application has; remove it")]
    NeedlessPermission {
        /// Where.
        field: String,
    },
    /// The same permission twice.
    #[error("field `{field}` names {permission:?} again; keep one")]
    DuplicatePermission {
        /// Where.
        field: String,
        /// Which.
        permission: String,
    },
    /// More than [`DEPENDENCIES_MAX`].
    #[error("field `dependencies` has {count} entries; at most {DEPENDENCIES_MAX} are allowed")]
    TooManyDependencies {
        /// How many.
        count: usize,
    },
    /// Depends on itself.
    #[error("field `{field}` is \"{id}\", the application itself; remove the dependency")]
    SelfDependency {
        /// Where.
        field: String,
        /// The application.
        id: AppId,
    },
    /// The same dependency twice.
    #[error("field `{field}` is \"{id}\" again; keep one dependency on it")]
    DuplicateDependency {
        /// Where.
        field: String,
        /// On which application.
        id: AppId,
    },
    /// A number outside its range.
    #[error("field `{field}` is {value}; expected {min} to {max}")]
    OutOfRange {
        /// Where.
        field: String,
        /// What is there.
        value: u64,
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
    },
    /// More files than a package may have.
    #[error("field `files` has {count} entries; at most {PACKAGE_ENTRIES_MAX} are allowed")]
    TooManyFiles {
        /// How many.
        count: usize,
    },
    /// A path that no package may have.
    #[error("field `files`: {0}")]
    BadPath(#[from] PathError),
    /// A file that the manifest cannot vouch for: itself, or the signature over it.
    #[error("field `files` lists {path:?}, whose hash depends on the manifest itself; remove it")]
    ListsItself {
        /// Which.
        path: String,
    },
    /// Not a SHA-256.
    #[error("field `{field}` is {}, not a SHA-256: {reason}; `purlin app build` fills it in", Shown(.value))]
    BadHash {
        /// Where.
        field: String,
        /// What is there.
        value: String,
        /// Why not.
        reason: ParseIdError,
    },
}
