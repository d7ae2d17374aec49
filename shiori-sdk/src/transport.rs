//! One request and its retries.

use std::time::Duration;

use reqwest::{
    Method, Response, StatusCode, Url,
    header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::{Instrument, field::Empty};
use uuid::Uuid;

use crate::{
    CallOptions, Envelope, Error, Result, RetryBudget, Timestamp,
    backoff::parse_retry_after,
    error::{ErrorKind, WasSent},
};

/// Bytes of an answer; a year's listing or a diary at its limit are far below.
const MAX_ANSWER_BYTES: usize = 8 * 1024 * 1024;

static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The way to the server, shared by all clones of a client.
pub(crate) struct Transport {
    pub(crate) http: reqwest::Client,
    pub(crate) base: Url,
    /// Of every request.
    pub(crate) headers: HeaderMap,
    pub(crate) budget: RetryBudget,
}

/// A request to be sent.
#[derive(Clone)]
pub(crate) struct Call {
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    headers: HeaderMap,
    body: Option<Vec<u8>>,
    replay: Replay,
    /// How long the server may hold the request before it even begins to answer.
    held: Duration,
    /// How long one attempt may take, if less than usual.
    within: Duration,
}

/// Whether a request may be sent again although the first may have been applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Replay {
    /// Applied twice it is the same as once, or the server recognises it.
    Safe,
    /// It could be applied twice.
    Unsafe,
}

/// A whole answer with a successful status.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) request_id: String,
    pub(crate) attempts: u32,
}

/// An answer that refuses, with whatever it says.
pub(crate) struct Refusal {
    pub(crate) error: Error,
    body: Vec<u8>,
    /// Whether an earlier attempt may have been applied.
    pub(crate) repeated: bool,
}

impl Call {
    pub(crate) fn new(method: Method, path: impl Into<String>, replay: Replay) -> Self {
        Self {
            method,
            path: path.into(),
            query: Vec::new(),
            headers: HeaderMap::new(),
            body: None,
            replay,
            held: Duration::ZERO,
            within: Duration::MAX,
        }
    }

    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path, Replay::Safe)
    }

    pub(crate) fn query(mut self, name: &'static str, value: &impl ToString) -> Self {
        self.query.push((name, value.to_string()));
        self
    }

    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    pub(crate) fn json(mut self, body: &impl Serialize) -> Self {
        self.body = serde_json::to_vec(body).ok();
        self
    }

    pub(crate) fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    pub(crate) fn held(mut self, held: Duration) -> Self {
        self.held = held;
        self
    }
}

impl Answer {
    /// The envelope's data; null is an error.
    pub(crate) fn data<T: DeserializeOwned>(&self) -> Result<T> {
        self.data_or_null()?.ok_or_else(|| self.invalid())
    }

    /// The envelope's data, or nothing where it is null.
    pub(crate) fn data_or_null<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        let envelope: Envelope<T> = serde_json::from_slice(&self.body)
            .map_err(|error| self.invalid().with_source(describe(&error)))?;
        Ok(envelope.data)
    }

    fn invalid(&self) -> Error {
        Error::new(ErrorKind::InvalidAnswer)
            .with_sent(WasSent::Yes)
            .with_request_id(&self.request_id)
            .with_attempts(self.attempts)
    }
}

impl Refusal {
    /// The envelope's data, if it has this shape.
    pub(crate) fn data<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice::<Envelope<T>>(&self.body).ok()?.data
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        refusal.error
    }
}

impl Transport {
    /// Sends the request as often as the policy allows.
    pub(crate) async fn send(
        &self,
        options: &CallOptions,
        call: &Call,
        token: Option<&str>,
    ) -> Result<Answer, Refusal> {
        // Paths hold dates and ids. Queries, headers and bodies stay out of every log.
        let span = tracing::debug_span!(
            "shiori_request",
            http.request.method = %call.method,
            url.path = call.path,
            http.response.status_code = Empty,
            attempts = Empty,
            request_id = Empty,
        );
        let sent = self.send_repeatedly(options, call, token).instrument(span.clone()).await;
        let (status, attempts, id) = match &sent {
            Ok(answer) => {
                (Some(answer.status.as_u16()), answer.attempts, Some(&*answer.request_id))
            }
            Err(Refusal { error, .. }) => {
                (error.status_code(), error.attempts(), error.request_id())
            }
        };
        span.record("http.response.status_code", status);
        span.record("attempts", attempts);
        span.record("request_id", id);
        sent
    }

