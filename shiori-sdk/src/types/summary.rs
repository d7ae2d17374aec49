use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Date, DayEmotion, SummaryId, Timestamp};

wire_enum! {
    /// The status of a summary: queued → running → completed, failed or cancelled.
    pub enum SummaryStatus {
        /// It waits for a worker, or for its next attempt.
        Queued = "queued",
        /// A worker is processing it.
        Running = "running",
        /// The reflection is written.
        Completed = "completed",
        /// It failed and is not retried; `failure` has the reason.
        Failed = "failed",
        /// The user cancelled it.
        Cancelled = "cancelled",
    }
}

impl SummaryStatus {
    /// Whether the status never changes again. An unknown status counts as not final.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

/// The revision of a summary: a number that grows with every change of its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = u64, examples(2)))]
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

wire_enum! {
    /// Why a summary failed.
    pub enum FailureKind {
        /// The week's diaries contain no text.
        NoText = "no_text",
        /// A diary of the week was deleted before a worker read it.
        WeekIncomplete = "week_incomplete",
        /// The stored data of a diary of the week is damaged. The message lists the days; saving
        /// them again repairs them.
        UnreadableDiary = "unreadable_diary",
        /// The language model did not respond, or not in time.
        ModelUnavailable = "model_unavailable",
        /// The language model rejected the request or its key.
        ModelRejected = "model_rejected",
        /// The language model's response was not usable.
        ModelAnswerInvalid = "model_answer_invalid",
        /// The emotion model failed.
        EmotionModel = "emotion_model",
        /// The worker's lease expired in every attempt that the server allows.
        WorkerLost = "worker_lost",
        /// An internal error of the worker.
        Internal = "internal",
    }
}

/// Why a summary failed, as a kind and as a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SummaryFailure {
    /// The kind of failure.
    pub kind: FailureKind,
    /// A message for people. It contains no diary text.
    pub message: String,
}

wire_enum! {
    /// The phase of a running summary.
    pub enum ProgressPhase {
        /// The emotion model classifies the diaries.
        Emotions = "emotions",
        /// The summariser writes the reflection.
        Writing = "writing",
    }
}

/// The progress of a running summary. It is not kept after the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Progress {
    /// The current phase.
    pub phase: ProgressPhase,
    /// Number of characters written so far.
    #[serde(default)]
    pub characters: u32,
}

/// The body of `POST /api/diary/summary`.
///
/// A server reads the dates as text (`SummaryRequest<String>`) and rejects an invalid date with
/// `invalid_date`.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SummaryRequest<D = Date> {
    /// The week's first day.
    pub start: D,
    /// The week's last day, six days after the first.
    pub end: D,
    /// Whether to summarise again even if no diary has changed.
    #[serde(default)]
    pub force: bool,
}

/// `data` of the response to a summary request: 202 if the summary is unfinished, 200 if it was
/// completed before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SummaryReceipt {
    /// The summary's id.
    pub id: SummaryId,
    /// The status.
    pub status: SummaryStatus,
    /// Milliseconds to wait before polling, for clients that do not long-poll.
    pub poll_after_ms: u64,
}

/// `data` of a 422 `week_incomplete`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MissingDates {
    /// The days without a diary.
    #[cfg_attr(feature = "openapi", schema(min_items = 1, max_items = 7))]
    pub missing_dates: Vec<Date>,
}

/// The current state of a requested summary.
///
/// `Debug` shows no text.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Summary {
    /// The summary's id.
    pub id: SummaryId,
    /// The week's first day.
    pub start: Date,
    /// The week's last day.
    pub end: Date,
    /// The status.
    pub status: SummaryStatus,
    /// Grows with every change of the status.
    pub revision: Revision,
    /// How often a worker has claimed it.
    pub attempts: u32,
    /// When it was requested.
    pub requested_at: Timestamp,
    /// When a worker first claimed it.
    pub started_at: Option<Timestamp>,
    /// When it reached its final status.
    pub finished_at: Option<Timestamp>,
    /// The text, if completed.
    pub reflection: Option<String>,
    /// The engine that wrote the text, e.g. `extractive/1`.
    #[serde(default)]
    pub engine: Option<String>,
    /// The emotion of each day, if completed.
    ///
    /// Days with an unknown emotion are omitted.
    #[serde(deserialize_with = "DayEmotion::deserialize_known")]
    #[cfg_attr(feature = "openapi", schema(max_items = 7))]
    pub emotions: Vec<DayEmotion>,
    /// The days whose text was truncated for the language model because it was too long.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(max_items = 7))]
    pub truncated: Vec<Date>,
    /// Why it failed, or why its last attempt failed.
    pub failure: Option<SummaryFailure>,
    /// The progress, while it runs.
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

/// The text that a running summary has written so far.
///
/// It contains nothing that a language model thinks aloud. It normally is a beginning of the
/// reflection, but it may still be replaced: by the text of another model after a failure, by that of
/// another run, or by nothing. It is not kept after the run. `Debug` shows no text.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PartialText {
    /// The revision of the run that writes it. A summary with a greater revision replaces it.
    pub revision: Revision,
    /// The number of the text within its run; a greater number replaces a smaller one.
    #[cfg_attr(feature = "openapi", schema(format = Int64, maximum = 4_294_967_295_u64))]
    pub number: u32,
    /// The text, at most 4,000 characters; empty if an earlier text was withdrawn.
    #[cfg_attr(feature = "openapi", schema(max_length = 4000))]
    pub text: String,
}

