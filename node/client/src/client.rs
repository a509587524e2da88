//! One method per route of the API.

use hyper::Method;
use purlin_abi::schema::AppSchema;
use purlin_api::{
    AccountView, AppPage, AppView, BatchResult, BlockPage, BlockView, DevicePage, DeviceView, EventCursor,
    EventPage, HexBytes, PeerList, QueryRequest, QueryResult, SimulateRequest, SimulateResult, StateView,
    Status, Submitted, TransactionView, ValidatorPage,
};
use purlin_primitives::{AccountId, AppId, DeviceId, Height, Transaction, TransactionBody, TransactionId};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

use crate::transport::{Content, TIMEOUT, Transport};
use crate::{ClientError, Endpoint, EventStream};

/// How long to wait for a block; the answer itself may take [`TIMEOUT`] more.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(60);

/// Selects events.
#[derive(Debug, Clone, Default)]
pub struct EventQuery {
    /// Only of this application.
    pub app: Option<AppId>,
    /// Only with this topic.
    pub topic: Option<String>,
    /// Only after this position.
    pub after: Option<EventCursor>,
    /// At most so many on a page.
    pub limit: Option<u32>,
    /// Of which blocks.
    pub finality: Finality,
}

/// Which events to give under proof of work; elsewhere every block is final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Finality {
    /// Those of final blocks.
    #[default]
    Final,
    /// All, and again with [`EventView::removed`](purlin_api::EventView::removed) when their block left the chain.
    Unfinalised,
}

impl Finality {
    pub(crate) fn parameter(self) -> (&'static str, Option<String>) {
        ("unfinalised", (self == Self::Unfinalised).then(|| "true".to_owned()))
    }
}

/// Selects devices.
#[derive(Debug, Clone, Default)]
pub struct DeviceQuery {
    /// Only of this owner.
    pub owner: Option<AccountId>,
    /// Only of this type.
    pub kind: Option<String>,
    /// Only with this capability.
    pub capability: Option<String>,
    /// Only in or below this area.
    pub area: Option<String>,
    /// Only after this id.
    pub after: Option<DeviceId>,
    /// At most so many on a page.
    pub limit: Option<u32>,
}

/// Talks to one node; clones share their connections.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) transport: Arc<Transport>,
}

impl Client {
    /// Uses the node at `endpoint`. Connects when first asked something.
    pub fn new(endpoint: Endpoint, token: Option<String>) -> Self {
        Self { transport: Arc::new(Transport::new(endpoint, token)) }
    }

    /// Returns where the node is.
    pub fn endpoint(&self) -> &Endpoint {
        self.transport.endpoint()
    }

