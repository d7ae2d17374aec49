//! The wire types: the bodies that client, server and worker exchange, and the types of their
//! fields.
//!
//! They need neither an HTTP client nor a runtime. With `default-features = false` the crate
//! consists of these types, [`merge`](crate::merge) and a few pure modules.
//!
//! # Compatibility
//!
//! Every decoder accepts the bodies of newer versions. Unknown fields are ignored. An unknown name
//! decodes as the `Unknown` variant of a [`SummaryStatus`], [`DiarySummaryStatus`], [`FailureKind`],
//! [`ProgressPhase`] or [`Quota`], and as [`ErrorCode::Other`]. A diary with an unknown emotion decodes as
//! one without an emotion, a list of [`DayEmotion`] omits days with an unknown label, and a
//! [`Distribution`] is normalised over the known labels.

#[macro_use]
mod wire_enum;

mod account;
mod change_hint;
mod date;
mod date_version;
mod diary;
mod document;
mod email;
mod emotion;
mod emotion_history;
mod envelope;
mod export;
mod id;
pub mod limits;
mod quota;
mod read;
mod revision;
mod summary;
mod text;
mod timestamp;

pub use account::{
    AccessToken, AccountChange, AccountInfo, Credentials, InvalidNickname, InvitationCode,
    NewAccount, Password, PasswordChange, PasswordCheck, RefreshRequest, SessionInfo, SignedUp,
    VerifyRequest, WeakPassword, check_nickname,
};
pub use change_hint::{ChangeHint, DiaryChange, DiaryHint, SummaryHint};
pub use date::{Date, DateRange, InvalidDate, InvalidRange, UnknownTimeZone, Week, Weekday};
pub use date_version::{DateVersion, VersionPage};
pub use diary::{
    ArchiveReceipt, ArchiveRequest, ConflictBody, DayView, Diary, DiaryEntry, DiarySummaryStatus,
    Draft, InvalidTitle, SaveReceipt, SaveRequest, Title, Version, check_title,
};
pub use document::{Document, DocumentError, DocumentLimits};
pub use email::{Email, InvalidEmail};
pub use emotion::{DayEmotion, Distribution, Emotion, UnknownEmotion};
pub use emotion_history::{EmotionCounts, EmotionHistory, EmotionPeriod};
pub use envelope::{Envelope, ErrorCode};
pub use export::{
    EXPORT_FORMAT, EXPORT_VERSION, ExportEnd, ExportHeader, ExportRecord, ExportedDiary,
    ExportedReflection,
};
pub use id::{DiaryId, InvalidId, SaveId, SessionId, SummaryId, UserId};
pub use limits::{
    MAX_LONG_POLL, MAX_NICKNAME_CHARS, MAX_RANGE_DAYS, MAX_TITLE_CHARS, REMEMBERED_SAVES,
};
pub use quota::{Quota, QuotaExceeded};
pub use read::{ReadDiaries, ReadRequest};
pub use revision::{DiaryRevision, RevisionEntry};
pub use summary::{
    FailureKind, MissingDates, PartialText, Progress, ProgressPhase, Reflection, Revision, Summary,
    SummaryAndText, SummaryFailure, SummaryReceipt, SummaryRequest, SummaryStatus,
};
pub use timestamp::{InvalidTimestamp, Timestamp};

/// A newer server may send values that are unknown to this version. Every decoder accepts them.
#[cfg(test)]
mod growth {
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    use super::*;

