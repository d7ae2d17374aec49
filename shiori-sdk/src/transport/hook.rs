//! Hooks: code of the embedding program that adds headers to requests and observes them.

use std::{fmt, sync::Arc, time::Duration};

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

use super::error::{Error, ErrorKind, Result};

/// The headers that the SDK or the HTTP client sets itself.
const RESERVED: [&str; 16] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "host",
    "if-none-match",
    "last-event-id",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "x-request-id",
];

/// Code that adds headers to the requests of a client and observes them, for example for traces and
/// metrics.
///
/// Both methods are called for each attempt of a request, also for event streams. They are called on the
/// task of the request, so they must not block. Calls share the renewals of the session, which have only
/// the hooks and headers of the [`ClientBuilder`](crate::ClientBuilder).
///
/// A client has the hooks of its [`CallOptions`](crate::CallOptions):
/// [`ClientBuilder::hook`](crate::ClientBuilder::hook) adds one for all calls,
/// [`CallOptions::with_hook`](crate::CallOptions::with_hook) one for some. They are called in the order
/// in which they were added.
///
/// ```
/// use std::time::Duration;
/// use shiori_sdk::{Attempt, AttemptOutcome, ExtraHeaders, RequestHook};
///
/// struct Metrics;
///
/// impl RequestHook for Metrics {
///     fn before(&self, _attempt: &Attempt<'_>, headers: &mut ExtraHeaders) {
///         let trace = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0b1902b7-01";
///         headers.insert("traceparent", trace).expect("a valid header");
///     }
///
///     fn after(&self, attempt: &Attempt<'_>, outcome: &AttemptOutcome<'_>, elapsed: Duration) {
///         let status = outcome.status_code();
///         println!("{} {}: {status:?} after {elapsed:?}", attempt.method(), attempt.route());
///     }
/// }
/// ```
pub trait RequestHook: Send + Sync {
    /// Called before an attempt is sent. The default adds nothing.
    fn before(&self, attempt: &Attempt<'_>, headers: &mut ExtraHeaders) {
        let _ = (attempt, headers);
    }

    /// Called when an attempt has ended, exactly once for each call of [`before`](Self::before).
    /// `elapsed` is the time since then. An event stream has ended when the headers of its response
    /// have arrived. The default does nothing.
    fn after(&self, attempt: &Attempt<'_>, outcome: &AttemptOutcome<'_>, elapsed: Duration) {
        let _ = (attempt, outcome, elapsed);
    }
}

/// One attempt of a request.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) number: u32,
    pub(super) request_id: &'a str,
}

impl Attempt<'_> {
    /// The method, for example `GET`.
    pub fn method(&self) -> &str {
        self.method
    }

    /// The path below the base URL, for example `/api/diary/20260216`. It may contain dates and ids,
    /// but never text.
    pub fn path(&self) -> &str {
        self.path
    }

    /// The path with names instead of dates, numbers and ids, for example `/api/diary/{date}`: a label
    /// with few values, for metrics.
    pub fn route(&self) -> String {
        let names = self.path.split('/').map(|segment| {
            let is_number = !segment.is_empty() && segment.bytes().all(|it| it.is_ascii_digit());
            match segment {
                _ if is_number && segment.len() == 8 => "{date}",
                _ if is_number => "{number}",
                _ if uuid::Uuid::try_parse(segment).is_ok() => "{id}",
                _ => segment,
            }
        });
        names.collect::<Vec<_>>().join("/")
    }

    /// The number of this attempt of the request; the first is 1.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The `x-request-id`, which is also in the server's log.
    pub fn request_id(&self) -> &str {
        self.request_id
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum AttemptOutcome<'a> {
    /// A response with this successful status, or 304.
    Succeeded(u16),
    /// An error response, or no response.
    Failed(&'a Error),
    /// The caller dropped the future before there was an outcome.
    Cancelled,
}

impl AttemptOutcome<'_> {
    /// The status of the response, if there was one.
    pub fn status_code(&self) -> Option<u16> {
        match self {
            Self::Succeeded(status) => Some(*status),
            Self::Failed(error) => error.status_code(),
            Self::Cancelled => None,
        }
    }
}

/// Headers to add to a request. The values are not shown by `Debug`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ExtraHeaders(HeaderMap);

