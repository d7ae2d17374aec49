//! What is asked and answered: the shape of requests, answers and errors, and which route is
//! which.

use std::{str::FromStr, time::Duration};

use hyper::{
    HeaderMap, Method, StatusCode,
    body::Bytes,
    header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER},
};
use reqwest::Url;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{json, value::RawValue};

use crate::{Date, DateRange, Envelope, ErrorCode, MAX_RANGE_DAYS};

/// A route of the API, to say which requests a fault is meant for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Route {
    /// `POST /api/user/signup`
    SignUp,
    /// `POST /api/user/login`
    LogIn,
    /// `DELETE /api/user/logout`
    LogOut,
    /// `POST /api/auth/refresh`
    Refresh,
    /// `POST /api/auth/verify`
    Verify,
    /// `GET /api/auth/sessions`
    Sessions,
    /// `DELETE /api/auth/sessions/{id}`
    Revoke,
    /// `GET /api/diary/{date}`
    Get,
    /// `POST /api/diary/{date}`
    Save,
    /// `DELETE /api/diary/{date}`
    Delete,
    /// `POST /api/diary/{date}/archive`
    Archive,
    /// `GET /api/diary`
    List,
    /// `POST /api/diary/summary`
    RequestSummary,
    /// `GET /api/diary/summary/{id}`
    Summary,
    /// `GET /api/diary/summary/{id}/events`
    Events,
    /// `DELETE /api/diary/summary/{id}`
    Cancel,
    /// `GET /api/diary/reflections`
    Reflection,
}

impl Route {
    /// The route of a request, and the date or id in its path.
    pub(super) fn find<'a>(method: &Method, path: &'a str) -> Result<(Self, &'a str), ApiError> {
        use Route::{
            Archive, Cancel, Delete, Events, Get, List, LogIn, LogOut, Reflection, Refresh,
            RequestSummary, Revoke, Save, Sessions, SignUp, Summary, Verify,
        };
        const GET: Method = Method::GET;
        const POST: Method = Method::POST;
        const DELETE: Method = Method::DELETE;

        let segments: Vec<_> = path.split('/').skip(1).collect();
        let (parameter, routes): (&str, &[(Method, Self)]) = match segments[..] {
            ["api", "user", "signup"] => ("", &[(POST, SignUp)]),
            ["api", "user", "login"] => ("", &[(POST, LogIn)]),
            ["api", "user", "logout"] => ("", &[(DELETE, LogOut)]),
            ["api", "auth", "refresh"] => ("", &[(POST, Refresh)]),
            ["api", "auth", "verify"] => ("", &[(POST, Verify)]),
            ["api", "auth", "sessions"] => ("", &[(GET, Sessions)]),
            ["api", "auth", "sessions", id] => (id, &[(DELETE, Revoke)]),
            ["api", "diary"] => ("", &[(GET, List)]),
            ["api", "diary", "summary"] => ("", &[(POST, RequestSummary)]),
            ["api", "diary", "summary", id] => (id, &[(GET, Summary), (DELETE, Cancel)]),
            ["api", "diary", "summary", id, "events"] => (id, &[(GET, Events)]),
            ["api", "diary", "reflections"] => ("", &[(GET, Reflection)]),
            ["api", "diary", date] if !date.is_empty() => {
                (date, &[(GET, Get), (POST, Save), (DELETE, Delete)])
            }
            ["api", "diary", date, "archive"] => (date, &[(POST, Archive)]),
            _ => return Err(ApiError::new(404, ErrorCode::NotFound)),
        };
        let found = routes.iter().find(|(known, _)| known == method);
        let (_, route) = found.ok_or_else(|| ApiError::new(405, ErrorCode::MethodNotAllowed))?;
        Ok((*route, parameter))
    }
}

/// Bytes of a body, at most.
pub(super) const MAX_BODY_BYTES: usize = 1024 * 1024;

/// A request whose route is known.
pub(super) struct ApiRequest {
    pub(super) route: Route,
    /// The date or id in the path.
    pub(super) parameter: String,
    pub(super) query: Option<String>,
    pub(super) headers: HeaderMap,
    /// `None` when it is too large.
    pub(super) body: Option<Bytes>,
}

