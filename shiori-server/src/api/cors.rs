//! Requests of browsers from other origins (CORS, in the Fetch standard): only configured origins
//! may call the API.

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS,
        ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS,
        ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
    },
};

use crate::config::Origin;

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, DELETE");

/// Request headers that need permission.
const REQUEST_HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, if-none-match, last-event-id, traceparent, x-request-id",
);

/// Response headers that scripts may read, in addition to those that they can always read.
const RESPONSE_HEADERS: HeaderValue =
    HeaderValue::from_static("etag, location, retry-after, www-authenticate, x-request-id");

/// How long browsers cache the response to a preflight, in seconds. Chromium's limit is two hours.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");

/// The origins that may call the API.
#[derive(Debug, Clone)]
pub(super) struct Cors(Arc<[Origin]>);

impl Cors {
    /// `None` without origins. Responses then have no header for other origins, so that browsers do
    /// not let their scripts read them.
    pub(super) fn new(origins: &[Origin]) -> Option<Self> {
        (!origins.is_empty()).then(|| Self(origins.into()))
    }

    /// Whether the origin of a request may read the response.
    pub(super) fn check(&self, headers: &HeaderMap) -> CrossOrigin {
        let origin = headers.get(ORIGIN);
        let allowed = origin.filter(|origin| self.0.iter().any(|one| one.as_str() == *origin));
        CrossOrigin(allowed.cloned())
    }

    /// The response to a preflight from one of these origins; `None` for other requests. The layer of
    /// all requests adds the other headers.
    pub(super) fn preflight(&self, method: &Method, headers: &HeaderMap) -> Option<Response> {
        let is_preflight =
            method == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        if !is_preflight || self.check(headers).0.is_none() {
            return None;
        }
        let headers = [
            (ACCESS_CONTROL_ALLOW_METHODS, METHODS),
            (ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS),
            (ACCESS_CONTROL_MAX_AGE, MAX_AGE),
        ];
        Some((StatusCode::NO_CONTENT, headers).into_response())
    }
}

/// The origin of a request, if it may read the response.
pub(super) struct CrossOrigin(Option<HeaderValue>);

impl CrossOrigin {
    /// Permits the origin to read a response, with credentials, because the refresh token is a
    /// cookie. All responses have `Vary`, including those to other origins and those without one.
    pub(super) fn mark(self, headers: &mut HeaderMap) {
        headers.append(VARY, HeaderValue::from_static("origin"));
        if let Self(Some(origin)) = self {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, RESPONSE_HEADERS);
        }
    }
}
