//! The bodies of the internal API, which the worker speaks with the server.
//!
//! | route | body | answer |
//! |---|---|---|
//! | `POST /api/internal/summaries/{id}/claim` | [`ClaimRequest`] | [`Claim`]; 409 `not_claimable` |
//! | `POST /api/internal/summaries/{id}/heartbeat` | [`Heartbeat`] | empty; 409 `lease_lost` |
//! | `POST /api/internal/summarize/result` | [`SummaryResult`] | empty; 409 `lease_lost` |
//! | `POST /api/internal/summaries/{id}/failure` | [`Failure`] | empty; 409 `lease_lost` |
//!
//! Each carries the service token as `Authorization: Bearer`. `Debug` of none of them shows diary
//! text or a lease token.

use std::fmt;

use serde::{Deserialize, Serialize};
use shiori_sdk::{Date, DayEmotion, DiaryId, FailureKind, InvalidId, Progress, SummaryId, Version};
use uuid::Uuid;

/// Proves that its holder has the summary's lease. `Debug` does not show it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeaseToken(Uuid);

impl LeaseToken {
    /// A new token that nobody can guess.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self(Uuid::new_v4())
    }

    /// The token as text, for the store.
    pub fn reveal(&self) -> String {
        self.0.hyphenated().to_string()
    }

    /// The token of a text made by [`LeaseToken::reveal`].
    ///
    /// # Errors
    ///
    /// [`InvalidId`] when the text is not one.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        Uuid::try_parse(text).map(Self).map_err(|_| InvalidId)
    }
}

impl fmt::Debug for LeaseToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LeaseToken(…)")
    }
}

/// Asks for the lease of a summary.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ClaimRequest {
    /// Names the worker, for people who look into the store. At most 128 characters.
    pub worker_id: String,
    /// The lease token that the worker wants. A claim whose answer was lost may then be repeated
    /// with it, and is answered again. Default: the server makes one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_token: Option<LeaseToken>,
}

/// A lease, and what is to be summarised.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Claim {
    /// Names the lease in every later call.
    pub lease_token: LeaseToken,
    /// Milliseconds until the lease runs out, unless a heartbeat extends it.
    pub lease_ms: u64,
    /// Which attempt this is, from 1 on.
    pub attempt: u32,
    /// Whether the server will make no other attempt if this one fails.
    #[serde(default)]
    pub is_last: bool,
    /// The W3C `traceparent` of the request, if it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// The days of the week, in order, as they were read for this attempt.
    pub days: Vec<ClaimedDay>,
}

/// One day's diary as the claim read it. `Debug` shows no text.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimedDay {
    /// The day.
    pub date: Date,
    /// Names the diary.
    pub diary_id: DiaryId,
    /// The version that was read.
    pub version: Version,
    /// The title.
    pub title: String,
    /// The text of each block that has any, in reading order.
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

/// Extends the lease, and may tell how far the run is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The lease.
    pub lease_token: LeaseToken,
    /// How far the run is, for those who wait.
    #[serde(default)]
    pub progress: Option<Progress>,
}

/// Hands over what the pipeline made. `Debug` shows no text.
#[derive(Clone, Serialize, Deserialize)]
pub struct SummaryResult {
    /// The summary.
    pub summary_id: SummaryId,
    /// The lease.
    pub lease_token: LeaseToken,
    /// The text, at most 4,000 characters.
    pub reflection: String,
    /// What wrote the text, e.g. `extractive/1`.
    pub engine: String,
    /// What tagged the days, e.g. `lexicon/1`.
    pub emotion_engine: String,
    /// The emotion of each day that was claimed. A day whose label the server does not know is
    /// absent.
    #[serde(deserialize_with = "DayEmotion::deserialize_known")]
    pub emotion_results: Vec<DayEmotion>,
    /// The days of which the summariser was given less than all.
    #[serde(default)]
    pub truncated: Vec<Date>,
    /// What the language model was paid with, if it told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<TokenUsage>,
}

/// Tokens that a language model took, as its provider counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenUsage {
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Tokens of the answer.
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

/// Gives the summary back unfinished.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Failure {
    /// The lease.
    pub lease_token: LeaseToken,
    /// What failed, for programs.
    pub kind: FailureKind,
    /// What failed, for people. It holds no diary text and no secret; at most 500 characters.
    pub message: String,
    /// Whether another attempt may succeed.
    pub retryable: bool,
    /// Milliseconds before which another attempt is pointless.
    #[serde(default)]
    pub retry_after_ms: Option<u64>,
}
