//! Who needs whom.

use purlin_primitives::AppId;
use purlin_state::{Order, StateKey, StoreError};
use semver::{Version, VersionReq};
use std::collections::BTreeSet;

use super::error::AppError;
use super::record::{AppRecord, app, dependent_key, dependent_prefix};
use crate::access::{StateAccess, StateRead, decode, encode};
use crate::module::ModuleError;

/// Most applications that are visited while looking for a circle.
pub const DEPENDENCY_CLOSURE_MAX: usize = 1_000;
/// Most dependents that a refusal names.
pub const DEPENDENTS_NAMED_MAX: usize = 20;

pub(super) fn parse_version(id: &AppId, text: &str) -> Result<Version, AppError> {
    Version::parse(text).map_err(|error| AppError::BadVersion {
        id: id.clone(),
        field: "version".into(),
        text: text.into(),
        problem: error.to_string(),
    })
}

fn parse_requirement(id: &AppId, dependency: &AppId, text: &str) -> Result<VersionReq, AppError> {
    VersionReq::parse(text).map_err(|error| AppError::BadVersion {
        id: id.clone(),
        field: format!("requirement on {dependency}"),
        text: text.into(),
        problem: error.to_string(),
    })
}

/// Checks that every dependency is there in a suitable version, and that none leads back. An optional one may
/// be missing; when it is there, its version must suit too.
pub(super) fn check(state: &mut (impl StateRead + ?Sized), record: &AppRecord) -> Result<(), ModuleError> {
    for dependency in &record.dependencies {
        let requirement = parse_requirement(&record.id, &dependency.id, &dependency.requirement)?;
        if dependency.id == record.id {
            let path = vec![record.id.clone(), record.id.clone()];
            return Err(AppError::CircularDependency { path }.into());
        }
        match app(state, &dependency.id)? {
            Some(found) if !requirement.matches(&parse_version(&found.id, &found.version)?) => {
                return Err(AppError::UnsatisfiedDependency {
                    id: record.id.clone(),
                    dependency: dependency.id.clone(),
                    requirement: dependency.requirement.clone(),
                    installed: found.version,
                }
                .into());
            }
            None if !dependency.optional => {
                return Err(AppError::MissingDependency {
                    id: record.id.clone(),
                    dependency: dependency.id.clone(),
                    requirement: dependency.requirement.clone(),
                }
                .into());
            }
            Some(_) | None => {}
        }
    }
    check_circle(state, record)
}

/// Walks depth first from the new dependencies; reaching the application itself is a circle.
fn check_circle(state: &mut (impl StateRead + ?Sized), record: &AppRecord) -> Result<(), ModuleError> {
    let mut seen: BTreeSet<AppId> = BTreeSet::new();
    let mut path = vec![record.id.clone()];
    let names =
        |record: &AppRecord| record.dependencies.iter().rev().map(|d| d.id.clone()).collect::<Vec<_>>();
    let mut open: Vec<Vec<AppId>> = vec![names(record)];
    while let Some(level) = open.last_mut() {
        let Some(next) = level.pop() else {
            open.pop();
            path.pop();
            continue;
        };
        if next == record.id {
            path.push(next);
            return Err(AppError::CircularDependency { path }.into());
        }
        if !seen.insert(next.clone()) {
            continue;
        }
        if seen.len() > DEPENDENCY_CLOSURE_MAX {
            return Err(
                AppError::TooManyDependencies { id: record.id.clone(), max: DEPENDENCY_CLOSURE_MAX }.into()
            );
        }
        if let Some(found) = app(state, &next)? {
            open.push(names(&found));
            path.push(next);
        }
    }
    Ok(())
}

/// Records that `record` needs its required dependencies.
pub(super) fn link(state: &mut (impl StateAccess + ?Sized), record: &AppRecord) {
    for dependency in record.dependencies.iter().filter(|d| !d.optional) {
        state.set(&dependent_key(&dependency.id, &record.id), encode(&dependency.requirement));
    }
}

/// Forgets what [`link`] recorded.
pub(super) fn unlink(state: &mut (impl StateAccess + ?Sized), record: &AppRecord) -> Result<(), StoreError> {
    let mut required = record.dependencies.iter().filter(|d| !d.optional);
    required.try_for_each(|d| state.remove(&dependent_key(&d.id, &record.id)))
}

/// Returns at most `limit` applications that need `id`, in order and after `after`, with the versions they
/// accept.
pub fn dependents(
    state: &mut (impl StateRead + ?Sized),
    id: &AppId,
    after: Option<&AppId>,
    limit: usize,
) -> Result<Vec<(AppId, String)>, StoreError> {
    let prefix = dependent_prefix(id);
    let from = match after {
        Some(after) => [&dependent_key(id, after)[..], &[0]].concat(),
        None => prefix.clone(),
    };
    let entries = state.scan(&from, &StateKey::end_of(&prefix), Order::Ascending, limit)?;
    let read = |(key, value): &(Vec<u8>, Vec<u8>)| {
        let name = key.get(prefix.len()..).and_then(|name| std::str::from_utf8(name).ok());
        let needer = name.and_then(|name| name.parse().ok()).ok_or_else(|| StoreError::Corrupt {
            place: "dependents".into(),
            detail: "a key does not end with an app id".into(),
        })?;
        Ok((needer, decode("dependents", value)?))
    };
    entries.iter().map(read).collect()
}

/// Checks that nobody needs `id`.
pub(super) fn check_free(state: &mut (impl StateRead + ?Sized), id: &AppId) -> Result<(), ModuleError> {
    let dependents = dependents(state, id, None, DEPENDENTS_NAMED_MAX)?;
    if dependents.is_empty() {
        return Ok(());
    }
    let dependents = dependents.into_iter().map(|(needer, _)| needer).collect();
    Err(AppError::HasDependents { id: id.clone(), dependents }.into())
}

/// Checks that everybody who needs `record` accepts its version.
pub(super) fn check_dependents_accept(
    state: &mut (impl StateRead + ?Sized),
    record: &AppRecord,
    version: &Version,
) -> Result<(), ModuleError> {
    const PAGE: usize = 256;
    let mut after: Option<AppId> = None;
    loop {
        let page = dependents(state, &record.id, after.as_ref(), PAGE)?;
        for (dependent, text) in &page {
            if !parse_requirement(dependent, &record.id, text)?.matches(version) {
                return Err(AppError::BreaksDependent {
                    id: record.id.clone(),
                    dependent: dependent.clone(),
                    requirement: text.clone(),
                    version: record.version.clone(),
                }
                .into());
            }
        }
        if page.len() < PAGE {
            return Ok(());
        }
        after = page.into_iter().last().map(|(id, _)| id);
    }
}
