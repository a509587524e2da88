//! What all requests share.

use purlin_api::ErrorCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::error::ApiError;
use crate::schema::SchemaCache;
use crate::{Node, NodeError, RpcLimits, TokenStore};

/// Counts of the server, for `/metrics`.
#[derive(Debug, Default)]
pub(crate) struct RpcMetrics {
    /// Answers by hundreds of the status: index 2 is 2xx.
    answers: [AtomicU64; 6],
    /// Open connections.
    pub(crate) connections: AtomicI64,
    /// Connections that were refused because too many were open.
    pub(crate) connections_refused: AtomicU64,
}

impl RpcMetrics {
    /// Counts an answer.
    pub(crate) fn answered(&self, status: u16) {
        if let Some(counter) = self.answers.get(usize::from(status / 100)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Appends Prometheus text.
    pub(crate) fn write(&self, streams: usize, out: &mut String) {
        out.push_str("# HELP purlin_rpc_requests_total Answered requests by class of status.\n");
        out.push_str("# TYPE purlin_rpc_requests_total counter\n");
        for (class, counter) in self.answers.iter().enumerate().skip(2) {
            let count = counter.load(Ordering::Relaxed);
            out.push_str(&format!("purlin_rpc_requests_total{{status=\"{class}xx\"}} {count}\n"));
        }
        let mut gauge = |name: &str, kind: &str, help: &str, value: i64| {
            out.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n"));
        };
        let connections = self.connections.load(Ordering::Relaxed);
        gauge("purlin_rpc_connections", "gauge", "Open connections.", connections);
        let refused = i64::try_from(self.connections_refused.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
        let help = "Connections refused because too many were open.";
        gauge("purlin_rpc_connections_refused_total", "counter", help, refused);
        gauge("purlin_rpc_streams", "gauge", "Open streams.", i64::try_from(streams).unwrap_or(i64::MAX));
    }
}

/// What all requests share.
pub(crate) struct Shared {
    pub(crate) node: Arc<dyn Node>,
    pub(crate) tokens: TokenStore,
    pub(crate) limits: RpcLimits,
    pub(crate) schemas: SchemaCache,
    pub(crate) metrics: RpcMetrics,
    pub(crate) streams: Arc<Semaphore>,
    pub(crate) blocking: Arc<Semaphore>,
    pub(crate) stopping: CancellationToken,
}

impl Shared {
    pub(crate) fn new(node: Arc<dyn Node>, tokens: TokenStore, limits: RpcLimits) -> Self {
        Self {
            node,
            tokens,
            schemas: SchemaCache::default(),
            metrics: RpcMetrics::default(),
            streams: Arc::new(Semaphore::new(limits.streams_max)),
            blocking: Arc::new(Semaphore::new(limits.blocking_requests_max)),
            stopping: CancellationToken::new(),
            limits,
        }
    }

    /// Runs something that may read the disk or execute wasm. A request that gives up leaves its place taken until
    /// the work really ends, so that slow work cannot pile up.
    pub(crate) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let timeout = self.limits.request_timeout;
        let deadline = tokio::time::Instant::now() + timeout;
        let permit = match tokio::time::timeout_at(deadline, Arc::clone(&self.blocking).acquire_owned()).await
        {
            Ok(Ok(permit)) => permit,
            Ok(Err(_)) => return Err(NodeError::Stopping.into()),
            Err(_) => return Err(ApiError::new(ErrorCode::Busy, "all workers were busy for the whole time")),
        };
        let shared = Arc::clone(self);
        let task = tokio::task::spawn_blocking(move || {
            let result = work(&shared);
            drop(permit);
            result
        });
        match tokio::time::timeout_at(deadline, task).await {
            Ok(Ok(result)) => result,
            Ok(Err(error)) => {
                tracing::error!(%error, "a request panicked");
                Err(ApiError::new(ErrorCode::Internal, "the request ended in a panic"))
            }
            Err(_) => Err(ApiError::new(
                ErrorCode::RequestTimeout,
                format!("the answer took more than {} ms", timeout.as_millis()),
            )),
        }
    }

    /// Returns the number of open streams.
    pub(crate) fn streams_open(&self) -> usize {
        self.limits.streams_max.saturating_sub(self.streams.available_permits())
    }
}
