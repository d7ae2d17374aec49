//! The bodies of the internal API between worker and server.
//!
//! | route | body | response data |
//! |---|---|---|
//! | `POST /api/internal/summaries/{id}/claim` | [`ClaimRequest`] | [`Claim`]; 409 `not_claimable` |
//! | `POST /api/internal/summaries/{id}/heartbeat` | [`Heartbeat`] | empty; 409 `lease_lost` |
//! | `POST /api/internal/summarize/result` | [`SummaryResult`] | empty; 409 `lease_lost` |
//! | `POST /api/internal/summaries/{id}/failure` | [`Failure`] | empty; 409 `lease_lost` |
//! | `POST /api/internal/summaries/overdue` | [`OverdueRequest`] | [`Overdue`] |
//! | `POST /api/internal/check` | empty | empty |
//!
//! Each request has the service token as `Authorization: Bearer`. `Debug` never shows diary text or
//! a lease token.
//!
//! Worker and server may have different versions. Unknown fields are ignored, an unknown phase or
//! failure kind decodes as `Unknown`, and unknown emotions are omitted. Servers without the routes
//! `check` and `overdue` return 404 `not_found`, if the token is valid.

use std::fmt;

use serde::{Deserialize, Serialize};
use shiori_sdk::{Date, DayEmotion, DiaryId, FailureKind, InvalidId, Progress, SummaryId, Version};
use uuid::Uuid;

/// The secret that proves that a worker has the lease of a summary. `Debug` does not show it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeaseToken(Uuid);

impl LeaseToken {
    /// A new random token.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self(Uuid::new_v4())
    }

    /// The token as text, for the store.
    pub fn reveal(&self) -> String {
        self.0.hyphenated().to_string()
    }

    /// Parses the text of [`LeaseToken::reveal`].
    ///
    /// # Errors
    ///
    /// [`InvalidId`] if the text is not a token.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        Uuid::try_parse(text).map(Self).map_err(|_| InvalidId)
    }
}

impl fmt::Debug for LeaseToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LeaseToken(…)")
    }
}

/// Maximum length of a worker id, in characters.
pub const MAX_WORKER_ID_CHARS: usize = 128;

/// Maximum length of an engine's name, in characters.
pub const MAX_ENGINE_CHARS: usize = 128;

/// Maximum length of a reflection, in characters.
pub const MAX_REFLECTION_CHARS: usize = 4000;

/// Maximum length of the message of a failure, in characters.
pub const MAX_MESSAGE_CHARS: usize = 500;

/// Requests the lease of a summary.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ClaimRequest {
    /// The worker's name, for operators. At most [`MAX_WORKER_ID_CHARS`].
    pub worker_id: String,
    /// The token of the new lease. A claim whose response was lost can be repeated with the same
    /// token. Default: the server generates one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_token: Option<LeaseToken>,
    /// The worker's patience with its language model, in milliseconds after the request of the
    /// summary. Default: the server's setting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience_ms: Option<u64>,
}

/// Requests the summaries that have waited longer than the patience.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OverdueRequest {
    /// As in [`ClaimRequest`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience_ms: Option<u64>,
    /// The maximum number of summaries; at most 100.
    pub limit: u32,
}

/// Summaries that can be claimed and whose next attempt is the last.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Overdue {
    /// Their ids, the oldest request first.
    pub ids: Vec<SummaryId>,
}

/// A lease, and the diaries to summarise.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Claim {
    /// The token for every later request.
    pub lease_token: LeaseToken,
    /// Milliseconds until the lease expires unless a heartbeat extends it.
    pub lease_ms: u64,
    /// The number of this attempt, starting at 1.
    pub attempt: u32,
    /// Whether this is the last attempt.
    #[serde(default)]
    pub is_last: bool,
    /// Whether the summary has waited longer than the patience, so that this attempt is the last
    /// even if it does not reach the language model. Servers that count every attempt do not send
    /// it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_overdue: Option<bool>,
    /// The W3C `traceparent` of the request, if it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// The days of the week, in order.
    pub days: Vec<ClaimedDay>,
}

/// One day's diary. `Debug` shows no text.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimedDay {
    /// The date.
    pub date: Date,
    /// The diary's id.
    pub diary_id: DiaryId,
    /// The version that was read.
    pub version: Version,
    /// The title.
    pub title: String,
    /// The text of each block that is not empty, in reading order.
    pub texts: Vec<String>,
}

impl fmt::Debug for ClaimedDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClaimedDay")
            .field("date", &self.date)
            .field("version", &self.version)
            .field("blocks", &self.texts.len())
            .finish_non_exhaustive()
    }
}

/// Extends the lease, and reports the progress and the text so far.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The lease.
    pub lease_token: LeaseToken,
    /// The progress to show to clients; `None` leaves it unchanged.
    #[serde(default)]
    pub progress: Option<Progress>,
    /// The text so far to show to the user; `None` leaves it unchanged. Older servers ignore it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<TextSoFar>,
}

/// The text that a run has written so far. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextSoFar {
    /// Its number under the lease, from 1. A text replaces those with smaller numbers, so a heartbeat
    /// that is delayed or repeated does no harm.
    pub number: u32,
    /// The text, at most [`MAX_REFLECTION_CHARS`] characters, without anything that the model thinks
    /// aloud. If it is empty, an earlier text is withdrawn.
    pub text: String,
}

