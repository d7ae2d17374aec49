//! Faults between a request and its response.

use std::{fmt, sync::Arc, time::Duration};

use hyper::StatusCode;
use tokio::sync::watch;

use super::{
    response::{ApiError, ApiResponse},
    route::Route,
};
use crate::types::ErrorCode;

/// A fault that affects requests. Inject it with [`FakeShiori::inject`](super::FakeShiori::inject).
#[derive(Debug, Clone)]
#[must_use = "a fault has no effect until it is injected"]
pub struct Fault {
    kind: Kind,
    route: Option<Route>,
    times: u32,
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    Status { status: u16, retry_after: Option<Duration> },
    LostRequest,
    LostResponse,
    Held(Arc<Gate>),
}

impl Fault {
    /// The response has this status, and the request is not applied.
    ///
    /// 401, 403, 404, 429, 500 and 503 have the envelope and an error code of a Shiori server; any other
    /// response has no body, as from a proxy.
    pub fn status(status: u16) -> Self {
        Self::new(Kind::Status { status, retry_after: None })
    }

    /// The connection is closed before the request is applied.
    pub fn lost_request() -> Self {
        Self::new(Kind::LostRequest)
    }

    /// The request is applied, and the connection is closed before the response.
    pub fn lost_response() -> Self {
        Self::new(Kind::LostResponse)
    }

    pub(super) fn held(gate: Arc<Gate>) -> Self {
        Self::new(Kind::Held(gate))
    }

    fn new(kind: Kind) -> Self {
        Self { kind, route: None, times: 1 }
    }

    /// Whether this is a hold that was released before it affected a request.
    fn is_released(&self) -> bool {
        matches!(&self.kind, Kind::Held(gate) if *gate.open.borrow())
    }

    /// Affects only requests for this route. Default: requests for any route.
    pub fn on(self, route: Route) -> Self {
        Self { route: Some(route), ..self }
    }

    /// The number of requests that the fault affects. Default: one.
    pub fn times(self, times: u32) -> Self {
        Self { times, ..self }
    }

    /// Sets `Retry-After` of the response, in whole seconds, rounded up. Only a fault with a status
    /// has a response.
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        if let Kind::Status { retry_after, .. } = &mut self.kind {
            *retry_after = Some(wait);
        }
        self
    }
}

/// The pending faults, in the order of their injection.
#[derive(Default)]
pub(super) struct Faults(Vec<Fault>);

impl Faults {
    pub(super) fn add(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    /// Takes the first fault that affects a request for this route.
    pub(super) fn take(&mut self, route: Option<Route>) -> Option<Kind> {
        self.0.retain(|fault| fault.times > 0 && !fault.is_released());
        let is_affected = |fault: &&mut Fault| fault.route.is_none() || fault.route == route;
        let fault = self.0.iter_mut().find(is_affected)?;
        fault.times -= 1;
        Some(fault.kind.clone())
    }
}

/// The response of a fault with a status.
pub(super) fn response(status: u16, retry_after: Option<Duration>) -> ApiResponse {
    let code = match status {
        401 => Some(ErrorCode::Unauthorized),
        403 => Some(ErrorCode::QuotaExceeded),
        404 => Some(ErrorCode::NotFound),
        429 => Some(ErrorCode::TooManySummaries),
        500 => Some(ErrorCode::Internal),
        503 => Some(ErrorCode::Unavailable),
        _ => None,
    };
    let response = match code {
        Some(code) => ApiError::new(status, code).into(),
        None => ApiResponse::empty(StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY)),
    };
    match retry_after {
        Some(wait) => response.with_retry_after(wait),
        None => response,
    }
}

/// Holds a request until the gate is opened.
#[derive(Debug)]
pub(super) struct Gate {
    arrived: watch::Sender<bool>,
    open: watch::Sender<bool>,
}

impl Gate {
    /// Returns when the gate is open.
    pub(super) async fn pass(&self) {
        self.arrived.send_replace(true);
        // The wait cannot fail: `self` owns the sender.
        let _ = self.open.subscribe().wait_for(|open| *open).await;
    }
}

/// Holds a request before it is applied. Created by [`FakeShiori::hold`](super::FakeShiori::hold);
/// dropping it releases the request.
#[must_use = "dropping it releases the request"]
pub struct Hold(Arc<Gate>);

impl Hold {
    pub(super) fn new() -> (Self, Arc<Gate>) {
        let gate = Gate { arrived: watch::Sender::new(false), open: watch::Sender::new(false) };
        let gate = Arc::new(gate);
        (Self(gate.clone()), gate)
    }

    /// Waits until a request has arrived and is held.
    pub async fn arrived(&self) {
        // The wait cannot fail: `self` owns the sender.
        let _ = self.0.arrived.subscribe().wait_for(|arrived| *arrived).await;
    }

    /// Releases the request.
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
