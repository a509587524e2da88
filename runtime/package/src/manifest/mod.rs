//! Reads manifests by hand instead of through serde, because a person has to understand each refusal.

mod error;
mod fields;
mod json;

use purlin_abi::{ABI_VERSION, AppId, Dependency, Hash32, Limits, Manifest, Placement, host, limits};
use semver::{Version, VersionReq};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

pub use error::ManifestError;
use fields::{Fields, wrong_type};
use json::{JsonError, parse_strict};

use crate::path::{MANIFEST_PATH, SIGNATURE_PATH, check_path};
use crate::text::nearest;

/// Longest title, in bytes.
pub const NAME_BYTES_MAX: usize = 100;
/// Longest description, in bytes.
pub const DESCRIPTION_BYTES_MAX: usize = 1_000;
/// Longest author and licence, each in bytes.
pub const CREDIT_BYTES_MAX: usize = 200;
/// Longest version or version requirement, in bytes.
pub const VERSION_BYTES_MAX: usize = 100;

const FIELDS: &[&str] = &[
    "id",
    "name",
    "version",
    "description",
    "author",
    "license",
    "abi",
    "placement",
    "permissions",
    "dependencies",
    "auto_start",
    "limits",
    "files",
];
const DEPENDENCY_FIELDS: &[&str] = &["id", "version", "optional"];
const LIMIT_FIELDS: &[&str] = &["memory_pages", "gas_per_call", "storage_bytes"];

/// Returns the permissions that a manifest may ask for, in the order of their documentation.
pub fn permissions() -> Vec<&'static str> {
    host::CAPABILITIES
        .iter()
        .filter(|module| **module != host::CORE)
        .filter_map(|module| host::permission_of(module))
        .collect()
}

/// Reads and checks a manifest. `files` may be absent: [`PackageBuilder`](crate::PackageBuilder) fills it in.
pub fn parse_manifest(json: &[u8]) -> Result<Manifest, ManifestError> {
    if json.len() > limits::MANIFEST_BYTES_MAX {
        return Err(ManifestError::TooLarge { bytes: json.len() });
    }
    let value = parse_strict(json).map_err(|error| match error {
        JsonError::DuplicateKey(key) => ManifestError::DuplicateKey { key },
        JsonError::Syntax(reason) => ManifestError::Syntax { reason },
    })?;
    let fields = Fields::open(&value, "", FIELDS)?;
    // First of all: the other fields may mean something else in another version.
    let abi = abi(&fields)?;
    let id = app_id(&fields)?;
    Ok(Manifest {
        name: required_text(&fields, "name", NAME_BYTES_MAX, "\"name\": \"Energy market\"")?,
        version: version(&fields)?,
        description: optional_text(&fields, "description", DESCRIPTION_BYTES_MAX)?,
        author: optional_text(&fields, "author", CREDIT_BYTES_MAX)?,
        license: optional_text(&fields, "license", CREDIT_BYTES_MAX)?,
        abi,
        placement: placement(&fields)?,
        permissions: permission_list(&fields)?,
        dependencies: dependencies(&fields, &id)?,
        auto_start: fields.bool("auto_start")?.unwrap_or_default(),
        limits: limit_values(&fields)?,
        files: files(&fields)?,
        id,
    })
}

fn required_text(
    fields: &Fields<'_>,
    field: &str,
    bytes_max: usize,
    example: &'static str,
) -> Result<String, ManifestError> {
    fields.required(field, example)?;
    Ok(fields.text(field, 1, bytes_max)?.unwrap_or_default().to_owned())
}

fn optional_text(fields: &Fields<'_>, field: &str, bytes_max: usize) -> Result<String, ManifestError> {
    Ok(fields.text(field, 0, bytes_max)?.unwrap_or_default().to_owned())
}

fn abi(fields: &Fields<'_>) -> Result<u32, ManifestError> {
    fields.required("abi", "\"abi\": 1")?;
    match fields.number("abi", 0, u64::MAX)? {
        Some(found) if found != u64::from(ABI_VERSION) => {
            Err(ManifestError::WrongAbi { found, expected: ABI_VERSION })
        }
        _ => Ok(ABI_VERSION),
    }
}

fn app_id(fields: &Fields<'_>) -> Result<AppId, ManifestError> {
    let value = fields.required("id", "\"id\": \"energy-market\"")?;
    let field = fields.name("id");
    let text = value.as_str().ok_or_else(|| wrong_type(&field, "a string", value))?;
    text.parse().map_err(|reason| ManifestError::BadId { field, value: text.to_owned(), reason })
}

fn version(fields: &Fields<'_>) -> Result<String, ManifestError> {
    let value = required_text(fields, "version", VERSION_BYTES_MAX, "\"version\": \"1.0.0\"")?;
    let field = fields.name("version");
    match Version::parse(&value) {
        Err(error) => Err(ManifestError::BadVersion { field, value, reason: error.to_string() }),
        Ok(version) if !version.build.is_empty() => Err(ManifestError::BuildMetadata { field, value }),
        Ok(_) => Ok(value),
    }
}

