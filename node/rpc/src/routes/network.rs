//! Connected nodes.

use axum::extract::State;
use purlin_api::PeerList;
use std::sync::Arc;

use crate::extract::Json;
use crate::shared::Shared;

/// Lists the nodes that are connected to this one.
#[utoipa::path(get, path = "/api/v1/peers", tag = "node", responses((status = 200, body = PeerList)))]
pub(crate) async fn peers(State(shared): State<Arc<Shared>>) -> Json<PeerList> {
    Json(PeerList { peers: shared.node.peers() })
}