    async fn send_repeatedly(
        &self,
        options: &CallOptions,
        call: &Call,
        token: Option<&str>,
    ) -> Result<Answer, Refusal> {
        let deadline = Instant::now() + options.call_timeout + call.held;
        let mut attempts = 0;
        let mut repeated = false;
        let mut spent = 0;
        loop {
            attempts += 1;
            let refusal = match self.attempt(options, call, token, attempts, deadline).await {
                Ok(answer) => {
                    self.budget.give(spent);
                    return Ok(answer);
                }
                Err(refusal) => refusal,
            };
            let refusal = refusal.after(repeated);
            let error = &refusal.error;
            let replayable = call.replay == Replay::Safe || error.was_sent() == WasSent::No;
            if !error.is_retryable() || !replayable || attempts >= options.retry.attempts {
                return Err(refusal);
            }
            let asked = error.retry_after().unwrap_or_default();
            let next = Instant::now() + options.retry.backoff(attempts).max(asked);
            spent = match error.kind() {
                ErrorKind::Timeout => RetryBudget::RETRY_AFTER_TIMEOUT,
                _ => RetryBudget::RETRY,
            };
            // Waiting for a moment past the deadline would only tell the same later.
            if next >= deadline || !self.budget.take(spent) {
                return Err(refusal);
            }
            repeated |= error.was_sent() != WasSent::No;
            tracing::debug!(attempts, %error, "request is sent again");
            sleep_until(next).await;
        }
    }

    async fn attempt(
        &self,
        options: &CallOptions,
        call: &Call,
        token: Option<&str>,
        attempts: u32,
        deadline: Instant,
    ) -> Result<Answer, Refusal> {
        let request_id = options.request_id.clone().unwrap_or_else(|| Uuid::new_v4().to_string());
        let fail = |error: Error| {
            Refusal::bare(error.with_request_id(&request_id).with_attempts(attempts))
        };
        let attempt = options.attempt_timeout.min(call.within) + call.held;
        let limit = deadline.min(Instant::now() + attempt);
        let exchange = async {
            let response = self.request(call, token, &request_id).await.map_err(&fail)?;
            let (status, headers) = (response.status(), response.headers().clone());
            let body = read(response).await.map_err(&fail)?;
            Ok((status, headers, body))
        };
        let (status, headers, body) = match timeout_at(limit, exchange).await {
            Ok(exchanged) => exchanged?,
            Err(_) => {
                let error = Error::new(ErrorKind::Timeout).with_sent(WasSent::Maybe);
                return Err(fail(error.with_retryable()));
            }
        };
        let envelope = serde_json::from_slice::<Envelope<serde::de::IgnoredAny>>(&body);
        let success = status.is_success() && envelope.is_ok();
        if success || status == StatusCode::NOT_MODIFIED {
            return Ok(Answer { status, headers, body, request_id, attempts });
        }
        // A 200 may be somebody else's, such as a hotel's login page.
        let code = envelope.ok().and_then(|envelope| envelope.error);
        let error = Error::told(status.as_u16(), code).with_retry_after(retry_after(&headers));
        let Refusal { error, .. } = fail(error);
        Err(Refusal { error, body, repeated: false })
    }

    /// Sends a request once, and returns when the answer's head is there.
    pub(crate) async fn request(
        &self,
        call: &Call,
        token: Option<&str>,
        request_id: &str,
    ) -> Result<Response> {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{}", self.base.path().trim_end_matches('/'), call.path));
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&call.query);
        }
        let id = HeaderValue::from_str(request_id).map_err(|_| {
            Error::new(ErrorKind::Config).with_source("the request id is no header")
        })?;
        let mut request = self
            .http
            .request(call.method.clone(), url)
            .headers(self.headers.clone())
            .headers(call.headers.clone())
            .header(&X_REQUEST_ID, id);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = &call.body {
            request = request.header("content-type", "application/json").body(body.clone());
        }
        request.send().await.map_err(|error| broken(error, WasSent::Maybe))
    }
}

impl Refusal {
    /// The refusal of a request of which an earlier attempt may have been applied.
    fn after(mut self, repeated: bool) -> Self {
        self.repeated = repeated;
        if repeated && self.error.was_sent() == WasSent::No {
            self.error = self.error.with_sent(WasSent::Maybe);
        }
        self
    }

    /// Nothing was answered.
    pub(crate) fn bare(error: Error) -> Self {
        Self { error, body: Vec::new(), repeated: false }
    }
}

/// The whole body, unless it is cut off or absurdly large.
async fn read(mut response: Response) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= MAX_ANSWER_BYTES => {
                body.extend_from_slice(&chunk);
            }
            Ok(Some(_)) => {
                return Err(Error::new(ErrorKind::InvalidAnswer).with_sent(WasSent::Yes));
            }
            Ok(None) => return Ok(body),
            Err(error) => return Err(broken(error, WasSent::Maybe)),
        }
    }
}

fn broken(error: reqwest::Error, sent: WasSent) -> Error {
    let (kind, sent) = if error.is_connect() {
        (ErrorKind::Connect, WasSent::No)
    } else if error.is_timeout() {
        (ErrorKind::Timeout, sent)
    } else if error.is_builder() {
        return Error::new(ErrorKind::Config).with_source(error.without_url());
    } else {
        (ErrorKind::Disconnected, sent)
    };
    Error::new(kind).with_sent(sent).with_retryable().with_source(error.without_url())
}

/// What is wrong with an answer, without anything that stands in it.
fn describe(error: &serde_json::Error) -> String {
    format!("{:?} error at line {}, column {}", error.classify(), error.line(), error.column())
}

/// The wait that the response asks for, if it does.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    parse_retry_after(headers.get(RETRY_AFTER)?.to_str().ok()?, Timestamp::now())
}
