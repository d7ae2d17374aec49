//! The responses of the fake server.

use std::time::Duration;

use hyper::{
    HeaderMap, StatusCode,
    header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, SET_COOKIE, WWW_AUTHENTICATE},
};
use serde::Serialize;
use serde_json::{json, value::RawValue};

use crate::types::{Envelope, ErrorCode};

/// A response with its whole body.
#[derive(Debug)]
pub(super) struct ApiResponse {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl ApiResponse {
    /// 200 with data.
    pub(super) fn ok(data: &impl Serialize) -> Self {
        Self::with_status(StatusCode::OK, data)
    }

    /// 200 without data.
    pub(super) fn done() -> Self {
        Self::envelope(StatusCode::OK, None, None)
    }

    /// 202 without data.
    pub(super) fn accepted() -> Self {
        Self::envelope(StatusCode::ACCEPTED, None, None)
    }

    /// This status with data.
    pub(super) fn with_status(status: StatusCode, data: &impl Serialize) -> Self {
        Self::envelope(status, raw(data), None)
    }

    /// The same response with one more header; without it if the value is not a valid one.
    pub(super) fn with_header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    /// The same response with one more cookie; without it if the value is not a valid one.
    pub(super) fn with_cookie(mut self, cookie: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(cookie) {
            self.headers.append(SET_COOKIE, value);
        }
        self
    }

    /// The same response with `Retry-After`, in whole seconds, rounded up.
    pub(super) fn with_retry_after(self, wait: Duration) -> Self {
        let seconds = wait.as_millis().div_ceil(1000).max(1);
        self.with_header(RETRY_AFTER, &seconds.to_string())
    }

    /// A response without a body, as from a proxy.
    pub(super) fn empty(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), body: Vec::new() }
    }

    fn envelope(status: StatusCode, data: Option<Box<RawValue>>, error: Option<ErrorCode>) -> Self {
        let message = error.as_ref().map_or("ok", ErrorCode::as_str).to_owned();
        let envelope = Envelope { code: status.as_u16(), message, data, error };
        let body = serde_json::to_vec(&envelope).unwrap_or_default();
        let response = Self { body, ..Self::empty(status) };
        response.with_header(CONTENT_TYPE, "application/json")
    }
}

/// The data as raw JSON, so that a document is not reformatted.
fn raw(data: &impl Serialize) -> Option<Box<RawValue>> {
    serde_json::value::to_raw_value(data).ok()
}

/// An error response.
#[derive(Debug)]
pub(super) struct ApiError {
    status: u16,
    code: ErrorCode,
    data: Option<Box<RawValue>>,
    retry_after: Option<Duration>,
    /// Whether the request had an access token, which is invalid.
    had_token: bool,
}

impl ApiError {
    pub(super) fn new(status: u16, code: ErrorCode) -> Self {
        Self { status, code, data: None, retry_after: None, had_token: false }
    }

    /// The access token of the request is invalid, or its session has ended.
    pub(super) fn invalid_token(code: ErrorCode) -> Self {
        Self { had_token: true, ..Self::new(401, code) }
    }

    pub(super) fn not_found() -> Self {
        Self::new(404, ErrorCode::NotFound)
    }

    /// A field of the request breaks a rule.
    pub(super) fn invalid_field(field: &str, rule: &str) -> Self {
        let data = json!({ "field": field, "rule": rule });
        Self::new(422, ErrorCode::InvalidRequest).with_data(&data)
    }

    pub(super) fn with_data(mut self, data: &impl Serialize) -> Self {
        self.data = raw(data);
        self
    }

    pub(super) fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }
}

impl From<ApiError> for ApiResponse {
    fn from(error: ApiError) -> Self {
        let status = StatusCode::from_u16(error.status);
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = Self::envelope(status, error.data, Some(error.code));
        if status == StatusCode::UNAUTHORIZED {
            let error = if error.had_token { ", error=\"invalid_token\"" } else { "" };
            let challenge = format!("Bearer realm=\"shiori\"{error}");
            response = response.with_header(WWW_AUTHENTICATE, &challenge);
        }
        match error.retry_after {
            Some(wait) => response.with_retry_after(wait),
            None => response,
        }
    }
}
