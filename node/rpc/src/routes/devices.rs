//! Devices.

use axum::extract::State;
use purlin_abi::{DeviceFilter, limits};
use purlin_api::{DevicePage, DeviceView, ErrorCode};
use purlin_primitives::DeviceId;
use serde::Deserialize;
use std::sync::Arc;
use utoipa::IntoParams;

use super::page_size;
use crate::error::ApiError;
use crate::extract::{Json, Parameters, Segments, parse};
use crate::shared::Shared;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListParameters {
    /// Only of this account.
    owner: Option<String>,
    /// Only of this type.
    r#type: Option<String>,
    /// Only with this capability.
    capability: Option<String>,
    /// Only in this area or below it.
    area: Option<String>,
    /// Only after this id: `next` of the page before.
    after: Option<String>,
    /// Most devices to return, 1 to 100; 20 when absent.
    limit: Option<u64>,
}

/// Lists devices in id order; every given parameter must match.
#[utoipa::path(get, path = "/api/v1/devices", tag = "devices", params(ListParameters), responses((status = 200, body = DevicePage)))]
pub(crate) async fn list(
    State(shared): State<Arc<Shared>>,
    Parameters(parameters): Parameters<ListParameters>,
) -> Result<Json<DevicePage>, ApiError> {
    let limit = page_size(&shared.limits, parameters.limit)?.min(limits::DEVICE_LIST_MAX as usize);
    let filter = DeviceFilter {
        owner: parameters.owner.map(|text| parse("owner", &text)).transpose()?,
        kind: parameters.r#type,
        capability: parameters.capability,
        area: parameters.area,
        after: parameters.after.map(|text| parse("after", &text)).transpose()?,
        limit: u32::try_from(limit).unwrap_or(limits::DEVICE_LIST_MAX),
    };
    shared
        .blocking(move |shared| {
            let records = shared.node.devices(&filter)?;
            let full = records.len() >= limit;
            let next = records.last().filter(|_| full).map(|record| record.id.clone());
            let devices = records.iter().map(|record| DeviceView::new(record, None)).collect();
            Ok(Json(DevicePage { devices, next }))
        })
        .await
}

/// Returns a device with its Thing Description.
#[utoipa::path(
    get, path = "/api/v1/devices/{id}", tag = "devices", params(("id" = String, Path, description = "Device id")),
    responses((status = 200, body = DeviceView))
)]
pub(crate) async fn one(
    State(shared): State<Arc<Shared>>,
    Segments(text): Segments<String>,
) -> Result<Json<DeviceView>, ApiError> {
    let id: DeviceId = parse("id", &text)?;
    shared
        .blocking(move |shared| {
            let Some(details) = shared.node.device(&id)? else {
                return Err(ApiError::new(
                    ErrorCode::DeviceNotFound,
                    format!("no device `{id}` is registered"),
                ));
            };
            Ok(Json(DeviceView::new(&details.record, serde_json::from_str(&details.description).ok())))
        })
        .await
}
