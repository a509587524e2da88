//! Records of state as the API shows them.

use purlin_api::{AppLimits, AppStatus, AppView, DependencyView};
use purlin_modules::apps::{self, AppRecord};
use purlin_primitives::app_account;
use purlin_state::{StateReader, StoreError};

/// Completes an application's record with what is stored beside it.
pub(super) fn app_view(state: &dyn StateReader, record: &AppRecord) -> Result<AppView, StoreError> {
    let (status, status_detail) = match &record.status {
        apps::AppStatus::Installed => (AppStatus::Installed, None),
        apps::AppStatus::Running => (AppStatus::Running, None),
        apps::AppStatus::Error { message } => (AppStatus::Error, Some(message.clone())),
    };
    let dependency = |one: &apps::AppDependency| DependencyView {
        id: one.id.clone(),
        version: one.requirement.clone(),
        optional: one.optional,
    };
    Ok(AppView {
        id: record.id.clone(),
        name: record.name.clone(),
        version: record.version.clone(),
        description: record.description.clone(),
        author: record.author.clone(),
        license: record.license.clone(),
        owner: record.owner,
        account: app_account(&record.id),
        status,
        status_detail,
        abi: record.abi,
        permissions: record.permissions.clone(),
        dependencies: record.dependencies.iter().map(dependency).collect(),
        limits: AppLimits {
            memory_pages: record.limits.memory_pages,
            gas_per_call: record.limits.gas_per_call,
            storage_bytes: record.limits.storage_bytes,
        },
        code_hash: record.code,
        package_id: record.package,
        storage_bytes: apps::storage_bytes(&mut &*state, &record.id)?,
        installed_at: record.installed_at,
        updated_at: record.updated_at,
    })
}