impl fmt::Debug for PartialText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartialText")
            .field("revision", &self.revision)
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

/// `data` of the response to `GET /api/diary/summary/{id}`: the summary and, if the request has
/// `text_after`, the text that it has written so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SummaryAndText {
    /// The summary.
    #[serde(flatten)]
    pub summary: Summary,
    /// The text so far. Absent without `text_after`, and if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partial_text: Option<PartialText>,
}

/// The newest reflection on a week.
///
/// `Debug` shows no text.
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
    ///
    /// Days with an unknown emotion are omitted.
    #[serde(deserialize_with = "DayEmotion::deserialize_known")]
    #[cfg_attr(feature = "openapi", schema(max_items = 7))]
    pub emotions: Vec<DayEmotion>,
    /// The days whose text was truncated for the language model because it was too long.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(max_items = 7))]
    pub truncated: Vec<Date>,
    /// When it was written.
    pub generated_at: Timestamp,
    /// Whether a diary of the week was saved or deleted after the summary had read it.
    pub stale: bool,
    /// The engine that wrote the text, e.g. `extractive/1`.
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn summary() -> Value {
        json!({
            "id": SummaryId::new(), "start": "20260216", "end": "20260222", "status": "running",
            "revision": 2, "attempts": 1, "requested_at": "2026-02-23T00:00:00.000Z",
            "started_at": "2026-02-23T00:00:01.000Z", "finished_at": null, "reflection": null,
            "emotions": [], "failure": {"kind": "internal", "message": "실패"},
            "progress": {"phase": "writing", "characters": 40},
        })
    }

    #[test]
    fn a_summary_of_a_newer_server_decodes() {
        let day =
            json!({"date": "20260216", "label": "희망", "confidence": 1.0, "distribution": {}});
        for (field, value) in [
            ("added_later", json!({"of": ["any", "type"]})),
            ("status", json!("paused")),
            ("failure", json!({"kind": "quota", "message": "실패", "added_later": 1})),
            ("progress", json!({"phase": "reviewing", "characters": 40, "added_later": 1})),
            ("emotions", json!([day])),
        ] {
            let mut body = summary();
            body[field] = value;
            let summary: Summary = serde_json::from_value(body).expect(field);
            let status =
                if field == "status" { SummaryStatus::Unknown } else { SummaryStatus::Running };
            assert_eq!((summary.status, summary.status.is_final()), (status, false));
            let failure = summary.failure.expect("a failure");
            assert_eq!(failure.kind == FailureKind::Unknown, field == "failure");
            assert_eq!(failure.message, "실패");
            let progress = summary.progress.expect("a progress");
            assert_eq!(progress.phase == ProgressPhase::Unknown, field == "progress");
            assert_eq!(progress.characters, 40);
            assert_eq!(summary.emotions, []);
        }
    }

    #[test]
    fn a_reflection_of_a_newer_server_decodes() {
        let day =
            json!({"date": "20260216", "label": "희망", "confidence": 1.0, "distribution": {}});
        let body = json!({
            "summary_id": SummaryId::new(), "start": "20260216", "end": "20260222",
            "reflection": "글", "emotions": [day], "generated_at": "2026-02-23T00:00:00.000Z",
            "stale": false, "engine": "later/9", "added_later": {"of": ["any", "type"]},
        });
        let reflection: Reflection = serde_json::from_value(body).expect("a reflection");
        assert_eq!(reflection.emotions, []);
    }

    #[test]
    fn a_partial_text_is_no_summary_and_not_shown() {
        let body = json!({"revision": 2, "number": 7, "text": "비밀", "added_later": 1});
        let older: Result<Summary, _> = serde_json::from_value(body.clone());
        assert!(older.is_err(), "older clients ignore the event");
        let text: PartialText = serde_json::from_value(body).expect("a text");
        assert_eq!((text.revision, text.number, text.text.as_str()), (Revision::new(2), 7, "비밀"));
        assert!(!format!("{text:?}").contains("비밀"));
    }

    #[test]
    fn the_text_so_far_is_beside_the_fields_of_the_summary() {
        let mut body = summary();
        let without: SummaryAndText = serde_json::from_value(body.clone()).expect("a summary");
        assert_eq!(without.partial_text, None);
        body["partial_text"] = json!({"revision": 2, "number": 1, "text": "한 주가"});
        let with: SummaryAndText = serde_json::from_value(body.clone()).expect("a summary");
        assert_eq!(with.summary, without.summary);
        assert_eq!(with.partial_text.as_ref().map(|text| text.number), Some(1));
        let older: Summary = serde_json::from_value(body).expect("older clients ignore the field");
        assert_eq!(older, with.summary);
        let sent = serde_json::to_value(&without).expect("JSON");
        assert_eq!(sent, serde_json::to_value(&without.summary).expect("JSON"));
    }

    #[test]
    fn a_receipt_of_a_newer_server_decodes() {
        let body = json!({"id": SummaryId::new(), "status": "deferred", "poll_after_ms": 1000, "added_later": 1});
        let receipt: SummaryReceipt = serde_json::from_value(body).expect("a receipt");
        assert_eq!(receipt.status, SummaryStatus::Unknown);
    }
}
