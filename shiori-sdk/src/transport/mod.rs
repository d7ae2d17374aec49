//! Sends requests: one attempt, and the retries within the policy, the deadline and the budget.

pub(crate) mod deadline;
pub(crate) mod error;
pub(crate) mod hook;
pub(crate) mod options;
pub(crate) mod request;
pub(crate) mod retry;

use std::time::Duration;

use reqwest::{
    StatusCode, Url,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
};
use serde::de::IgnoredAny;
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::{Instrument, field::Empty};
use uuid::Uuid;

use self::{
    error::{Error, ErrorKind, Result, WasSent},
    hook::{Attempt, AttemptOutcome},
    options::CallOptions,
    request::{FailedRequest, Request, Response},
    retry::RetryBudget,
};
use crate::{
    backoff::parse_retry_after,
    types::{Envelope, QuotaExceeded, Timestamp},
};

/// Maximum size of a response body. The listing of a year and a diary at its size limit are far
/// smaller.
const MAX_RESPONSE_BYTES: usize = 8 * 1024 * 1024;

static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Sends requests to one server.
pub(crate) struct Transport {
    pub(crate) http: reqwest::Client,
    pub(crate) base_url: Url,
    /// The headers of every request.
    pub(crate) headers: HeaderMap,
    pub(crate) budget: RetryBudget,
}

impl Transport {
    /// Sends the request, with retries, and reads the response.
    pub(crate) async fn send(
        &self,
        options: &CallOptions,
        request: &Request,
        access_token: Option<&str>,
    ) -> Result<Response, FailedRequest> {
        // Paths contain only dates and ids. Queries, headers and bodies are never logged.
        let span = tracing::debug_span!(
            "shiori_request",
            http.request.method = %request.method,
            url.path = request.path,
            http.response.status_code = Empty,
            attempts = Empty,
            request_id = Empty,
        );
        let result =
            self.send_with_retries(options, request, access_token).instrument(span.clone()).await;
        let (status, attempts, request_id) = match &result {
            Ok(response) => {
                (Some(response.status.as_u16()), response.attempts, Some(&*response.request_id))
            }
            Err(FailedRequest { error, .. }) => {
                (error.status_code(), error.attempts(), error.request_id())
            }
        };
        span.record("http.response.status_code", status);
        span.record("attempts", attempts);
        span.record("request_id", request_id);
        result
    }

    async fn send_with_retries(
        &self,
        options: &CallOptions,
        request: &Request,
        access_token: Option<&str>,
    ) -> Result<Response, FailedRequest> {
        let deadline = deadline::after(options.call_timeout.saturating_add(request.server_wait));
        let mut attempts = 0;
        let mut maybe_applied = false;
        let mut retry_cost = 0;
        loop {
            attempts += 1;
            let failed =
                match self.attempt(options, request, access_token, attempts, deadline).await {
                    Ok(response) => {
                        self.budget.release(retry_cost);
                        return Ok(response);
                    }
                    Err(failed) => failed.with_maybe_applied(maybe_applied),
                };
            let error = &failed.error;
            let can_repeat = request.is_idempotent || error.was_sent() == WasSent::No;
            if !error.is_retryable() || !can_repeat || attempts >= options.retry.attempts {
                return Err(failed);
            }
            let retry_after = error.retry_after().unwrap_or_default();
            let retry_at = deadline::after(options.retry.backoff(attempts).max(retry_after));
            retry_cost = match error.kind() {
                ErrorKind::Timeout => RetryBudget::TIMEOUT_RETRY_COST,
                _ => RetryBudget::RETRY_COST,
            };
            // Fail now if the retry would start after the deadline.
            if retry_at >= deadline || !self.budget.acquire(retry_cost) {
                return Err(failed);
            }
            maybe_applied |= error.was_sent() != WasSent::No;
            tracing::debug!(attempts, %error, "retrying the request");
            sleep_until(retry_at).await;
        }
    }

    async fn attempt(
        &self,
        options: &CallOptions,
        request: &Request,
        access_token: Option<&str>,
        attempts: u32,
        call_deadline: Instant,
    ) -> Result<Response, FailedRequest> {
        let request_id = request_id(options);
        let attempt = request.attempt(attempts, &request_id);
        let (observed, extra) = options.hooks.start(attempt, options.headers.clone());
        let exchanged =
            self.exchange(options, request, access_token, attempt, extra, call_deadline);
        let result = exchanged.await;
        observed.end(&match &result {
            Ok(response) => AttemptOutcome::Succeeded(response.status.as_u16()),
            Err(failed) => AttemptOutcome::Failed(&failed.error),
        });
        result
    }

