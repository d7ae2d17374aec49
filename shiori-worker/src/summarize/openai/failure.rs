//! What may go wrong with a provider, told without its words: they may hold text or key.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;
use shiori_sdk::{Date, FailureKind, Timestamp};

use super::super::SummarizeError;

/// The longest wait that a provider is granted.
const MAX_WAIT: Duration = Duration::from_secs(60 * 60);

/// A request that came to nothing.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: SummarizeError,
    /// Whether the provider itself is unwell, and other requests would fare no better.
    pub(super) provider_unwell: bool,
}

impl Failure {
    fn unwell(kind: FailureKind, message: impl Into<String>) -> Self {
        let error =
            SummarizeError { kind, message: message.into(), retryable: true, retry_after: None };
        Self { error, provider_unwell: true }
    }

    fn permanent(message: impl Into<String>) -> Self {
        let kind = FailureKind::ModelRejected;
        let error =
            SummarizeError { kind, message: message.into(), retryable: false, retry_after: None };
        Self { error, provider_unwell: false }
    }

    pub(super) fn unreachable() -> Self {
        Self::unwell(FailureKind::ModelUnavailable, "the language model cannot be reached")
    }

    pub(super) fn timed_out() -> Self {
        Self::unwell(FailureKind::ModelUnavailable, "the language model did not answer in time")
    }

    pub(super) fn broken_off() -> Self {
        Self::unwell(FailureKind::ModelUnavailable, "the language model's answer was cut off")
    }

    pub(super) fn unreadable() -> Self {
        Self::unwell(FailureKind::ModelAnswerInvalid, "the language model's answer makes no sense")
    }

    pub(super) fn endless() -> Self {
        Self::unwell(FailureKind::ModelAnswerInvalid, "the language model's answer has no end")
    }

    /// The provider was well, and the model said nothing.
    pub(super) fn empty() -> Self {
        let message = "the language model answered without a text";
        let failure = Self::unwell(FailureKind::ModelAnswerInvalid, message);
        Self { provider_unwell: false, ..failure }
    }

    pub(super) fn filtered() -> Self {
        Self::permanent("the language model's content filter stopped the answer")
    }

    pub(super) fn declined() -> Self {
        Self::permanent("the language model declined to answer")
    }

    /// The breaker is open.
    pub(super) fn left_alone(wait: Duration) -> SummarizeError {
        let message = "the language model has kept failing and is left alone for a while";
        let kind = FailureKind::ModelUnavailable;
        let message = message.to_owned();
        SummarizeError { kind, message, retryable: true, retry_after: Some(wait) }
    }

    /// What an answer of this status says.
    pub(super) fn of_status(
        status: StatusCode,
        body: &[u8],
        retry_after: Option<Duration>,
    ) -> Self {
        let body: Option<Value> = serde_json::from_slice(body).ok();
        let error = body.as_ref().and_then(|body| body.get("error"));
        Self::of_code(status, error, retry_after)
    }

    /// What an error that comes in the place of a piece of the answer says.
    pub(super) fn of_error(error: &Value) -> Self {
        Self::of_code(StatusCode::INTERNAL_SERVER_ERROR, Some(error), None)
    }

    fn of_code(status: StatusCode, error: Option<&Value>, retry_after: Option<Duration>) -> Self {
        let says = |code: &str| {
            let fields = ["code", "type"].into_iter();
            let mut fields = fields.filter_map(|field| error?.get(field)?.as_str());
            fields.any(|said| said == code)
        };
        if says("insufficient_quota") {
            return Self::permanent("the quota at the language model's provider is used up");
        }
        let number = status.as_u16();
        let why = match number {
            429 => {
                let kind = FailureKind::ModelUnavailable;
                let message = "the language model's provider asks for fewer requests";
                let mut failure = Self::unwell(kind, message);
                failure.provider_unwell = false;
                failure.error.retry_after = retry_after;
                return failure;
            }
            408 | 425 | 500..=599 => {
                let kind = FailureKind::ModelUnavailable;
                let message = format!("the language model's provider has failed (HTTP {number})");
                let mut failure = Self::unwell(kind, message);
                failure.error.retry_after = retry_after;
                return failure;
            }
            _ if says("content_filter") => return Self::filtered(),
            _ if says("context_length_exceeded") => "the week is too long for the model",
            300..=399 => "it answers from another address; see to base_url",
            401 => "it does not accept the API key",
            402 => "it asks to be paid",
            403 => "the API key may not use the model",
            404 => "it knows no such model or path; see to model and base_url",
            _ => "it does not accept the request",
        };
        let message = format!("the language model's provider refused: {why} (HTTP {number})");
        Self::permanent(message)
    }
}

/// How long a `Retry-After` in seconds, or as a date, asks to wait from `now` on; an hour at most.
pub(super) fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    let wait = match value.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => moment(value)?.duration_since(now),
    };
    Some(wait.min(MAX_WAIT))
}

/// The moment of an HTTP date in the one form that may be sent, `Sun, 06 Nov 1994 08:49:37 GMT`.
fn moment(value: &str) -> Option<Timestamp> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = value.split_once(", ")?.1.split(' ');
    let day = words.next()?.parse().ok()?;
    let name = words.next()?;
    let month = (1..).zip(MONTHS).find(|(_, month)| *month == name)?.0;
    let date = Date::new(words.next()?.parse().ok()?, month, day).ok()?;
    let mut time = words.next()?.split(':').map(|part| part.parse::<u32>().ok());
    let (hours, minutes, seconds) = (time.next()??, time.next()??, time.next()??);
    if words.next() != Some("GMT") || hours > 23 || minutes > 59 || seconds > 60 {
        return None;
    }
    let days = Date::at(Timestamp::from_millis(0)).days_until(date);
    let of_day = i64::from(hours * 3600 + minutes * 60 + seconds);
    Some(Timestamp::from_millis((days * 86_400 + of_day) * 1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        let seconds = |value, now| retry_after(value, now).map(|wait| wait.as_secs());
        assert_eq!(seconds("7", at(0)), Some(7));
        assert_eq!(seconds("86400", at(0)), Some(3600), "an hour at most");
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(seconds(date, at(784_111_777 - 90)), Some(90));
        assert_eq!(seconds(date, at(784_111_777 + 90)), Some(0));
        assert_eq!(seconds(date, at(0)), Some(3600));
        for odd in
            ["", "soon", "-1", "Sun, 31 Feb 1994 08:49:37 GMT", "Sun, 06 Nov 1994 25:00:00 GMT"]
        {
            assert_eq!(seconds(odd, at(0)), None, "{odd}");
        }
    }

    #[test]
    fn an_error_has_many_shapes() {
        for body in [
            r#"{"error":{"code":"insufficient_quota","message":"pay"}}"#,
            r#"{"error":{"type":"insufficient_quota","code":null}}"#,
        ] {
            let failure = Failure::of_status(StatusCode::TOO_MANY_REQUESTS, body.as_bytes(), None);
            assert!(!failure.error.retryable && !failure.provider_unwell);
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
