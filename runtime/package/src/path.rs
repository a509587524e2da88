//! Paths inside a package: one rule for reading, building and the manifest's `files`.

use purlin_abi::limits::{PACKAGE_PATH_BYTES_MAX, PACKAGE_PATH_DEPTH_MAX};

use crate::text::Shown;

/// The manifest.
pub const MANIFEST_PATH: &str = "manifest.json";
/// The module.
pub const WASM_PATH: &str = "contract.wasm";
/// The schema, for modules that do not carry it themselves.
pub const SCHEMA_PATH: &str = "schema.json";
/// The author's signature.
pub const SIGNATURE_PATH: &str = "manifest.sig";

const README_PATH: &str = "README.md";
const LICENSE_PREFIX: &str = "LICENSE";
const UI_FOLDER: &str = "ui/";

/// Says why a path may not be in a package.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Bytes that are not text.
    #[error("path {} is not UTF-8; rename the file", Shown(.lossy))]
    NotUtf8 {
        /// The path, undecodable bytes replaced.
        lossy: String,
    },
    /// No name at all.
    #[error("a file has an empty path; pack it under a name")]
    Empty,
    /// More bytes than [`PACKAGE_PATH_BYTES_MAX`].
    #[error("path {} has {bytes} bytes; at most {PACKAGE_PATH_BYTES_MAX} are allowed, so shorten the names", Shown(.path))]
    TooLong {
        /// The path.
        path: String,
        /// Its length in bytes.
        bytes: usize,
    },
    /// More components than [`PACKAGE_PATH_DEPTH_MAX`].
    #[error("path {} has {components} components; at most {PACKAGE_PATH_DEPTH_MAX} are allowed, so use fewer folders", Shown(.path))]
    TooDeep {
        /// The path.
        path: String,
        /// Its number of components.
        components: usize,
    },
    /// Starts at a root.
    #[error("path {} is absolute; paths are relative to the package", Shown(.path))]
    Absolute {
        /// The path.
        path: String,
    },
    /// Has `..`, `.` or nothing between two slashes.
    #[error("path {} has the component {component:?}; write it without", Shown(.path))]
    Component {
        /// The path.
        path: String,
        /// The offending component.
        component: String,
    },
    /// A backslash or a control character: read differently by different systems.
    #[error("path {} has the character {character:?}; rename the file", Shown(.path))]
    Character {
        /// The path.
        path: String,
        /// The offending character.
        character: char,
    },
    /// Not one of the places that a package has.
    #[error(
        "path {} has no place in a package; it may hold manifest.json, contract.wasm, schema.json, README.md, \
         LICENSE*, manifest.sig and files under ui/",
        Shown(.path)
    )]
    Unknown {
        /// The path.
        path: String,
    },
    /// Fits no ustar header: name of 100 bytes after a folder of 155.
    #[error("path {} does not fit the archive format (100 bytes for the file name, 155 for its folder); shorten the names", Shown(.path))]
    Unsplittable {
        /// The path.
        path: String,
    },
}

/// Checks a path and returns it as text.
pub(crate) fn check_path(bytes: &[u8]) -> Result<&str, PathError> {
    let path = std::str::from_utf8(bytes)
        .map_err(|_| PathError::NotUtf8 { lossy: String::from_utf8_lossy(bytes).into_owned() })?;
    let owned = || path.to_owned();
    if path.is_empty() {
        return Err(PathError::Empty);
    }
    if path.len() > PACKAGE_PATH_BYTES_MAX {
        return Err(PathError::TooLong { path: owned(), bytes: path.len() });
    }
    if path.starts_with('/') {
        return Err(PathError::Absolute { path: owned() });
    }
    if let Some(character) = path.chars().find(|c| *c == '\\' || c.is_control()) {
        return Err(PathError::Character { path: owned(), character });
    }
    if let Some(component) = path.split('/').find(|component| matches!(*component, "" | "." | "..")) {
        return Err(PathError::Component { path: owned(), component: component.to_owned() });
    }
    let components = path.split('/').count();
    if components > PACKAGE_PATH_DEPTH_MAX {
        return Err(PathError::TooDeep { path: owned(), components });
    }
    let known = matches!(path, MANIFEST_PATH | WASM_PATH | SCHEMA_PATH | SIGNATURE_PATH | README_PATH)
        || path.starts_with(UI_FOLDER)
        || (path.starts_with(LICENSE_PREFIX) && components == 1);
    if !known {
        return Err(PathError::Unknown { path: owned() });
    }
    Ok(path)
}
