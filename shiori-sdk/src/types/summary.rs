use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Date, DayEmotion, SummaryId, Timestamp, emotion::known_days};

/// The longest time that a server holds a request for a summary: 30 s, unless it is set otherwise.
pub const MAX_LONG_POLL: Duration = Duration::from_secs(30);

/// Where a summary is in its life: queued → running → completed, failed or cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SummaryStatus {
    /// Accepted; waits for a worker, or for its next attempt.
    Queued,
    /// A worker is on it.
    Running,
    /// The reflection is there.
    Completed,
    /// It has failed for good; `failure` says why.
    Failed,
    /// It was cancelled.
    Cancelled,
    /// A status of a newer server that this version does not know. It counts as not final.
    #[serde(other)]
    Unknown,
}

impl SummaryStatus {
    /// Whether it never changes again.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for SummaryStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Counts the steps of one summary's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = u64))]
#[serde(transparent)]
pub struct Revision(u64);

impl Revision {
    /// The revision with this number.
    pub fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    pub fn get(self) -> u64 {
        self.0
    }

    /// The revision after this one.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a summary failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FailureKind {
    /// The week's diaries hold no text.
    NoText,
    /// A diary of the week was deleted before it could be read.
    WeekIncomplete,
    /// The language model did not answer, or not in time.
    ModelUnavailable,
    /// The language model refused the request or its key.
    ModelRejected,
    /// The language model's answer could not be used.
    ModelAnswerInvalid,
    /// The emotion model failed.
    EmotionModel,
    /// Workers took it and were not heard of again, as often as the server allows.
    WorkerLost,
    /// An internal error of the worker.
    Internal,
    /// A reason of a newer server or worker that this version does not know.
    #[serde(other)]
    Unknown,
}

impl FailureKind {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoText => "no_text",
            Self::WeekIncomplete => "week_incomplete",
            Self::ModelUnavailable => "model_unavailable",
            Self::ModelRejected => "model_rejected",
            Self::ModelAnswerInvalid => "model_answer_invalid",
            Self::EmotionModel => "emotion_model",
            Self::WorkerLost => "worker_lost",
            Self::Internal => "internal",
            Self::Unknown => "unknown",
        }
    }
}

/// Why a summary failed, for program and person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SummaryFailure {
    /// For programs.
    pub kind: FailureKind,
    /// For people. It holds no diary text.
    pub message: String,
}

/// What a running summary is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ProgressPhase {
    /// The emotion model reads the days.
    Emotions,
    /// The summariser writes.
    Writing,
    /// A phase of a newer worker that this version does not know.
    #[serde(other)]
    Unknown,
}

/// How far a running summary is. It is forgotten when the run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Progress {
    /// What it is at.
    pub phase: ProgressPhase,
    /// Characters written so far.
    #[serde(default)]
    pub characters: u32,
}

/// The body of `POST /api/diary/summary`.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SummaryRequest {
    /// The week's first day.
    pub start: Date,
    /// The week's last day, six days later.
    pub end: Date,
    /// Whether to summarise again although nothing has changed.
    #[serde(default)]
    pub force: bool,
}

/// The answer to a summary request: 202 when one is on its way, 200 when one is already done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SummaryReceipt {
    /// Names the summary.
    pub id: SummaryId,
    /// Where it is in its life.
    pub status: SummaryStatus,
    /// Milliseconds to wait before asking for it, where long-polling is not possible.
    pub poll_after_ms: u64,
}

/// `data` of a 422 `week_incomplete`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MissingDates {
    /// The days that have no diary.
    pub missing_dates: Vec<Date>,
}

/// One request for a week's summary, as it stands. `Debug` shows no text.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Summary {
    /// Names the summary.
    pub id: SummaryId,
    /// The week's first day.
    pub start: Date,
    /// The week's last day.
    pub end: Date,
    /// Where it is in its life.
    pub status: SummaryStatus,
    /// Grows with every change of the status.
    pub revision: Revision,
    /// How often a worker has taken it.
    pub attempts: u32,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// When a worker first took it.
    pub started_at: Option<Timestamp>,
    /// When it reached its final status.
    pub finished_at: Option<Timestamp>,
    /// The text, once completed.
    pub reflection: Option<String>,
    /// What wrote the text, e.g. `extractive/1`.
    #[serde(default)]
    pub engine: Option<String>,
    /// The emotion of each day, once completed.
    #[serde(deserialize_with = "known_days")]
    pub emotions: Vec<DayEmotion>,
    /// The days of which the language model was given less than all, for they were too long.
    #[serde(default)]
    pub truncated: Vec<Date>,
    /// Why it failed, if it did.
    pub failure: Option<SummaryFailure>,
    /// How far it is, while it runs.
    #[serde(default)]
    pub progress: Option<Progress>,
}

impl fmt::Debug for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Summary")
            .field("id", &self.id)
            .field("start", &self.start)
            .field("status", &self.status)
            .field("revision", &self.revision)
            .field("attempts", &self.attempts)
            .field("failure", &self.failure)
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
}

/// The newest finished reflection on a week. `Debug` shows no text.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Reflection {
    /// The summary that wrote it.
    pub summary_id: SummaryId,
    /// The week's first day.
    pub start: Date,
    /// The week's last day.
    pub end: Date,
    /// The text.
    pub reflection: String,
    /// The emotion of each day.
    #[serde(deserialize_with = "known_days")]
    pub emotions: Vec<DayEmotion>,
    /// The days of which the language model was given less than all, for they were too long.
    #[serde(default)]
    pub truncated: Vec<Date>,
    /// When it was written.
    pub generated_at: Timestamp,
    /// Whether a diary of the week was saved or deleted after the summary had read it.
    pub stale: bool,
    /// What wrote the text, e.g. `extractive/1`.
    pub engine: String,
}

impl fmt::Debug for Reflection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reflection")
            .field("summary_id", &self.summary_id)
            .field("start", &self.start)
            .field("generated_at", &self.generated_at)
            .field("stale", &self.stale)
            .field("engine", &self.engine)
            .finish_non_exhaustive()
    }
}