impl fmt::Debug for TextSoFar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TextSoFar").field("number", &self.number).finish_non_exhaustive()
    }
}

/// The result of the pipeline. `Debug` shows no text.
#[derive(Clone, Serialize, Deserialize)]
pub struct SummaryResult {
    /// The summary.
    pub summary_id: SummaryId,
    /// The lease.
    pub lease_token: LeaseToken,
    /// The text, 1 to [`MAX_REFLECTION_CHARS`] characters.
    pub reflection: String,
    /// The engine that wrote the text, e.g. `extractive/1`; 1 to [`MAX_ENGINE_CHARS`] characters.
    pub engine: String,
    /// The engine that tagged the days, e.g. `lexicon/1`; 1 to [`MAX_ENGINE_CHARS`] characters.
    pub emotion_engine: String,
    /// The emotion of each claimed day. A server omits days with an unknown emotion.
    #[serde(deserialize_with = "DayEmotion::deserialize_known")]
    pub emotion_results: Vec<DayEmotion>,
    /// The days whose text was truncated for the summariser.
    #[serde(default)]
    pub truncated: Vec<Date>,
    /// The tokens that the language model used, if it reported them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<TokenUsage>,
}

/// The tokens that a language model used, as its provider counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenUsage {
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Tokens of the completion.
    pub completion_tokens: u64,
}

impl fmt::Debug for SummaryResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SummaryResult")
            .field("summary_id", &self.summary_id)
            .field("engine", &self.engine)
            .field("emotion_engine", &self.emotion_engine)
            .finish_non_exhaustive()
    }
}

/// Releases the lease without a result.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Failure {
    /// The lease.
    pub lease_token: LeaseToken,
    /// The kind of failure.
    pub kind: FailureKind,
    /// A message for people, without diary text and secrets. At most [`MAX_MESSAGE_CHARS`].
    pub message: String,
    /// Whether a retry may succeed.
    pub retryable: bool,
    /// Minimum time until a retry, in milliseconds.
    #[serde(default)]
    pub retry_after_ms: Option<u64>,
    /// Whether the attempt counts towards the server's maximum. It does not if it has not reached the
    /// language model, or was rejected by its rate limit.
    #[serde(default = "costs_attempt")]
    pub costs_attempt: bool,
}

/// The default for workers that do not send the field.
fn costs_attempt() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};
    use shiori_sdk::ProgressPhase;

    use super::*;

    fn decode<T: DeserializeOwned>(mut body: Value) -> T {
        body["lease_token"] = json!(LeaseToken::new());
        body["added_later"] = json!({"of": ["any", "type"]});
        serde_json::from_value(body.clone()).unwrap_or_else(|error| panic!("{error}: {body}"))
    }

    #[test]
    fn a_claim_request_of_a_newer_worker_decodes() {
        let request: ClaimRequest = decode(json!({"worker_id": "w"}));
        assert_eq!(request.worker_id, "w");
    }

    #[test]
    fn a_claim_of_a_newer_server_decodes() {
        let day = json!({"date": "20260216", "diary_id": DiaryId::new(), "version": 3,
            "title": "제목", "texts": ["글"], "mood": 7});
        let claim: Claim = decode(json!({"lease_ms": 30_000, "attempt": 1, "days": [day]}));
        assert_eq!((claim.attempt, claim.days[0].version), (1, Version::new(3)));
    }

    #[test]
    fn a_heartbeat_of_a_newer_worker_decodes() {
        for (progress, phase) in [
            (json!({"phase": "writing", "characters": 7}), Some(ProgressPhase::Writing)),
            (json!({"phase": "reviewing", "percent": 50}), Some(ProgressPhase::Unknown)),
            (json!(null), None),
        ] {
            let beat: Heartbeat = decode(json!({ "progress": progress }));
            assert_eq!(beat.progress.map(|progress| progress.phase), phase);
            assert_eq!(beat.text, None, "older workers do not send it");
        }
        let text = json!({"number": 2, "text": "비밀", "model": "later/9"});
        let beat: Heartbeat = decode(json!({ "text": text }));
        assert_eq!(beat.text, Some(TextSoFar { number: 2, text: "비밀".to_owned() }));
        assert!(!format!("{beat:?}").contains("비밀"));
    }

    #[test]
    fn a_failure_of_a_newer_worker_decodes() {
        for (kind, expected) in
            [("internal", FailureKind::Internal), ("quota_exceeded", FailureKind::Unknown)]
        {
            let body = json!({"kind": kind, "message": "실패", "retryable": true});
            let failure: Failure = decode(body);
            assert_eq!((failure.kind, failure.retryable), (expected, true));
            assert!(failure.costs_attempt, "older workers do not send it");
        }
    }

    #[test]
    fn a_result_of_a_newer_worker_decodes() {
        let day = |date: &str, label: &str| {
            json!({"date": date, "label": label, "confidence": 0.5,
                "distribution": {"행복": 0.5, "희망": 0.5}})
        };
        let result: SummaryResult = decode(json!({
            "summary_id": SummaryId::new(), "reflection": "글", "engine": "later/9",
            "emotion_engine": "later/9",
            "emotion_results": [day("20260216", "행복"), day("20260217", "희망")],
            "usage": {"prompt_tokens": 1, "completion_tokens": 2, "cached_tokens": 3},
        }));
        let dates: Vec<_> = result.emotion_results.iter().map(|day| day.date.day()).collect();
        assert_eq!(dates, [16]);
    }
}