    /// What the node says of itself.
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.get("/api/v1/status", &[]).await
    }

    /// The nodes that are connected to it.
    pub async fn peers(&self) -> Result<PeerList, ClientError> {
        self.get("/api/v1/peers", &[]).await
    }

    /// Validators after an account, in account order.
    pub async fn validators(&self, after: Option<&AccountId>) -> Result<ValidatorPage, ClientError> {
        self.get("/api/v1/validators", &[("after", text(after)), ("limit", Some("100".into()))]).await
    }

    /// A block by `latest`, height or id.
    pub async fn block(&self, block: &str) -> Result<BlockView, ClientError> {
        self.get(&format!("/api/v1/blocks/{}", encoded(block)), &[]).await
    }

    /// Blocks below `before`, newest first.
    pub async fn blocks(&self, before: Option<Height>, limit: Option<u32>) -> Result<BlockPage, ClientError> {
        self.get("/api/v1/blocks", &[("before", text(before)), ("limit", text(limit))]).await
    }

    /// A transaction, waiting or committed.
    pub async fn transaction(&self, id: &TransactionId) -> Result<TransactionView, ClientError> {
        self.get(&format!("/api/v1/transactions/{id}"), &[]).await
    }

    /// Hands in a transaction; it waits for a block when this returns.
    pub async fn submit(&self, transaction: &Transaction) -> Result<TransactionId, ClientError> {
        let submitted: Submitted =
            self.post("/api/v1/transactions", Content::Binary(transaction.encode()), TIMEOUT).await?;
        Ok(submitted.id)
    }

    /// Hands in canonical transaction bytes, as [`Client::submit`].
    pub async fn submit_bytes(&self, transaction: Vec<u8>) -> Result<TransactionId, ClientError> {
        let submitted: Submitted =
            self.post("/api/v1/transactions", Content::Binary(transaction), TIMEOUT).await?;
        Ok(submitted.id)
    }

    /// Hands in a transaction and waits until it is in a durable block. May be repeated safely after an error: a
    /// known transaction is waited for, not added again.
    pub async fn submit_and_wait(&self, transaction: &Transaction) -> Result<TransactionView, ClientError> {
        let path = format!("/api/v1/transactions?wait=committed&timeout_ms={}", COMMIT_TIMEOUT.as_millis());
        self.post(&path, Content::Binary(transaction.encode()), COMMIT_TIMEOUT + TIMEOUT).await
    }

    /// Hands in several transactions, each given as canonical bytes; every one gets its own answer.
    pub async fn submit_batch<T: AsRef<[u8]>>(&self, transactions: &[T]) -> Result<BatchResult, ClientError> {
        let mut body = Vec::with_capacity(transactions.iter().map(|bytes| 4 + bytes.as_ref().len()).sum());
        for bytes in transactions {
            let length = u32::try_from(bytes.as_ref().len())
                .map_err(|_| self.transport.bad_answer("a transaction of more than 4 GiB was given"))?;
            body.extend_from_slice(&length.to_le_bytes());
            body.extend_from_slice(bytes.as_ref());
        }
        self.post("/api/v1/transactions/batch", Content::Binary(body), TIMEOUT).await
    }

    /// What a transaction would do now.
    pub async fn simulate(&self, body: &TransactionBody) -> Result<SimulateResult, ClientError> {
        let bytes = borsh::to_vec(body).expect("writing to memory cannot fail");
        self.post_json("/api/v1/transactions/simulate", &SimulateRequest { body: HexBytes(bytes) }).await
    }

    /// Balance and nonces.
    pub async fn account(&self, account: &AccountId) -> Result<AccountView, ClientError> {
        self.get(&format!("/api/v1/accounts/{account}"), &[]).await
    }

    /// Installed applications after an id, in order.
    pub async fn apps(&self, after: Option<&AppId>) -> Result<AppPage, ClientError> {
        self.get("/api/v1/apps", &[("after", text(after))]).await
    }

    /// One application.
    pub async fn app(&self, app: &AppId) -> Result<AppView, ClientError> {
        self.get(&format!("/api/v1/apps/{app}"), &[]).await
    }

    /// The schema that travels inside an application's wasm.
    pub async fn schema(&self, app: &AppId) -> Result<AppSchema, ClientError> {
        let path = format!("/api/v1/apps/{app}/schema");
        let bytes = self.transport.request(Method::GET, &path, Content::Nothing, TIMEOUT).await?;
        AppSchema::parse(&bytes).map_err(|error| self.transport.bad_answer(error))
    }

    /// Asks an application; the node turns JSON into its arguments and back.
    pub async fn query(
        &self,
        app: &AppId,
        method: &str,
        request: &QueryRequest,
    ) -> Result<QueryResult, ClientError> {
        self.post_json(&format!("/api/v1/apps/{app}/queries/{}", encoded(method)), request).await
    }

    /// A value of an application's storage, with a proof if asked.
    pub async fn state(&self, app: &AppId, key: &[u8], proof: bool) -> Result<StateView, ClientError> {
        let path = format!("/api/v1/apps/{app}/state/{}", HexBytes(key.to_vec()));
        self.get(&path, &[("proof", proof.then(|| "true".into()))]).await
    }

    /// A page of the event log.
    pub async fn events(&self, query: &EventQuery) -> Result<EventPage, ClientError> {
        self.get(
            &query.path(""),
            &[
                ("topic", query.topic.clone()),
                ("after", text(query.after)),
                ("limit", text(query.limit)),
                query.finality.parameter(),
            ],
        )
        .await
    }

    /// Follows the event log from a position on; see [`EventStream`].
    pub fn follow_events(&self, query: EventQuery) -> EventStream {
        EventStream::new(self.clone(), query)
    }

    /// A page of devices, in id order.
    pub async fn devices(&self, query: &DeviceQuery) -> Result<DevicePage, ClientError> {
        self.get(
            "/api/v1/devices",
            &[
                ("owner", text(query.owner)),
                ("type", query.kind.clone()),
                ("capability", query.capability.clone()),
                ("area", query.area.clone()),
                ("after", text(query.after.as_ref())),
                ("limit", text(query.limit)),
            ],
        )
        .await
    }

    /// One device with its Thing Description.
    pub async fn device(&self, device: &DeviceId) -> Result<DeviceView, ClientError> {
        self.get(&format!("/api/v1/devices/{}", encoded(device.as_str())), &[]).await
    }

    /// The node's counters, in Prometheus' text format.
    pub async fn metrics(&self) -> Result<String, ClientError> {
        let bytes = self.transport.request(Method::GET, "/metrics", Content::Nothing, TIMEOUT).await?;
        String::from_utf8(bytes.to_vec()).map_err(|error| self.transport.bad_answer(error))
    }

    /// Any JSON route, for what has no method here.
    pub async fn get_json(&self, path: &str) -> Result<Value, ClientError> {
        self.get(path, &[]).await
    }

    async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        parameters: &[(&str, Option<String>)],
    ) -> Result<T, ClientError> {
        let path = with_parameters(path, parameters);
        let bytes = self.transport.request(Method::GET, &path, Content::Nothing, TIMEOUT).await?;
        self.decoded(&bytes)
    }

    async fn post_json<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| self.transport.bad_answer(error))?;
        self.post(path, Content::Json(body), TIMEOUT).await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        content: Content,
        timeout: Duration,
    ) -> Result<T, ClientError> {
        let bytes = self.transport.request(Method::POST, path, content, timeout).await?;
        self.decoded(&bytes)
    }

    fn decoded<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, ClientError> {
        serde_json::from_slice(bytes).map_err(|error| self.transport.bad_answer(error))
    }
}

impl EventQuery {
    pub(crate) fn path(&self, suffix: &str) -> String {
        match &self.app {
            Some(app) => format!("/api/v1/apps/{app}/events{suffix}"),
            None => format!("/api/v1/events{suffix}"),
        }
    }
}

fn text(value: Option<impl ToString>) -> Option<String> {
    value.map(|value| value.to_string())
}

/// Appends the parameters that are given.
pub(crate) fn with_parameters(path: &str, parameters: &[(&str, Option<String>)]) -> String {
    let mut path = path.to_string();
    for (name, value) in parameters {
        if let Some(value) = value {
            path.push(if path.contains('?') { '&' } else { '?' });
            path.push_str(&format!("{name}={}", encoded(value)));
        }
    }
    path
}

/// Percent-encodes everything that RFC 3986 does not call unreserved.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_encoded_and_absent_ones_left_out() {
        let path = with_parameters("/x", &[("a", Some("1 &é".into())), ("b", None), ("c", Some("2".into()))]);
        assert_eq!(path, "/x?a=1%20%26%C3%A9&c=2");
    }
}
