//! Listens on loopback TCP and a unix socket, with limits on connections, and stops without cutting answers off.

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use axum::response::IntoResponse;
use futures::FutureExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use purlin_api::{ErrorCode, Problem};
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tower::Service;

use crate::access::{self, Listener};
use crate::error::ApiError;
use crate::shared::Shared;
use crate::{Node, RpcLimits, TokenError, TokenStore, routes};

/// Pause after the operating system refused to accept, most often for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Longest path of a unix socket, in bytes; the limit of Linux without its final zero.
const SOCKET_PATH_BYTES_MAX: usize = 107;
/// Most headers of a request; more is 431.
const HEADERS_MAX: usize = 64;

/// Where and how to serve.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Loopback address and port; port 0 takes a free one. `None` serves no TCP.
    pub tcp: Option<SocketAddr>,
    /// Path of the unix socket. `None` serves none.
    pub unix: Option<PathBuf>,
    /// File of the tokens; see [`TokenStore`].
    pub tokens: PathBuf,
    /// Bounds.
    pub limits: RpcLimits,
}

/// Says why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Reachable from other machines.
    #[error(
        "{address} can be reached from other machines, and this server speaks no TLS; listen on 127.0.0.1 or [::1] \
         and put a reverse proxy with TLS before it"
    )]
    NotLoopback {
        /// The address asked for.
        address: SocketAddr,
    },
    /// Another process listens there.
    #[error("port {} of {} is in use; stop the other process, or choose another port", address.port(), address.ip())]
    PortInUse {
        /// The address asked for.
        address: SocketAddr,
    },
    /// The operating system refused.
    #[error("cannot listen on {address}: {source}")]
    Tcp {
        /// The address asked for.
        address: SocketAddr,
        /// What it said.
        source: io::Error,
    },
    /// Another node answers there.
    #[error("another process answers at {}; stop that node, or choose another home", path.display())]
    SocketInUse {
        /// Which socket.
        path: PathBuf,
    },
    /// Something that is no socket is there.
    #[error("{} exists and is not a socket; move it away", path.display())]
    NotASocket {
        /// Which path.
        path: PathBuf,
    },
    /// The path is too long for the operating system.
    #[error("the socket path {} has {length} bytes; at most {SOCKET_PATH_BYTES_MAX} are possible; choose a shorter home", path.display())]
    SocketPathTooLong {
        /// Which path.
        path: PathBuf,
        /// Its bytes.
        length: usize,
    },
    /// The operating system refused.
    #[error("cannot listen on {}: {source}", path.display())]
    Unix {
        /// Which socket.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// The tokens cannot be read.
    #[error(transparent)]
    Tokens(#[from] TokenError),
}

/// A server that listens and does not answer yet; see [`Server::serve`].
#[derive(Debug)]
pub struct Server {
    tcp: Option<TcpListener>,
    tcp_address: Option<SocketAddr>,
    unix: Option<UnixSocket>,
    tokens: TokenStore,
    limits: RpcLimits,
}

/// A bound socket; the file goes when this does.
#[derive(Debug)]
struct UnixSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "socket file could not be removed");
        }
    }
}

impl Server {
    /// Takes the addresses, so that a conflict is known before the node starts. Needs a tokio runtime.
    pub fn bind(config: ServerConfig) -> Result<Self, BindError> {
        let tokens = TokenStore::open(config.tokens)?;
        let tcp = config.tcp.map(bind_tcp).transpose()?;
        let tcp_address = tcp.as_ref().and_then(|listener| listener.local_addr().ok());
        let unix = config.unix.map(bind_unix).transpose()?;
        Ok(Self { tcp, tcp_address, unix, tokens, limits: config.limits })
    }

    /// Returns the TCP address in use, with the real port.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.tcp_address
    }

    /// Returns the path of the unix socket.
    pub fn unix_path(&self) -> Option<&Path> {
        self.unix.as_ref().map(|socket| socket.path.as_path())
    }

    /// Answers until `stop` is done. Then no connection is accepted, streams end, open requests get
    /// [`RpcLimits::shutdown_timeout`], and the socket file is removed.
    pub async fn serve(self, node: Arc<dyn Node>, stop: impl Future<Output = ()>) {
        let shutdown_timeout = self.limits.shutdown_timeout;
        let shared = Arc::new(Shared::new(node, self.tokens, self.limits));
        let router = routes::router(Arc::clone(&shared));
        let tasks = TaskTracker::new();
        {
            let tcp = accept_tcp(self.tcp, &shared, &router, &tasks);
            let unix = accept_unix(self.unix.as_ref(), &shared, &router, &tasks);
            tokio::select! {
                () = stop => {}
                () = async { tokio::join!(tcp, unix); } => {}
            }
        }
        drop(self.unix);
        shared.stopping.cancel();
        tasks.close();
        if tokio::time::timeout(shutdown_timeout, tasks.wait()).await.is_err() {
            tracing::warn!(connections = tasks.len(), "connections were cut off at shutdown");
        }
    }
}

