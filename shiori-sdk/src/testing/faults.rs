//! What may go wrong between a request and its answer.

use std::{fmt, sync::Arc, time::Duration};

use hyper::StatusCode;
use tokio::sync::watch;

use super::wire::{ApiError, ApiResponse, Route, seconds};
use crate::ErrorCode;

/// Something that goes wrong with a request, for [`FakeShiori::inject`](super::FakeShiori::inject).
#[derive(Debug, Clone)]
#[must_use = "a fault does nothing until it is injected"]
pub struct Fault {
    kind: Kind,
    route: Option<Route>,
    times: u32,
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    Status { status: u16, retry_after: Option<Duration> },
    LostRequest,
    LostAnswer,
    Held(Arc<Gate>),
}

impl Fault {
    /// The request is answered with this status, and nothing of it is applied.
    ///
    /// 401, 404, 429, 500 and 503 come with the envelope and the error name of a Shiori server; any
    /// other status comes bare, as from a proxy.
    pub fn status(status: u16) -> Self {
        Self::new(Kind::Status { status, retry_after: None })
    }

    /// The connection breaks before anything of the request is applied.
    pub fn lost_request() -> Self {
        Self::new(Kind::LostRequest)
    }

    /// The request is applied, and the connection breaks before the answer.
    pub fn lost_response() -> Self {
        Self::new(Kind::LostAnswer)
    }

    pub(super) fn held(gate: Arc<Gate>) -> Self {
        Self::new(Kind::Held(gate))
    }

    fn new(kind: Kind) -> Self {
        Self { kind, route: None, times: 1 }
    }

    /// Whether it is a hold that was released before any request came.
    fn is_lifted(&self) -> bool {
        matches!(&self.kind, Kind::Held(gate) if *gate.open.borrow())
    }

    /// Only requests for this route meet the fault. Default: every request.
    pub fn on(self, route: Route) -> Self {
        Self { route: Some(route), ..self }
    }

    /// So many requests meet the fault. Default: one.
    pub fn times(self, times: u32) -> Self {
        Self { times, ..self }
    }

    /// Asks the client to wait so long, in `Retry-After`, in whole seconds. A fault without a
    /// status has no answer to say so in.
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        if let Kind::Status { retry_after, .. } = &mut self.kind {
            *retry_after = Some(wait);
        }
        self
    }
}

/// The faults still to be met, in the order in which they were injected.
#[derive(Default)]
pub(super) struct Faults(Vec<Fault>);

impl Faults {
    pub(super) fn add(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    /// What a request for this route meets: the first fault that is meant for it.
    pub(super) fn meet(&mut self, route: Option<Route>) -> Option<Kind> {
        self.0.retain(|fault| fault.times > 0 && !fault.is_lifted());
        let meant = |fault: &&mut Fault| fault.route.is_none() || fault.route == route;
        let fault = self.0.iter_mut().find(meant)?;
        fault.times -= 1;
        Some(fault.kind.clone())
    }
}

/// The answer of a fault with a status.
pub(super) fn answer(status: u16, retry_after: Option<Duration>) -> ApiResponse {
    let code = match status {
        401 => Some(ErrorCode::Unauthorized),
        404 => Some(ErrorCode::NotFound),
        429 => Some(ErrorCode::TooManySummaries),
        500 => Some(ErrorCode::Internal),
        503 => Some(ErrorCode::Unavailable),
        _ => None,
    };
    let bare =
        || ApiResponse::bare(StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY));
    let reply = code.map_or_else(bare, |code| ApiError::new(status, code).into());
    match retry_after {
        Some(wait) => reply.with_header(hyper::header::RETRY_AFTER, &seconds(wait)),
        None => reply,
    }
}

/// Where a held request stands.
#[derive(Debug)]
pub(super) struct Gate {
    arrived: watch::Sender<bool>,
    open: watch::Sender<bool>,
}

impl Gate {
    /// Ends when the gate is open.
    pub(super) async fn pass(&self) {
        self.arrived.send_replace(true);
        // The sender is in `self`, so it is not gone.
        let _ = self.open.subscribe().wait_for(|open| *open).await;
    }
}

/// A request that is held back before anything of it is applied. Made by
/// [`FakeShiori::hold`](super::FakeShiori::hold); when it is dropped, the request goes on.
#[must_use = "a request is only held while this lives"]
pub struct Hold(Arc<Gate>);

impl Hold {
    pub(super) fn new() -> (Self, Arc<Gate>) {
        let gate = Gate { arrived: watch::Sender::new(false), open: watch::Sender::new(false) };
        let gate = Arc::new(gate);
        (Self(gate.clone()), gate)
    }

    /// Ends when a request has arrived and is held.
    pub async fn arrived(&self) {
        // The sender is in `self`, so it is not gone.
        let _ = self.0.arrived.subscribe().wait_for(|arrived| *arrived).await;
    }

    /// Lets the request go on.
    pub fn release(self) {}
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.open.send_replace(true);
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold").field("arrived", &*self.0.arrived.borrow()).finish()
    }
}
