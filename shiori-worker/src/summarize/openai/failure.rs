//! Failures of a provider. Error messages never quote its response, which may contain diary text or
//! the API key.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;
use shiori_sdk::{FailureKind, Timestamp, backoff::parse_retry_after};

use super::super::SummarizeError;
use crate::metrics::label_values;

/// The longest `Retry-After` of a provider that is respected.
pub(super) const MAX_WAIT: Duration = Duration::from_secs(60 * 60);

/// A failed request.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: SummarizeError,
    /// Whether other requests would likely fail as well. Counted by the circuit breaker.
    pub(super) is_outage: bool,
    pub(super) reason: Reason,
}

label_values! {
    /// Why a request failed, for the metrics.
    pub(crate) enum Reason: "kind" {
        /// No connection, or it broke.
        Connection = "connection",
        Timeout = "timeout",
        RateLimited = "rate_limited",
        /// A status that says that the provider failed.
        Provider = "provider",
        /// The provider rejected the request, e.g. because of the key, the model or the quota.
        Rejected = "rejected",
        /// The response is not usable.
        InvalidResponse = "invalid_response",
        /// The model or its content filter refused to respond.
        Refused = "refused",
        /// Not sent, because the circuit breaker was open.
        Suspended = "suspended",
    }
}

impl Failure {
    fn outage(reason: Reason, message: impl Into<String>) -> Self {
        let kind = match reason {
            Reason::InvalidResponse => FailureKind::ModelAnswerInvalid,
            _ => FailureKind::ModelUnavailable,
        };
        let error = SummarizeError {
            kind,
            message: message.into(),
            retryable: true,
            retry_after: None,
            costs_attempt: true,
        };
        Self { error, is_outage: true, reason }
    }

    fn permanent(reason: Reason, message: impl Into<String>) -> Self {
        let kind = FailureKind::ModelRejected;
        let error = SummarizeError {
            kind,
            message: message.into(),
            retryable: false,
            retry_after: None,
            costs_attempt: true,
        };
        Self { error, is_outage: false, reason }
    }

    /// The connection broke before the response.
    pub(super) fn unreachable() -> Self {
        Self::outage(Reason::Connection, "could not connect to the language model")
    }

    /// No connection could be made.
    pub(super) fn not_connected() -> Self {
        let mut failure = Self::unreachable();
        failure.error.costs_attempt = false;
        failure
    }

    pub(super) fn timed_out() -> Self {
        Self::outage(Reason::Timeout, "the request to the language model timed out")
    }

    pub(super) fn interrupted() -> Self {
        Self::outage(Reason::Connection, "the language model's response was interrupted")
    }

    pub(super) fn invalid() -> Self {
        Self::outage(Reason::InvalidResponse, "the language model's response is invalid")
    }

    pub(super) fn too_large() -> Self {
        Self::outage(Reason::InvalidResponse, "the language model's response is too large")
    }

    /// The provider works, but the model returned no text.
    pub(super) fn empty() -> Self {
        let message = "the language model's response has no text";
        let failure = Self::outage(Reason::InvalidResponse, message);
        Self { is_outage: false, ..failure }
    }

    pub(super) fn filtered() -> Self {
        Self::permanent(Reason::Refused, "the language model's content filter blocked the response")
    }

    pub(super) fn declined() -> Self {
        Self::permanent(Reason::Refused, "the language model refused to respond")
    }

    /// The circuit breaker is open for this long.
    pub(super) fn circuit_open(wait: Duration) -> SummarizeError {
        let message = "the language model keeps failing; requests are suspended";
        let kind = FailureKind::ModelUnavailable;
        let message = message.to_owned();
        SummarizeError {
            kind,
            message,
            retryable: true,
            retry_after: Some(wait),
            costs_attempt: false,
        }
    }

    /// The failure of a response with this status.
    pub(super) fn of_status(
        status: StatusCode,
        body: &[u8],
        retry_after: Option<Duration>,
    ) -> Self {
        let body: Option<Value> = serde_json::from_slice(body).ok();
        let error = body.as_ref().and_then(|body| body.get("error"));
        Self::of_code(status, error, retry_after)
    }

    /// The failure of an error object inside a successful response.
    pub(super) fn of_error(error: &Value) -> Self {
        Self::of_code(StatusCode::INTERNAL_SERVER_ERROR, Some(error), None)
    }

    fn of_code(status: StatusCode, error: Option<&Value>, retry_after: Option<Duration>) -> Self {
        let has_code = |expected: &str| {
            let fields = ["code", "type"].into_iter();
            let mut codes = fields.filter_map(|field| error?.get(field)?.as_str());
            codes.any(|code| code == expected)
        };
        if has_code("insufficient_quota") {
            return Self::permanent(
                Reason::Rejected,
                "the quota of the language model's provider is exhausted",
            );
        }
        let number = status.as_u16();
        let reason = match number {
            429 => {
                let message = "the rate limit of the language model's provider is reached";
                let mut failure = Self::outage(Reason::RateLimited, message);
                failure.is_outage = false;
                failure.error.retry_after = retry_after;
                failure.error.costs_attempt = false;
                return failure;
            }
            408 | 425 | 500..=599 => {
                let message = format!("the language model's provider failed (HTTP {number})");
                let mut failure = Self::outage(Reason::Provider, message);
                failure.error.retry_after = retry_after;
                return failure;
            }
            _ if has_code("content_filter") => return Self::filtered(),
            _ if has_code("context_length_exceeded") => "the week is too long for the model",
            300..=399 => "redirected to another address; check base_url",
            401 => "invalid API key",
            402 => "payment required",
            403 => "the API key has no access to the model",
            404 => "model or path not found; check model and base_url",
            _ => "invalid request",
        };
        let message =
            format!("the language model's provider rejected the request: {reason} (HTTP {number})");
        Self::permanent(Reason::Rejected, message)
    }
}

/// The value of a `Retry-After` header, at most [`MAX_WAIT`].
pub(super) fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    parse_retry_after(value, now).map(|wait| wait.min(MAX_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_clamped_to_an_hour() {
        let now = Timestamp::UNIX_EPOCH;
        for (value, seconds) in [("7", 7), ("86400", 3600), ("18446744073709551615", 3600)] {
            assert_eq!(retry_after(value, now), Some(Duration::from_secs(seconds)), "{value}");
        }
        assert_eq!(retry_after("soon", now), None);
    }

    #[test]
    fn error_objects_of_any_shape_are_accepted() {
        for body in [
            r#"{"error":{"code":"insufficient_quota","message":"pay"}}"#,
            r#"{"error":{"type":"insufficient_quota","code":null}}"#,
        ] {
            let failure = Failure::of_status(StatusCode::TOO_MANY_REQUESTS, body.as_bytes(), None);
            assert!(!failure.error.retryable && !failure.is_outage);
        }
        for body in
            [r#"{"error":"model not found"}"#, "<html>", "", "[]", r#"{"error":{"code":1}}"#]
        {
            let failure = Failure::of_status(StatusCode::NOT_FOUND, body.as_bytes(), None);
            assert_eq!(failure.error.kind, FailureKind::ModelRejected);
            assert!(!failure.error.retryable);
        }
    }
}
