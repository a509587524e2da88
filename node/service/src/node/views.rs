//! Records of state as the API shows them.

use purlin_api::{
    AppLimits, AppStatus, AppView, DependencyView, PeerView, ValidatorPage, ValidatorState, ValidatorView,
};
use purlin_modules::apps::{self, AppRecord};
use purlin_modules::staking::{self, ValidatorRecord, ValidatorStatus};
use purlin_primitives::{AccountId, ConsensusRules, Height, ValidatorSet, app_account};
use purlin_state::{StateReader, StoreError};
use purlin_sync::PeerInfo;

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

/// Translates what the network knows of a peer.
pub(super) fn peer_view(peer: PeerInfo) -> PeerView {
    PeerView {
        id: peer.id.to_string(),
        addresses: peer.addresses,
        outbound: peer.outbound,
        agent: peer.agent,
        score: peer.score,
        ping_us: peer.ping_us,
        relayed: peer.relayed,
    }
}

/// Reads a page of validators from the state after block `height`; `own` is this node's.
pub(super) fn validator_page(
    state: &dyn StateReader,
    (height, rules): (Height, &ConsensusRules),
    own: Option<AccountId>,
    (after, limit): (Option<&AccountId>, usize),
) -> Result<ValidatorPage, StoreError> {
    let next_block = height.next();
    let (epoch, epoch_end) = match rules {
        ConsensusRules::Pos(rules) => {
            let epoch = staking::epoch_of(rules, next_block);
            let end = epoch.saturating_add(1).saturating_mul(rules.epoch_blocks);
            (Some(epoch), Some(Height::new(end)))
        }
        ConsensusRules::Pow(_) => (None, None),
    };
    let deciding = staking::validators_at(&mut &*state, next_block)?;
    // Whoever decides has a record for as long as that can be punished.
    let mut records = staking::list(&mut &*state, after, limit.saturating_add(1))?;
    let more = records.len() > limit;
    records.truncate(limit);
    Ok(ValidatorPage {
        height,
        epoch,
        epoch_end,
        total_power: deciding.total_power(),
        next: records.last().filter(|_| more).map(|last| last.account),
        validators: records.iter().map(|record| validator_view(record, &deciding, own)).collect(),
    })
}

fn validator_view(
    record: &ValidatorRecord,
    deciding: &ValidatorSet,
    own: Option<AccountId>,
) -> ValidatorView {
    let (status, jailed_until_epoch) = match record.status {
        ValidatorStatus::Active => (ValidatorState::Active, None),
        ValidatorStatus::Jailed { until_epoch } => (ValidatorState::Jailed, Some(until_epoch)),
        ValidatorStatus::Tombstoned => (ValidatorState::Tombstoned, None),
    };
    ValidatorView {
        account: record.account,
        public_key: record.public_key,
        power: deciding.get(&record.public_key).map_or(0, |validator| validator.power),
        stake: record.stake,
        unbonding: record.unbonding_total(),
        status,
        jailed_until_epoch,
        missed_turns: record.missed_turns,
        own: own == Some(record.account),
    }
}
