//! The layer around every handler: request id, language, timeout, panics, response headers,
//! metrics, log line.
//!
//! This is one layer with its own future, because axum allocates for each layer, and twice for each
//! `middleware::from_fn`.

use std::{
    convert::Infallible,
    future::Future,
    panic::AssertUnwindSafe,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use axum::{
    extract::{MatchedPath, Request},
    response::{IntoResponse, Response},
};
use futures_util::{FutureExt, future::CatchUnwind};
use http::{HeaderName, HeaderValue, Method, header::X_CONTENT_TYPE_OPTIONS};
use pin_project_lite::pin_project;
use shiori_sdk::ErrorCode;
use tokio::{task::futures::TaskLocalFuture, time::Timeout};
use tower::{Layer, Service};
use tracing::{
    Instrument, Span,
    field::{Empty, display},
    instrument::Instrumented,
};
use uuid::Uuid;

use super::{
    caching::{mark_not_stored, mark_personal},
    cors::{Cors, CrossOrigin},
    error::{ApiError, Throttle},
    language::Language,
    trace::trace_parent,
};
use crate::{
    app::App,
    overload::{Admission, Admit},
    slots::Peer,
};

pub(super) static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// `Retry-After` if a request timed out.
const TIMEOUT_RETRY_AFTER: Duration = Duration::from_secs(1);

/// `Retry-After` if too many requests are in progress.
const OVERLOAD_RETRY_AFTER: Duration = Duration::from_secs(1);

/// Wraps handlers in a [`RequestService`].
#[derive(Debug, Clone)]
pub(super) struct RequestLayer {
    app: App,
    time_limit: Duration,
    caching: Caching,
    cors: Option<Cors>,
    /// `None` for requests that are always admitted.
    admission: Option<Admission>,
}

/// How clients may cache the responses of a route.
#[derive(Debug, Clone, Copy)]
enum Caching {
    /// According to the headers of each response.
    Unspecified,
    /// A user's data: only the client may cache it.
    Personal,
    /// They must not be cached.
    Never,
}

impl RequestLayer {
    /// `time_limit` ends with the head of the response; a streamed body, such as the event stream,
    /// is not limited.
    pub(super) fn new(app: &App, time_limit: Duration) -> Self {
        Self {
            app: app.clone(),
            time_limit,
            caching: Caching::Unspecified,
            cors: None,
            admission: None,
        }
    }

    /// A layer for routes whose requests need an admission.
    pub(super) fn admitted_by(self, admission: &Admission) -> Self {
        Self { admission: Some(admission.clone()), ..self }
    }

    /// A layer for routes that browsers may call from other origins.
    pub(super) fn cross_origin(self, cors: Option<Cors>) -> Self {
        Self { cors, ..self }
    }

    /// A layer for routes whose responses contain a user's data.
    pub(super) fn personal(&self) -> Self {
        Self { caching: Caching::Personal, ..self.clone() }
    }

    /// The same for routes whose responses must not be stored.
    pub(super) fn not_stored(&self) -> Self {
        Self { caching: Caching::Never, ..self.clone() }
    }
}

impl<S> Layer<S> for RequestLayer {
    type Service = RequestService<S>;

    fn layer(&self, inner: S) -> RequestService<S> {
        RequestService { inner, layer: self.clone() }
    }
}

/// Sets the request id and the headers that all responses have, selects the language, limits the
/// time, responds to a panic with 500, and logs and counts the request. The log contains only
/// method, route, status, duration, id, trace id and the hash of the user: no path, query, header or
/// body.
#[derive(Debug, Clone)]
pub(super) struct RequestService<S> {
    inner: S,
    layer: RequestLayer,
}

impl<S> Service<Request> for RequestService<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> ResponseFuture<S::Future> {
        let started = Instant::now();
        let id = request_id(&request);
        let method = method_label(request.method());
        let matched = request.extensions().get::<MatchedPath>().cloned();
        let route = matched.as_ref().map_or("unmatched", MatchedPath::as_str);
        let logged_id = id.to_str().unwrap_or_default();
        // `%` is faster than `?`, and the values need no quotes.
        let span = tracing::info_span!(
            "request",
            request_id = %logged_id,
            method = %method,
            route = %route,
            user = Empty,
            trace_id = Empty
        );
        if let Some(trace) = trace_parent(request.headers()) {
            span.record("trace_id", display(trace.trace_id()));
        }
        let language = Language::preferred(request.headers());
        let cross_origin = self.layer.cors.as_ref().map(|cors| cors.check(request.headers()));

        let admit = match (&self.layer.admission, request.extensions().get::<Peer>()) {
            (Some(admission), Some(peer)) => admission.admit(peer.address()),
            _ => Admit::Exempt,
        };
        let handled = (!matches!(admit, Admit::Refused(_))).then(|| {
            let handled = AssertUnwindSafe(self.inner.call(request)).catch_unwind();
            let handled = language.scope(handled).instrument(span.clone());
            tokio::time::timeout(self.layer.time_limit, handled)
        });
        let app = self.layer.app.clone();
        let caching = self.layer.caching;
        let exchange =
            Exchange { app, caching, cross_origin, id, method, matched, language, span, started };
        ResponseFuture { handled, admit, exchange: Some(exchange) }
    }
}