impl ApiRequest {
    pub(super) fn header(&self, name: impl hyper::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(super) fn body<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        let kind = self.header(CONTENT_TYPE).and_then(|value| value.split(';').next());
        if !kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json")) {
            return Err(ApiError::new(415, ErrorCode::UnsupportedMediaType));
        }
        let body = self.body.as_ref();
        let body = body.ok_or_else(|| ApiError::new(413, ErrorCode::BodyTooLarge))?;
        let mut deserializer = serde_json::Deserializer::from_slice(body);
        let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
            let rule = if error.inner().is_data() { "type" } else { "json" };
            ApiError::field(&error.path().to_string(), rule)
        })?;
        deserializer.end().map_err(|_| ApiError::field("body", "json"))?;
        Ok(value)
    }

    /// The date in the path.
    pub(super) fn date(&self) -> Result<Date, ApiError> {
        date(&self.parameter)
    }

    /// The id in the path. What is none names nothing that exists.
    pub(super) fn id<T: FromStr>(&self) -> Result<T, ApiError> {
        self.parameter.parse().map_err(|_| ApiError::new(404, ErrorCode::NotFound))
    }

    /// A parameter of the query.
    pub(super) fn param<T: FromStr>(&self, name: &str) -> Result<Option<T>, ApiError> {
        let Ok(url) = Url::parse(&format!("http://fake/?{}", self.query.as_deref().unwrap_or("")))
        else {
            return Err(ApiError::field("query", "type"));
        };
        let found = url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.parse());
        found.transpose().map_err(|_| ApiError::field("query", "type"))
    }

    /// The range `?start&end`, at most [`MAX_RANGE_DAYS`].
    pub(super) fn range(&self) -> Result<DateRange, ApiError> {
        let end = |name: &str| match self.param::<String>(name)? {
            Some(text) => date(&text),
            None => Err(ApiError::field(name, "required")),
        };
        let range = DateRange::new(end("start")?, end("end")?).ok();
        let range = range.filter(|range| range.days() <= MAX_RANGE_DAYS);
        range.ok_or_else(|| ApiError::new(400, ErrorCode::InvalidRange))
    }
}

pub(super) fn date(text: &str) -> Result<Date, ApiError> {
    text.parse().map_err(|_| ApiError::new(422, ErrorCode::InvalidDate))
}

/// An answer, body and all.
#[derive(Debug)]
pub(super) struct ApiResponse {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl ApiResponse {
    /// 200 with data.
    pub(super) fn ok(data: &impl Serialize) -> Self {
        Self::envelope(StatusCode::OK, raw(data), None)
    }

    /// 200 without data.
    pub(super) fn done() -> Self {
        Self::envelope(StatusCode::OK, None, None)
    }

    /// The same answer with another status.
    pub(super) fn with_status<T: Serialize>(data: &T, status: StatusCode) -> Self {
        Self::envelope(status, raw(data), None)
    }

    /// The same answer with one more header. What is no header value is left out.
    pub(super) fn with_header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    /// A bare answer, as something between client and server would give it.
    pub(super) fn bare(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), body: Vec::new() }
    }

    fn envelope(status: StatusCode, data: Option<Box<RawValue>>, error: Option<ErrorCode>) -> Self {
        let message = error.as_ref().map_or("ok", ErrorCode::as_str).to_owned();
        let envelope = Envelope { code: status.as_u16(), message, data, error };
        let body = serde_json::to_vec(&envelope).unwrap_or_default();
        let reply = Self { status, headers: HeaderMap::new(), body };
        reply.with_header(CONTENT_TYPE, "application/json")
    }
}

/// The data as it will stand on the wire: a document keeps its letter.
fn raw(data: &impl Serialize) -> Option<Box<RawValue>> {
    serde_json::value::to_raw_value(data).ok()
}

/// An answer that refuses.
#[derive(Debug)]
pub(super) struct ApiError {
    status: u16,
    code: ErrorCode,
    data: Option<Box<RawValue>>,
    retry_after: Option<Duration>,
}

impl ApiError {
    pub(super) fn new(status: u16, code: ErrorCode) -> Self {
        Self { status, code, data: None, retry_after: None }
    }

    /// A field of the request breaks its rule.
    pub(super) fn field(field: &str, rule: &str) -> Self {
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
        let reply = Self::envelope(status, error.data, Some(error.code));
        match error.retry_after {
            Some(wait) => reply.with_header(RETRY_AFTER, &seconds(wait)),
            None => reply,
        }
    }
}

/// Whole seconds, rounded up, as `Retry-After` wants them.
pub(super) fn seconds(wait: Duration) -> String {
    wait.as_millis().div_ceil(1000).max(1).to_string()
}

pub(super) fn not_found() -> ApiError {
    ApiError::new(404, ErrorCode::NotFound)
}