fn placement(fields: &Fields<'_>) -> Result<Placement, ManifestError> {
    match fields.text("placement", 1, NAME_BYTES_MAX)? {
        None => Ok(Placement::default()),
        Some("chain") => Ok(Placement::Chain),
        Some("edge") => Ok(Placement::Edge),
        Some(found) => Err(ManifestError::UnknownPlacement {
            found: found.to_owned(),
            nearest: nearest(found, ["chain", "edge"]),
        }),
    }
}

fn permission_list(fields: &Fields<'_>) -> Result<Vec<String>, ManifestError> {
    let known = permissions();
    let mut seen = BTreeSet::new();
    let mut list = Vec::new();
    for (index, value) in fields.array("permissions")?.iter().enumerate() {
        let field = format!("permissions[{index}]");
        let found = value.as_str().ok_or_else(|| wrong_type(&field, "a string", value))?;
        if Some(found) == host::permission_of(host::CORE) {
            return Err(ManifestError::NeedlessPermission { field });
        }
        if !known.contains(&found) {
            // `purlin.storage.v1` is how the import is called; the permission is `storage`.
            let short = host::permission_of(found).unwrap_or(found);
            return Err(ManifestError::UnknownPermission {
                field,
                found: found.to_owned(),
                nearest: nearest(short, known.iter().copied()),
                known,
            });
        }
        if !seen.insert(found) {
            return Err(ManifestError::DuplicatePermission { field, permission: found.to_owned() });
        }
        list.push(found.to_owned());
    }
    Ok(list)
}

fn dependencies(fields: &Fields<'_>, own: &AppId) -> Result<Vec<Dependency>, ManifestError> {
    let values = fields.array("dependencies")?;
    if values.len() > limits::DEPENDENCIES_MAX {
        return Err(ManifestError::TooManyDependencies { count: values.len() });
    }
    let mut seen = BTreeSet::new();
    let mut list = Vec::new();
    for (index, value) in values.iter().enumerate() {
        let dependency = Fields::open(value, &format!("dependencies[{index}]"), DEPENDENCY_FIELDS)?;
        let id = app_id(&dependency)?;
        if id == *own {
            return Err(ManifestError::SelfDependency { field: dependency.name("id"), id });
        }
        if !seen.insert(id.clone()) {
            return Err(ManifestError::DuplicateDependency { field: dependency.name("id"), id });
        }
        let version = required_text(&dependency, "version", VERSION_BYTES_MAX, "\"version\": \"^1.2\"")?;
        if let Err(error) = VersionReq::parse(&version) {
            return Err(ManifestError::BadRequirement {
                field: dependency.name("version"),
                value: version,
                reason: error.to_string(),
            });
        }
        list.push(Dependency { id, version, optional: dependency.bool("optional")?.unwrap_or_default() });
    }
    Ok(list)
}

fn limit_values(fields: &Fields<'_>) -> Result<Limits, ManifestError> {
    let default = Limits::default();
    let Some(value) = fields.get("limits") else { return Ok(default) };
    let fields = Fields::open(value, "limits", LIMIT_FIELDS)?;
    let memory_pages = fields.number("memory_pages", 1, u64::from(limits::MEMORY_PAGES_MAX))?;
    Ok(Limits {
        memory_pages: memory_pages.and_then(|pages| pages.try_into().ok()).unwrap_or(default.memory_pages),
        gas_per_call: fields.number("gas_per_call", 1, u64::MAX)?.unwrap_or(default.gas_per_call),
        storage_bytes: fields
            .number("storage_bytes", 0, limits::STORAGE_BYTES_MAX)?
            .unwrap_or(default.storage_bytes),
    })
}

fn files(fields: &Fields<'_>) -> Result<BTreeMap<String, Hash32>, ManifestError> {
    let Some(value) = fields.get("files") else { return Ok(BTreeMap::new()) };
    let object = value.as_object().ok_or_else(|| wrong_type("files", "an object", value))?;
    if object.len() > limits::PACKAGE_ENTRIES_MAX {
        return Err(ManifestError::TooManyFiles { count: object.len() });
    }
    let mut files = BTreeMap::new();
    for (path, value) in object {
        check_path(path.as_bytes())?;
        if matches!(path.as_str(), MANIFEST_PATH | SIGNATURE_PATH) {
            return Err(ManifestError::ListsItself { path: path.clone() });
        }
        let field = format!("files.{path}");
        let text: &str = match value {
            Value::String(text) => text,
            _ => return Err(wrong_type(&field, "a string of 64 hexadecimal digits", value)),
        };
        let hash = text.parse().map_err(|reason| ManifestError::BadHash {
            field,
            value: text.to_owned(),
            reason,
        })?;
        files.insert(path.clone(), hash);
    }
    Ok(files)
}