    fn read<T: DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).expect("unknown values are readable")
    }

    fn distribution(extra: &str) -> Value {
        json!({ "행복": 0.4, "슬픔": 0.1, extra: 0.5 })
    }

    fn days() -> Value {
        json!([
            { "date": "20260216", "label": "행복", "confidence": 0.4, "distribution": distribution("설렘") },
            { "date": "20260217", "label": "설렘", "confidence": 0.5, "distribution": distribution("설렘") },
        ])
    }

    fn summary() -> Value {
        json!({
            "id": SummaryId::new(), "start": "20260216", "end": "20260222", "status": "paused",
            "revision": 3, "attempts": 1, "requested_at": "2026-02-22T12:00:00Z",
            "started_at": null, "finished_at": null, "reflection": null, "emotions": days(),
            "failure": { "kind": "solar_flare", "message": "" },
            "progress": { "phase": "proofreading", "characters": 5, "words": 1 },
            "added_later": [1],
        })
    }

    #[test]
    fn an_unknown_summary_status_is_unknown_and_not_final() {
        let summary: Summary = read(summary());
        assert_eq!(summary.status, SummaryStatus::Unknown);
        assert!(!summary.status.is_final());
        let receipt: SummaryReceipt = read(json!({
            "id": SummaryId::new(), "status": "paused", "poll_after_ms": 1, "added_later": true,
        }));
        assert_eq!(receipt.status, SummaryStatus::Unknown);
    }

    #[test]
    fn an_unknown_failure_and_phase_are_unknown() {
        let summary: Summary = read(summary());
        assert_eq!(summary.failure.map(|failure| failure.kind), Some(FailureKind::Unknown));
        let progress = summary.progress.expect("running");
        assert_eq!((progress.phase, progress.characters), (ProgressPhase::Unknown, 5));
    }

    #[test]
    fn an_unknown_label_is_absent_and_the_rest_is_normalised() {
        let summary: Summary = read(summary());
        let [day] = summary.emotions[..] else { panic!("expected the one known label") };
        assert_eq!(day.label, Emotion::Happiness);
        assert!((day.distribution.probability(Emotion::Happiness) - 0.8).abs() < 1e-9);
        let reflection: Reflection = read(json!({
            "summary_id": SummaryId::new(), "start": "20260216", "end": "20260222",
            "reflection": "", "emotions": days(), "generated_at": "2026-02-22T12:00:00Z",
            "stale": false, "engine": "new/9", "added_later": {},
        }));
        assert_eq!(reflection.emotions, [day]);
        let nothing_known: Distribution = read(json!({ "설렘": 1.0 }));
        assert_eq!(nothing_known, Distribution::UNIFORM);
    }

    #[test]
    fn a_diary_with_unknown_values_is_readable() {
        let diary = json!({
            "id": DiaryId::new(), "date": "20260216", "title": "제목",
            "content": { "type": "doc", "content": [] }, "version": 2, "is_archived": false,
            "updated_at": "2026-02-16T12:00:00Z", "emotion": "설렘",
            "summary_status": "postponed", "added_later": null,
        });
        let read_diary: Diary = read(diary.clone());
        assert_eq!(read_diary.emotion, None);
        assert_eq!(read_diary.summary_status, Some(DiarySummaryStatus::Unknown));
        let view: DayView = read(diary.clone());
        assert_eq!(view.emotion, None);
        let entry: DiaryEntry = read(diary.clone());
        assert_eq!(
            (entry.emotion, entry.summary_status),
            (None, Some(DiarySummaryStatus::Unknown))
        );
        let conflict: ConflictBody = read(json!({ "current": diary, "added_later": 1 }));
        assert!(conflict.current.is_some());
    }

    #[test]
    fn an_unknown_error_code_keeps_its_name() {
        let envelope: Envelope<Value> =
            read(json!({ "code": 418, "message": "", "data": null, "error": "teapot", "hint": 1 }));
        assert_eq!(envelope.error.as_ref().map(ErrorCode::as_str), Some("teapot"));
    }

    #[test]
    fn other_responses_ignore_unknown_fields() {
        let _: SaveReceipt = read(json!({
            "id": DiaryId::new(), "version": 1, "updated_at": "2026-02-16T12:00:00Z", "new": 1,
        }));
        let _: AccessToken = read(json!({ "token": "t", "expires_in": 900, "new": 1 }));
        let _: SignedUp = read(json!({ "user_id": UserId::new(), "new": 1 }));
        let _: MissingDates = read(json!({ "missing_dates": [], "new": 1 }));
        let exceeded: QuotaExceeded = read(json!({ "quota": "photos", "limit": 3, "new": 1 }));
        assert_eq!((exceeded.quota, exceeded.limit), (Quota::Unknown, 3));
        let _: SessionInfo = read(json!({
            "id": SessionId::new(), "created_at": "2026-02-16T12:00:00Z",
            "last_seen_at": "2026-02-16T12:00:00Z", "user_agent": null, "current": true, "new": 1,
        }));
    }
}
