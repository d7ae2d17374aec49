//! A request, and its result: a response, or an error with the body of the error response.

use std::time::Duration;

use bytes::Bytes;
use reqwest::{
    Method, StatusCode,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    error::{Error, ErrorKind, Result, WasSent},
    hook::Attempt,
};
use crate::types::Envelope;

/// A request that can be sent several times.
#[derive(Clone)]
pub(crate) struct Request {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) headers: HeaderMap,
    /// Shared by all attempts; a clone copies no bytes.
    pub(super) body: Option<Bytes>,
    pub(super) is_idempotent: bool,
    /// How long the server may wait before it responds, added to the timeouts.
    pub(super) server_wait: Duration,
    /// Upper bound of the attempt timeout in the options.
    pub(super) max_attempt_timeout: Duration,
}

impl Request {
    /// A GET request, which is idempotent.
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path.into()).idempotent()
    }

    /// A DELETE request, which is idempotent.
    pub(crate) fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path.into()).idempotent()
    }

    /// A PATCH request that sets values, which is idempotent.
    pub(crate) fn patch(path: impl Into<String>) -> Self {
        Self::new(Method::PATCH, path.into()).idempotent()
    }

    /// A POST request. Unless it is marked as [`idempotent`](Self::idempotent), it is sent again
    /// only if the server cannot have received it.
    pub(crate) fn post(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path.into())
    }

    fn new(method: Method, path: String) -> Self {
        Self {
            method,
            path,
            query: Vec::new(),
            headers: HeaderMap::new(),
            body: None,
            is_idempotent: false,
            server_wait: Duration::ZERO,
            max_attempt_timeout: Duration::MAX,
        }
    }

    /// Marks the request as idempotent: applying it twice is the same as once, or the server
    /// recognises the repetition.
    pub(crate) fn idempotent(self) -> Self {
        Self { is_idempotent: true, ..self }
    }

    /// Marks the request as not idempotent: it is sent again only if the server cannot have received
    /// it.
    pub(crate) fn sent_once(self) -> Self {
        Self { is_idempotent: false, ..self }
    }

    pub(crate) fn query(mut self, name: &'static str, value: &impl ToString) -> Self {
        self.query.push((name, value.to_string()));
        self
    }

    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Sets the body.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidRequest`] when it cannot be serialised.
    pub(crate) fn json(self, body: &impl Serialize) -> Result<Self> {
        let body = serde_json::to_vec(body)
            .map_err(|error| Error::new(ErrorKind::InvalidRequest).with_source(describe(&error)))?;
        Ok(Self { body: Some(body.into()), ..self })
    }

    /// The nth attempt of this request, for hooks.
    pub(super) fn attempt<'a>(&'a self, number: u32, request_id: &'a str) -> Attempt<'a> {
        Attempt { method: self.method.as_str(), path: &self.path, number, request_id }
    }

    pub(crate) fn max_attempt_timeout(self, max_attempt_timeout: Duration) -> Self {
        Self { max_attempt_timeout, ..self }
    }

    pub(crate) fn server_wait(self, server_wait: Duration) -> Self {
        Self { server_wait, ..self }
    }
}

/// A complete response with a successful status, or 304.
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    pub(super) request_id: String,
    pub(super) attempts: u32,
}

impl Response {
    /// The envelope's data; null is an error.
    pub(crate) fn data<T: DeserializeOwned>(&self) -> Result<T> {
        self.optional_data()?.ok_or_else(|| self.invalid())
    }

    /// The envelope's data; `None` if it is null.
    pub(crate) fn optional_data<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        let envelope: Envelope<T> = serde_json::from_slice(&self.body)
            .map_err(|error| self.invalid().with_source(describe(&error)))?;
        Ok(envelope.data)
    }

    fn invalid(&self) -> Error {
        Error::new(ErrorKind::InvalidResponse)
            .with_sent(WasSent::Yes)
            .with_request_id(&self.request_id)
            .with_attempts(self.attempts)
    }
}

/// A failed request: the error, and the body of the error response if there was one.
pub(crate) struct FailedRequest {
    pub(crate) error: Error,
    pub(super) body: Vec<u8>,
    /// Whether an earlier attempt of this request may have been applied.
    pub(crate) maybe_applied: bool,
}

impl FailedRequest {
    /// The envelope's data, if it has this shape.
    pub(crate) fn data<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice::<Envelope<T>>(&self.body).ok()?.data
    }

    /// Records whether an earlier attempt may have been applied.
    pub(super) fn with_maybe_applied(mut self, maybe_applied: bool) -> Self {
        self.maybe_applied = maybe_applied;
        if maybe_applied && self.error.was_sent() == WasSent::No {
            self.error = self.error.with_sent(WasSent::Maybe);
        }
        self
    }
}

/// A request that failed without a response.
impl From<Error> for FailedRequest {
    fn from(error: Error) -> Self {
        Self { error, body: Vec::new(), maybe_applied: false }
    }
}

impl From<FailedRequest> for Error {
    fn from(failed: FailedRequest) -> Self {
        failed.error
    }
}

/// Category and position of a JSON error. The message of serde is omitted because it may quote the
/// body.
pub(crate) fn describe(error: &serde_json::Error) -> String {
    format!("{:?} error at line {}, column {}", error.classify(), error.line(), error.column())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Unserialisable;

    impl Serialize for Unserialisable {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("secret text"))
        }
    }

    #[test]
    fn a_body_that_cannot_be_serialised_is_an_error() {
        let error = Request::post("/").json(&Unserialisable).err().expect("an error");
        assert_eq!((error.kind(), error.was_sent()), (ErrorKind::InvalidRequest, WasSent::No));
        assert!(!format!("{error:?} {error}").contains("secret"));
    }

    #[test]
    fn a_clone_shares_the_body() {
        let request = Request::post("/").json(&"text").expect("a string is JSON");
        let pointer = |request: &Request| request.body.as_ref().map(|body| body.as_ptr());
        assert_eq!(pointer(&request), pointer(&request.clone()));
    }

    #[test]
    fn a_post_is_not_idempotent_unless_marked() {
        assert!(Request::get("/").is_idempotent && Request::delete("/").is_idempotent);
        assert!(!Request::post("/").is_idempotent);
        assert!(Request::post("/").idempotent().is_idempotent);
    }
}
