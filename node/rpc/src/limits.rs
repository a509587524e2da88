//! Bounds on everything a client can make large or slow.

use std::time::Duration;

/// Limits of the server. Each has a defined answer, named at the field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RpcLimits {
    /// Largest JSON body, in bytes; more is `body_too_large`. Bodies that carry a transaction may have
    /// [`RpcLimits::transaction_body_bytes_max`].
    pub json_body_bytes_max: usize,
    /// Largest body with one transaction, in bytes, as binary; JSON may have twice that and some.
    pub transaction_body_bytes_max: usize,
    /// Largest body with a batch, in bytes; more is `body_too_large`.
    pub batch_body_bytes_max: usize,
    /// Most transactions in a batch; more is `batch_too_long`.
    pub batch_transactions_max: usize,
    /// Most TCP connections at once; the next gets `too_many_connections` and is closed.
    pub connections_max: usize,
    /// Most unix socket connections at once, counted apart so that the operator is never locked out.
    pub unix_connections_max: usize,
    /// Most event and block streams at once; the next gets `too_many_streams`.
    pub streams_max: usize,
    /// Most reads and queries running at once; more wait, then get `busy`.
    pub blocking_requests_max: usize,
    /// Time for a request's head to arrive, which is also how long an idle connection is kept; then it is closed.
    pub header_timeout: Duration,
    /// Largest request head, in bytes; more is 431.
    pub header_bytes_max: usize,
    /// Time for a request's body to arrive, and again for the answer to be made; then `request_timeout`.
    pub request_timeout: Duration,
    /// Longest `timeout_ms` of a waiting request; more is cut to it.
    pub wait_timeout_max: Duration,
    /// Most entries of a page; a larger `limit` is `bad_request`.
    pub page_size_max: usize,
    /// Silence on a stream before a keep-alive is sent.
    pub keep_alive: Duration,
    /// Time that open requests get at shutdown before their connections are cut.
    pub shutdown_timeout: Duration,
}

impl RpcLimits {
    /// Entries of a page when the client does not say.
    pub const PAGE_SIZE_DEFAULT: usize = 20;
    /// Waiting time when the client does not say.
    pub const WAIT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
}

impl Default for RpcLimits {
    fn default() -> Self {
        Self {
            json_body_bytes_max: 1024 * 1024,
            transaction_body_bytes_max: purlin_abi::limits::TRANSACTION_BYTES_MAX,
            batch_body_bytes_max: 16 * 1024 * 1024,
            batch_transactions_max: 5_000,
            connections_max: 512,
            unix_connections_max: 64,
            streams_max: 128,
            blocking_requests_max: 64,
            header_timeout: Duration::from_secs(60),
            header_bytes_max: 32 * 1024,
            request_timeout: Duration::from_secs(30),
            wait_timeout_max: Duration::from_secs(120),
            page_size_max: 100,
            keep_alive: Duration::from_secs(15),
            shutdown_timeout: Duration::from_secs(5),
        }
    }
}