fn bind_tcp(address: SocketAddr) -> Result<TcpListener, BindError> {
    if !address.ip().is_loopback() {
        return Err(BindError::NotLoopback { address });
    }
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::PortInUse { address },
        _ => BindError::Tcp { address, source },
    };
    let listener = std::net::TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    TcpListener::from_std(listener).map_err(failed)
}

fn bind_unix(path: PathBuf) -> Result<UnixSocket, BindError> {
    // Bound under another name and moved, so that the socket never exists with a wider mode.
    let temporary = path.with_extension("new");
    let length = path.as_os_str().len().max(temporary.as_os_str().len());
    if length > SOCKET_PATH_BYTES_MAX {
        return Err(BindError::SocketPathTooLong { path, length });
    }
    if let Ok(metadata) = std::fs::symlink_metadata(&path) {
        if !metadata.file_type().is_socket() {
            return Err(BindError::NotASocket { path });
        }
        if std::os::unix::net::UnixStream::connect(&path).is_ok() {
            return Err(BindError::SocketInUse { path });
        }
    }
    let bind = || {
        match std::fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&temporary)?;
        std::fs::set_permissions(&temporary, std::fs::Permissions::from_mode(0o600))?;
        std::fs::rename(&temporary, &path)?;
        Ok(listener)
    };
    match bind() {
        Ok(listener) => Ok(UnixSocket { listener, path }),
        Err(source) => Err(BindError::Unix { path, source }),
    }
}

async fn accept_tcp(
    listener: Option<TcpListener>,
    shared: &Arc<Shared>,
    router: &Router,
    tasks: &TaskTracker,
) {
    let Some(listener) = listener else { return std::future::pending().await };
    let max = shared.limits.connections_max;
    let places = Arc::new(Semaphore::new(max));
    loop {
        let Some((stream, _)) = accepted(listener.accept().await).await else { continue };
        // Answers are one write each; waiting for more would only add delay.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            shared.metrics.connections_refused.fetch_add(1, Ordering::Relaxed);
            refuse(max, stream.into_std());
            continue;
        };
        let connection = connection(stream, Listener::Tcp, Arc::clone(shared), router.clone());
        tasks.spawn(connection.inspect(move |()| drop(place)));
    }
}

async fn accept_unix(
    socket: Option<&UnixSocket>,
    shared: &Arc<Shared>,
    router: &Router,
    tasks: &TaskTracker,
) {
    let Some(socket) = socket else { return std::future::pending().await };
    let max = shared.limits.unix_connections_max;
    let places = Arc::new(Semaphore::new(max));
    loop {
        let Some((stream, _)) = accepted(socket.listener.accept().await).await else { continue };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            shared.metrics.connections_refused.fetch_add(1, Ordering::Relaxed);
            refuse(max, stream.into_std());
            continue;
        };
        let connection = connection(stream, Listener::Unix, Arc::clone(shared), router.clone());
        tasks.spawn(connection.inspect(move |()| drop(place)));
    }
}

async fn accepted<T>(result: io::Result<T>) -> Option<T> {
    match result {
        Ok(stream) => Some(stream),
        Err(error) => {
            tracing::warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

/// Tells a client why it is turned away; costs no task, and what does not fit the socket's buffer is not sent.
fn refuse<S: io::Write>(max: usize, stream: io::Result<S>) {
    let problem = Problem::new(
        ErrorCode::TooManyConnections,
        format!("{max} connections are open, which is the limit"),
    );
    let body = serde_json::to_string(&problem).unwrap_or_default();
    let head = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: {}\r\ncontent-length: {}\r\nretry-after: 1\r\n\
         connection: close\r\n\r\n",
        purlin_api::PROBLEM_CONTENT_TYPE,
        body.len()
    );
    // The socket does not block, and a new one has room for this.
    if let Err(error) = stream.and_then(|mut stream| stream.write_all((head + &body).as_bytes())) {
        tracing::debug!(%error, "a refused client could not be told");
    }
}

async fn connection<S>(stream: S, listener: Listener, shared: Arc<Shared>, router: Router)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    shared.metrics.connections.fetch_add(1, Ordering::Relaxed);
    let service = hyper::service::service_fn(|request| answer(listener, &shared, router.clone(), request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(shared.limits.header_timeout)
        .max_headers(HEADERS_MAX)
        .max_buf_size(shared.limits.header_bytes_max)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = shared.stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
    shared.metrics.connections.fetch_sub(1, Ordering::Relaxed);
}

async fn answer(
    listener: Listener,
    shared: &Arc<Shared>,
    mut router: Router,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let allowed =
        access::check(listener, &shared.tokens, request.method(), request.uri().path(), request.headers());
    let response = match allowed {
        Err(error) => error.into_response(),
        Ok(()) => match AssertUnwindSafe(router.call(request.map(Body::new))).catch_unwind().await {
            Ok(Ok(response)) => response,
            Ok(Err(never)) => match never {},
            Err(_) => {
                tracing::error!("a request panicked");
                ApiError::new(ErrorCode::Internal, "the request ended in a panic").into_response()
            }
        },
    };
    shared.metrics.answered(response.status().as_u16());
    Ok(response)
}