/// A future with the language, span and time limit of its request, whose panics are caught.
type Handled<F> =
    Timeout<Instrumented<TaskLocalFuture<Language, CatchUnwind<AssertUnwindSafe<F>>>>>;

pin_project! {
    /// The response of a [`RequestService`].
    pub(super) struct ResponseFuture<F> {
        // `None` if the request was rejected immediately.
        #[pin]
        handled: Option<Handled<F>>,
        admit: Admit,
        exchange: Option<Exchange>,
    }
}

impl<F> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response, Infallible>>,
{
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let admitted = ready!(this.admit.poll_admitted(cx));
        let handled = match (admitted, this.handled.as_pin_mut()) {
            (Ok(()), Some(handled)) => Some(ready!(handled.poll(cx))),
            _ => None,
        };
        // Released before the response is sent, which may take long.
        *this.admit = Admit::Exempt;
        let exchange = this.exchange.take().expect("a future is not polled after it is ready");
        let Some(handled) = handled else { return Poll::Ready(Ok(exchange.refuse())) };
        let result = match handled {
            Ok(Ok(Ok(response))) => Ok(response),
            Ok(Err(_panic)) => Err(ApiError::new(ErrorCode::Internal)),
            Err(_elapsed) => {
                Err(ApiError::new(ErrorCode::Unavailable).with_retry_after(TIMEOUT_RETRY_AFTER))
            }
        };
        let response =
            result.unwrap_or_else(|error| exchange.language.in_scope(|| error.into_response()));
        Poll::Ready(Ok(exchange.finish(response)))
    }
}

/// The data of a request that the response needs.
struct Exchange {
    app: App,
    caching: Caching,
    cross_origin: Option<CrossOrigin>,
    id: HeaderValue,
    method: &'static str,
    matched: Option<MatchedPath>,
    language: Language,
    span: Span,
    started: Instant,
}

impl Exchange {
    /// The response to a request that was not admitted. It is counted but not logged, because there
    /// may be very many.
    fn refuse(self) -> Response {
        let error = ApiError::new(ErrorCode::Unavailable).with_retry_after(OVERLOAD_RETRY_AFTER);
        let response = self.language.in_scope(|| error.into_response());
        self.count(&response);
        self.identify(response)
    }

    fn finish(self, response: Response) -> Response {
        let took = self.count(&response);
        let status = response.status().as_u16();
        // In ms, with all digits that were measured.
        let duration_ms = f64::from(u32::try_from(took.as_micros()).unwrap_or(u32::MAX)) / 1000.0;
        self.span.in_scope(|| tracing::info!(status, duration_ms, "request completed"));
        self.identify(response)
    }

    fn count(&self, response: &Response) -> Duration {
        let took = self.started.elapsed();
        let route = self.matched.as_ref().map_or("unmatched", MatchedPath::as_str);
        self.app.metrics.request(self.method, route, response.status().as_u16(), took);
        if let Some(Throttle(error)) = response.extensions().get() {
            self.app.metrics.request_throttled(error);
        }
        took
    }

    fn identify(self, mut response: Response) -> Response {
        let headers = response.headers_mut();
        match self.caching {
            Caching::Unspecified => {}
            Caching::Personal => mark_personal(headers),
            Caching::Never => mark_not_stored(headers),
        }
        if let Some(cross_origin) = self.cross_origin {
            cross_origin.mark(headers);
        }
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(X_REQUEST_ID.clone(), self.id);
        response
    }
}

/// The caller's request id if it is safe in a log line, otherwise a new one.
fn request_id(request: &Request) -> HeaderValue {
    const MAX_BYTES: usize = 128;
    let fit = |value: &&HeaderValue| {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte);
        !value.is_empty() && value.len() <= MAX_BYTES && value.as_bytes().iter().all(plain)
    };
    request.headers().get(&X_REQUEST_ID).filter(fit).cloned().unwrap_or_else(|| {
        // Uses the thread's generator, because `Uuid::new_v4` makes a system call.
        let id = uuid::Builder::from_random_bytes(rand::random()).into_uuid();
        HeaderValue::from_str(id.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
            .expect("a UUID consists of hexadecimal digits and hyphens")
    })
}

/// The method's label in metrics. The set is bounded, because clients can send any method.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "OTHER",
    }
}
