//! The listener: connections, their limits and their timeouts.
//!
//! The routes are only called with complete requests, so handlers never wait for a client, and a
//! connection without a complete request can be closed at any time.

mod activity;
mod descriptors;
mod receive;
mod response_body;

use std::{convert::Infallible, io, pin::pin, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use shiori_sdk::ErrorCode;
use tokio::{
    net::{TcpListener, TcpStream},
    select,
    task::JoinHandle,
    time::sleep,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;

pub use self::descriptors::raise_descriptor_limit;
use self::{
    activity::{Activity, Overdue, Timeouts, Watched},
    receive::Receiver,
    response_body::{ResponseBody, Unsent},
};
use crate::{
    api::{Refusal, Routes, unavailable_json},
    config::ConnectionPolicy,
    occasional::Occasional,
    slots::{Full, Peer, Slot, Slots},
};

/// The pause after a failed `accept`, for example without a free descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Failures that may occur for every connection are logged at most once per interval.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// The maximum interval between checks of a connection's timeouts.
const MAX_TICK: Duration = Duration::from_secs(1);

/// If more than this percentage of the connections or of the bytes of responses is in use, waiting
/// connections have the timeout [`HURRY`].
const CROWDED_PERCENT: usize = 75;

/// The timeout of connections that wait for their client if many do, or the server is stopping.
const HURRY: Duration = Duration::from_secs(1);

/// The limit of unsent bytes of long responses; see [`CROWDED_PERCENT`].
const UNSENT_BYTES: usize = 64 << 20;

/// The limit for one address, beyond which its requests are rejected.
const UNSENT_BYTES_PER_ADDRESS: usize = 48 << 20;

/// `Retry-After` of a rejected connection.
const CONNECTION_RETRY_AFTER: Duration = Duration::from_secs(5);

/// The interval of HTTP/2 pings on a connection with open streams.
const PING_INTERVAL: Duration = Duration::from_secs(30);

/// Maximum bytes that an HTTP/2 stream buffers for its client.
const STREAM_SEND_BYTES: usize = 64 << 10;

/// The HTTP/2 receive windows of a stream and a connection. Usual diaries need no window update.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;

/// A running listener.
#[derive(Debug)]
pub(crate) struct Serving {
    task: JoinHandle<()>,
    abort: CancellationToken,
}

impl Serving {
    /// Waits until all connections have ended after `closing` was cancelled.
    ///
    /// # Errors
    ///
    /// If the task of the listener panicked.
    pub(crate) async fn ended(&mut self) -> Result<(), tokio::task::JoinError> {
        (&mut self.task).await
    }

    /// Closes the remaining connections.
    pub(crate) fn abort(&self) {
        self.abort.cancel();
    }
}

/// Serves the routes until `closing` is cancelled. Then connections without a complete request are
/// closed, and the others as soon as their response has been sent.
pub(crate) fn serve(
    listener: TcpListener,
    routes: Routes,
    policy: ConnectionPolicy,
    body_bytes: usize,
    closing: CancellationToken,
) -> Serving {
    let abort = CancellationToken::new();
    let most = descriptors::most_connections(policy.max_connections);
    if most < policy.max_connections {
        tracing::warn!(
            most,
            max_connections = policy.max_connections,
            "the limit of open files allows fewer connections"
        );
    }
    let shared = Arc::new(Shared {
        builder: connection_builder(&policy),
        slots: Slots::new(most, policy.max_connections_per_address),
        receiver: Receiver::new(body_bytes, policy.body_timeout, closing.clone()),
        unsent: Unsent::default(),
        routes: routes.accepted,
        refusals: routes.refused,
        policy,
        closing,
        abort: abort.clone(),
    });
    Serving { task: tokio::spawn(accept_all(listener, shared)), abort }
}

/// The shared state of a listener's connections.
struct Shared {
    builder: auto::Builder<TokioExecutor>,
    slots: Slots,
    receiver: Receiver,
    unsent: Unsent,
    routes: Router,
    refusals: Router,
    policy: ConnectionPolicy,
    closing: CancellationToken,
    abort: CancellationToken,
}

fn connection_builder(policy: &ConnectionPolicy) -> auto::Builder<TokioExecutor> {
    let head_bytes = policy.max_head_bytes.max(ConnectionPolicy::MIN_HEAD_BYTES);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // `Activity` has the timeouts of heads and idle connections, including the time before the
        // first byte.
        .header_read_timeout(None)
        // The size of the read and write buffers; a longer head gets 431.
        .max_buf_size(head_bytes);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(policy.max_streams)
        .max_header_list_size(u32::try_from(head_bytes).unwrap_or(u32::MAX))
        .max_send_buf_size(STREAM_SEND_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(policy.unread_timeout);
    builder
}

async fn accept_all(listener: TcpListener, shared: Arc<Shared>) {
    let connections = TaskTracker::new();
    let failures = Occasional::new(LOG_INTERVAL);
    let refusals = Occasional::new(LOG_INTERVAL);
    loop {
        let accepted = select! {
            biased;
            () = shared.closing.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => match shared.slots.take(peer.ip().into()) {
                Ok(slot) => {
                    let peer = Peer(peer.ip());
                    connections.spawn(serve_connection(stream, peer, slot, Arc::clone(&shared)));
                }
                Err(full) => {
                    if let Some(times) = refusals.report() {
                        tracing::warn!(limit = limit_of(full), times, "connections refused");
                    }
                    refuse(&stream);
                }
            },
            // The client disconnected; the next connection may succeed.
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                if let Some(times) = failures.report() {
                    tracing::error!(%error, times, "cannot accept connections");
                }
                select! {
                    () = shared.closing.cancelled() => break,
                    () = sleep(ACCEPT_PAUSE) => {}
                }
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// The name of the setting with the limit.
fn limit_of(full: Full) -> &'static str {
    match full {
        Full::Total => "max_connections",
        Full::Key => "max_connections_per_address",
    }
}

/// Whether a failed `accept` concerns only one connection.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}

/// Sends a response to a connection that is rejected. The response may get lost, because the
/// connection is closed without reading the request.
fn refuse(stream: &TcpStream) {
    let body = unavailable_json();
    let response = format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nRetry-After: {}\r\nConnection: close\r\n\r\n{body}",
        body.len(),
        CONNECTION_RETRY_AFTER.as_secs(),
    );
    let _ = stream.try_write(response.as_bytes());
}

async fn serve_connection(stream: TcpStream, peer: Peer, _slot: Slot, shared: Arc<Shared>) {
    // Responses are small, so Nagle's algorithm would only delay them.
    let _ = stream.set_nodelay(true);
    descriptors::limit_unacknowledged(&stream, shared.policy.unread_timeout);
    let activity = Arc::new(Activity::new());
    let io = TokioIo::new(Watched::new(stream, Arc::clone(&activity)));
    let service =
        service_fn(|request| respond(Arc::clone(&shared), Arc::clone(&activity), peer, request));
    let mut connection = pin!(shared.builder.serve_connection(io, service));

    let mut is_closing = false;
    let tick = (shared.policy.shortest_timeout() / 4).min(MAX_TICK);
    let mut check = pin!(sleep(tick));
    loop {
        select! {
            biased;
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "connection failed");
                }
                return;
            }
            () = shared.abort.cancelled() => return,
            () = shared.closing.cancelled(), if !is_closing => {
                if activity.is_between_requests() {
                    return;
                }
                is_closing = true;
                connection.as_mut().graceful_shutdown();
            }
            () = check.as_mut() => {
                match activity.overdue(&shared.timeouts()) {
                    None => {}
                    Some(Overdue::Idle) if !is_closing => {
                        is_closing = true;
                        connection.as_mut().graceful_shutdown();
                    }
                    Some(overdue) => {
                        tracing::debug!(?overdue, "connection closed");
                        return;
                    }
                }
                check.as_mut().reset(tokio::time::Instant::now() + tick);
            }
        }
    }
}

impl Shared {
    /// The current timeouts, which are shorter if most connections or response bytes are in use.
    fn timeouts(&self) -> Timeouts {
        let policy = &self.policy;
        let is_stopping = self.closing.is_cancelled();
        let is_crowded = self.slots.percent() >= CROWDED_PERCENT;
        let is_clogged = self.unsent.bytes() >= UNSENT_BYTES / 100 * CROWDED_PERCENT;
        let limit = |timeout: Duration, hurry| if hurry { timeout.min(HURRY) } else { timeout };
        Timeouts {
            head: limit(policy.head_timeout, is_crowded),
            idle: limit(policy.idle_timeout, is_crowded),
            unread: limit(policy.unread_timeout, is_clogged || is_stopping),
        }
    }
}

/// Receives the request, and calls the routes with it.
async fn respond(
    shared: Arc<Shared>,
    activity: Arc<Activity>,
    peer: Peer,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Infallible> {
    let in_progress = activity.begin(request.version());
    let response = match shared.receiver.receive(request).await {
        // Too many bytes of earlier responses are still unsent.
        Ok(mut request) if shared.unsent.bytes_of(peer.address()) >= UNSENT_BYTES_PER_ADDRESS => {
            request.extensions_mut().insert(Refusal(ErrorCode::Unavailable));
            shared.refusals.clone().oneshot(request.map(|_| Body::empty())).await?
        }
        Ok(mut request) => {
            request.extensions_mut().insert(peer);
            shared.routes.clone().oneshot(request).await?
        }
        Err(refused) => shared.refusals.clone().oneshot(refused).await?,
    };
    Ok(response.map(|body| ResponseBody::new(body, in_progress, peer.address(), &shared.unsent)))
}