    async fn exchange(
        &self,
        options: &CallOptions,
        request: &Request,
        access_token: Option<&str>,
        attempt: Attempt<'_>,
        extra: HeaderMap,
        call_deadline: Instant,
    ) -> Result<Response, FailedRequest> {
        let failed = |error: Error| {
            let error = error.with_request_id(attempt.request_id);
            FailedRequest::from(error.with_attempts(attempt.number))
        };
        let timeout = options
            .attempt_timeout
            .min(request.max_attempt_timeout)
            .saturating_add(request.server_wait);
        let deadline = deadline::after(timeout).min(call_deadline);
        let exchange = async {
            let response = self.execute(request, access_token, attempt, extra).await?;
            let (status, headers) = (response.status(), response.headers().clone());
            Ok((status, headers, read_body(response).await?))
        };
        let (status, headers, body) = match timeout_at(deadline, exchange).await {
            Ok(exchanged) => exchanged.map_err(&failed)?,
            Err(_) => {
                let error = Error::new(ErrorKind::Timeout).with_sent(WasSent::Maybe);
                return Err(failed(error.with_retryable()));
            }
        };
        let envelope = serde_json::from_slice::<Envelope<IgnoredAny>>(&body);
        // A 200 without an envelope is not from Shiori; it may be from a captive portal.
        let is_success = status.is_success() && envelope.is_ok();
        if is_success || status == StatusCode::NOT_MODIFIED {
            let request_id = attempt.request_id.to_owned();
            return Ok(Response { status, headers, body, request_id, attempts: attempt.number });
        }
        let error = error_response(status, &headers, &body);
        Err(FailedRequest { body, ..failed(error) })
    }

    /// Sends the request once and returns as soon as the response headers have arrived. The
    /// caller reads the body, for example a stream of events.
    pub(crate) async fn open(
        &self,
        options: &CallOptions,
        request: &Request,
        access_token: Option<&str>,
    ) -> Result<reqwest::Response> {
        let deadline = deadline::after(options.attempt_timeout);
        let request_id = request_id(options);
        let attempt = request.attempt(1, &request_id);
        let (observed, extra) = options.hooks.start(attempt, options.headers.clone());
        let response = self.execute(request, access_token, attempt, extra);
        let result = timeout_at(deadline, response).await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Timeout).with_sent(WasSent::Maybe).with_retryable())
        });
        match &result {
            Ok(response) if response.status().is_success() => {
                observed.end(&AttemptOutcome::Succeeded(response.status().as_u16()));
            }
            // The caller reads the error.
            Ok(response) => {
                let error = Error::from_response(response.status().as_u16(), None);
                observed.end(&AttemptOutcome::Failed(&error));
            }
            Err(error) => observed.end(&AttemptOutcome::Failed(error)),
        }
        result
    }

    async fn execute(
        &self,
        request: &Request,
        access_token: Option<&str>,
        attempt: Attempt<'_>,
        extra: HeaderMap,
    ) -> Result<reqwest::Response> {
        let mut url = self.base_url.clone();
        url.set_path(&format!("{}{}", url.path().trim_end_matches('/'), request.path));
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&request.query);
        }
        let request_id = HeaderValue::from_str(attempt.request_id).map_err(|_| {
            Error::new(ErrorKind::Config).with_source("the request id is not a valid header value")
        })?;
        let mut builder = self
            .http
            .request(request.method.clone(), url)
            .headers(self.headers.clone())
            .headers(extra)
            .headers(request.headers.clone())
            .header(&X_REQUEST_ID, request_id);
        if let Some(token) = access_token {
            builder = builder.bearer_auth(token);
        }
        if let Some(body) = &request.body {
            builder = builder.header(CONTENT_TYPE, "application/json").body(body.clone());
        }
        builder.send().await.map_err(connection_error)
    }
}

fn request_id(options: &CallOptions) -> String {
    options.request_id.clone().unwrap_or_else(|| Uuid::new_v4().to_string())
}

/// The error of an error response whose body was not read yet.
pub(crate) async fn error_of(response: reqwest::Response) -> Error {
    let (status, headers) = (response.status(), response.headers().clone());
    match read_body(response).await {
        Ok(body) => {
            let id = headers.get(&X_REQUEST_ID).and_then(|id| id.to_str().ok());
            let error = error_response(status, &headers, &body);
            match id {
                Some(id) => error.with_request_id(id),
                None => error,
            }
        }
        Err(error) => error,
    }
}

/// The error of an error response.
fn error_response(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Error {
    let envelope = serde_json::from_slice::<Envelope<IgnoredAny>>(body);
    let code = envelope.ok().and_then(|envelope| envelope.error);
    let error = Error::from_response(status.as_u16(), code).with_retry_after(retry_after(headers));
    if error.kind() != ErrorKind::QuotaExceeded {
        return error;
    }
    let exceeded = serde_json::from_slice::<Envelope<QuotaExceeded>>(body);
    error.with_exceeded_quota(exceeded.ok().and_then(|envelope| envelope.data))
}

/// The complete body; an error if it exceeds [`MAX_RESPONSE_BYTES`].
async fn read_body(mut response: reqwest::Response) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(connection_error)? {
        if body.len() + chunk.len() > MAX_RESPONSE_BYTES {
            return Err(Error::new(ErrorKind::InvalidResponse).with_sent(WasSent::Yes));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn connection_error(error: reqwest::Error) -> Error {
    let (kind, sent) = if error.is_builder() {
        return Error::new(ErrorKind::Config).with_source(error.without_url());
    } else if error.is_connect() {
        (ErrorKind::Connect, WasSent::No)
    } else if error.is_timeout() {
        (ErrorKind::Timeout, WasSent::Maybe)
    } else {
        (ErrorKind::Disconnected, WasSent::Maybe)
    };
    Error::new(kind).with_sent(sent).with_retryable().with_source(error.without_url())
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    parse_retry_after(headers.get(RETRY_AFTER)?.to_str().ok()?, Timestamp::now())
}