impl ExtraHeaders {
    /// Adds a header; it replaces an earlier one with this name.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] if the name or the value is not valid, or if the SDK sets this header
    /// itself, as `authorization`, `cookie` or `x-request-id`. Nothing is added then.
    pub fn insert(&mut self, name: &str, value: &str) -> Result<()> {
        let config = |reason: &'static str| Error::new(ErrorKind::Config).with_source(reason);
        let name =
            HeaderName::try_from(name).map_err(|_| config("the name of a header is not valid"))?;
        if RESERVED.contains(&name.as_str()) {
            return Err(config("the SDK sets this header itself"));
        }
        let mut value = HeaderValue::from_str(value)
            .map_err(|_| config("the value of a header is not valid"))?;
        value.set_sensitive(true);
        self.0.insert(name, value);
        Ok(())
    }

    pub(super) fn into_map(self) -> HeaderMap {
        self.0
    }
}

impl fmt::Debug for ExtraHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys().map(HeaderName::as_str)).finish()
    }
}

/// The hooks of a client. Two lists are equal if they contain the same objects.
#[derive(Clone, Default)]
pub(crate) struct Hooks(Vec<Arc<dyn RequestHook>>);

impl Hooks {
    pub(crate) fn push(&mut self, hook: Arc<dyn RequestHook>) {
        self.0.push(hook);
    }

    /// Calls the hooks before an attempt, and returns the headers to add.
    pub(super) fn start<'a>(
        &'a self,
        attempt: Attempt<'a>,
        mut headers: ExtraHeaders,
    ) -> (Observed<'a>, HeaderMap) {
        for hook in &self.0 {
            hook.before(&attempt, &mut headers);
        }
        let observed = Observed { hooks: &self.0, attempt, started: Instant::now() };
        (observed, headers.into_map())
    }
}

impl PartialEq for Hooks {
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(|(a, b)| Arc::ptr_eq(a, b))
    }
}

impl Eq for Hooks {}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} hooks", self.0.len())
    }
}

/// An attempt in progress. It is [`Cancelled`](AttemptOutcome::Cancelled) if this is dropped.
pub(super) struct Observed<'a> {
    hooks: &'a [Arc<dyn RequestHook>],
    attempt: Attempt<'a>,
    started: Instant,
}

impl Observed<'_> {
    /// Calls the hooks after the attempt.
    pub(super) fn end(mut self, outcome: &AttemptOutcome<'_>) {
        self.call(outcome);
    }

    fn call(&mut self, outcome: &AttemptOutcome<'_>) {
        let elapsed = self.started.elapsed();
        for hook in std::mem::take(&mut self.hooks) {
            hook.after(&self.attempt, outcome, elapsed);
        }
    }
}

impl Drop for Observed<'_> {
    fn drop(&mut self) {
        self.call(&AttemptOutcome::Cancelled);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_has_no_dates_numbers_and_ids() {
        for (path, route) in [
            ("/api/diary/20260216", "/api/diary/{date}"),
            ("/api/diary/20260216/revisions/12", "/api/diary/{date}/revisions/{number}"),
            (
                "/api/diary/summary/0198c0de-0000-7000-8000-000000000001/events",
                "/api/diary/summary/{id}/events",
            ),
            ("/api/user", "/api/user"),
            ("/", "/"),
        ] {
            let attempt = Attempt { method: "GET", path, number: 1, request_id: "r" };
            assert_eq!(attempt.route(), route);
        }
    }

    #[test]
    fn headers_of_the_sdk_cannot_be_replaced() {
        let mut headers = ExtraHeaders::default();
        for name in RESERVED.iter().copied().chain(["Authorization", "", "a b"]) {
            let error = headers.insert(name, "secret").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{name}");
        }
        assert!(headers.insert("x-gateway", "line\nbreak").is_err());
        assert_eq!(headers, ExtraHeaders::default());
    }

    #[test]
    fn values_are_not_shown() {
        let mut headers = ExtraHeaders::default();
        headers.insert("X-Gateway-Key", "secret").unwrap();
        assert_eq!(format!("{headers:?}"), r#"{"x-gateway-key"}"#);
        assert!(!format!("{:?}", headers.into_map()).contains("secret"));
    }
}
