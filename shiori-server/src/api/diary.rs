//! Diaries: get, save, list, delete, archive.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use shiori_sdk::{
    ArchiveReceipt, ArchiveRequest, ConflictBody, Date, DayView, Diary, DiaryEntry, Document,
    ErrorCode, InvalidTitle, SaveReceipt, SaveRequest, UserId, Version, check_title, limits,
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    caching::{etag, is_known},
    caller::{Bearer, Caller},
    error::{ApiError, TitleLimit},
    extract::{Body, DateInPath, Params, RangeInQuery},
    openapi::{Done, List, Success, errors},
    reply::{Message, Reply},
};
use crate::{
    app::App,
    metrics::SaveOutcomeLabel,
    store::{
        ArchiveOutcome, DeleteOutcome, DiaryHead, DiaryRecord, NewVersion, SaveOutcome, one_day,
    },
    summary::Annotations,
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(get_diary, save_diary, delete_diary))
        .routes(routes!(list_diaries))
        .routes(routes!(archive_diary))
}

type SaveResponse = Success<SaveReceipt>;
type DayResponse = Success<DayView>;
type DiariesResponse = List<DiaryEntry>;
type ArchiveResponse = Success<ArchiveReceipt>;

errors!(SaveErrors: ANY | AUTHENTICATED | BODY, TitleTooLong, DiaryConflict, InvalidDate, InvalidDocument, DocumentTooDeep, DocumentTooLarge, QuotaExceeded);

/// Save a day's diary.
///
/// The save contains the version that it replaces, or null if the day has no diary yet. Of all concurrent
/// saves of one version exactly one succeeds. A repeated request with the same `save_id` receives
/// the first response again.
#[utoipa::path(
    post, path = "/api/diary/{date}", tag = "diary", security(("access_token" = [])),
    params(("date" = Date, Path, description = "The day.", example = "20260216")),
    request_body(content = SaveRequest, example = json!({
        "title": "할머니 집",
        "content": {"type": "doc", "content": [
            {"type": "paragraph", "content": [{"type": "text", "text": "감나무에 인사했다."}]},
        ]},
        "version": null,
    })),
    responses(
        (status = 201, description = "Saved. The day had no diary.", body = SaveResponse, example = json!({
            "code": 201, "message": "The diary was saved.",
            "data": {
                "id": "0197f3a1-0000-7000-8000-000000000001", "version": 1,
                "updated_at": "2026-02-16T21:04:05.678Z", "replayed": false,
            },
        })),
        (status = 200, description = "Saved. The expected version was replaced.", body = SaveResponse, example = json!({
            "code": 200, "message": "The diary was saved.",
            "data": {
                "id": "0197f3a1-0000-7000-8000-000000000001", "version": 2,
                "updated_at": "2026-02-16T21:10:00.000Z", "replayed": false,
            },
        })),
        SaveErrors,
    )
)]
async fn save_diary(
    State(app): State<App>,
    caller: Caller,
    DateInPath(date): DateInPath,
    Body(body): Body<SaveRequest<Box<RawValue>>>,
) -> Result<Reply<SaveReceipt>, ApiError> {
    let limit = app.limits.title_chars;
    check_title(&body.title.0, limit).map_err(|error| match error {
        InvalidTitle::TooManyCharacters => {
            ApiError::new(ErrorCode::TitleTooLong).with_data(&TitleLimit::Limit(limit))
        }
        InvalidTitle::TooManyBytes => {
            let limit = limit.saturating_mul(limits::MAX_BYTES_PER_CHAR);
            ApiError::new(ErrorCode::TitleTooLong).with_data(&TitleLimit::LimitBytes(limit))
        }
        _ => ApiError::invalid_field("title", "no_control_characters"),
    })?;
    let save = NewVersion {
        user: caller.user,
        date,
        title: body.title.0,
        content: Document::from_json_within(body.content.get(), &app.limits.document)?,
        expected: body.version,
        save_id: body.save_id,
        quota: app.limits.diaries,
        session: caller.session,
        history: app.limits.history,
        keep_replaced: body.keep_replaced,
        now: app.clock.now(),
    };
    let outcome = app.diary_writes().save(&save).await;
    let outcome = outcome.inspect_err(|_| app.metrics.save(SaveOutcomeLabel::Error))?;
    let (saved, replayed) = match outcome {
        SaveOutcome::Saved(saved) => (saved, false),
        SaveOutcome::Replayed(saved) => (saved, true),
        SaveOutcome::Conflict(current) => {
            app.metrics.save(SaveOutcomeLabel::Conflict);
            return Err(conflict(&app, caller.user, date, current).await);
        }
        SaveOutcome::QuotaExceeded(exceeded) => {
            app.metrics.save(SaveOutcomeLabel::QuotaExceeded);
            return Err(exceeded.into());
        }
    };
    app.metrics.save(if replayed { SaveOutcomeLabel::Replayed } else { SaveOutcomeLabel::Saved });
    let receipt = SaveReceipt {
        id: saved.id,
        version: saved.version,
        updated_at: saved.updated_at,
        replayed,
    };
    let message = Message { ko: "일기를 저장했습니다.", en: "The diary was saved." };
    let status = if saved.created { StatusCode::CREATED } else { StatusCode::OK };
    // Without an ETag, because a read returns more than was saved.
    Ok(Reply::ok(message, receipt).with_status(status))
}

errors!(GetErrors: ANY | AUTHENTICATED, InvalidDate);

/// A day's diary.
///
/// While the store of the summaries is unavailable, `summary_status` and `emotion` are null, and
/// the response has no `ETag`.
#[utoipa::path(
    get, path = "/api/diary/{date}", tag = "diary", security(("access_token" = [])),
    params(
        ("date" = Date, Path, description = "The day.", example = "20260216"),
        ("If-None-Match" = Option<String>, Header, description = "Entity tags of diaries that the client has (RFC 9110, section 13.1.2)."),
    ),
    responses(
        (status = 200, description = "The diary, or nulls if the day has none.", body = DayResponse,
         headers(
            ("ETag" = String, description = "Opaque. Changes with version, summary status and emotion. Absent if there is no diary."),
            ("Cache-Control" = String, description = "`private, no-cache`"),
         ),
         examples(
            ("diary" = (summary = "a diary", value = json!({"code": 200, "message": "The diary of the date.", "data": example()}))),
            ("none" = (summary = "no diary", value = json!({
                "code": 200, "message": "The diary of the date.",
                "data": {
                    "id": null, "date": "20260217", "title": null, "content": null, "version": null,
                    "is_archived": false, "updated_at": null, "emotion": null, "summary_status": "none",
                },
            }))),
         )),
        (status = 304, description = "The client has the current diary.",
         headers(("ETag" = String, description = "The tag of the current diary; absent if there is no diary."))),
        GetErrors,
    )
)]
async fn get_diary(
    State(app): State<App>,
    bearer: Bearer,
    DateInPath(date): DateInPath,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let message = Message { ko: "일기를 불러왔습니다.", en: "The diary of the date." };
    let day = bearer.read(&app, async |session| app.days.day(session, date).await).await?;
    let Some((record, annotations)) = day else {
        return Ok(Reply::ok(message, DayView::absent(date)).into_response());
    };
    let diary = view(record, annotations.as_ref());
    let etag = diary.etag.as_deref().map(HeaderValue::from_str).transpose()?;
    let mut response = if is_known(&headers, diary.etag.as_deref()) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let message = if annotations.is_some() { message } else { NOT_ANNOTATED };
        Reply::ok(message, DayView::from(diary)).into_response()
    };
    response.headers_mut().extend(etag.map(|etag| (header::ETAG, etag)));
    Ok(response)
}

/// The message for a diary without summary status and emotion.
const NOT_ANNOTATED: Message = Message {
    ko: "일기를 불러왔습니다. 요약 상태와 감정은 지금 확인할 수 없습니다.",
    en: "The diary of the date. Summary status and emotion are temporarily unavailable.",
};

errors!(ListErrors: ANY | AUTHENTICATED | RANGE);

/// The diaries of a range of dates, without their contents.
///
/// While the store of the summaries is unavailable, `summary_status` and `emotion` are null.
#[utoipa::path(
    get, path = "/api/diary", tag = "diary", security(("access_token" = [])),
    params(
        ("start" = Date, Query, description = "The first day.", example = "20260216"),
        ("end" = Date, Query, description = "The last day. The range has at most 366 days, including both.", example = "20260222"),
    ),
    responses(
        (status = 200, description = "The diaries, ordered by date.", body = DiariesResponse, example = json!({
            "code": 200, "message": "The diaries of the range.",
            "data": [{
                "date": "20260216", "title": "할머니 집", "version": 1, "summary_status": "none",
                "is_archived": false, "updated_at": "2026-02-16T21:04:05.678Z", "emotion": null,
            }],
        })),
        ListErrors,
    )
)]
async fn list_diaries(
    State(app): State<App>,
    bearer: Bearer,
    RangeInQuery(range): RangeInQuery,
) -> Result<Reply<Vec<DiaryEntry>>, ApiError> {
    let days = bearer.read(&app, async |session| app.days.days(session, range).await);
    let (heads, annotations) = days.await?;
    let entry = |head: DiaryHead| DiaryEntry {
        summary_status: annotations.as_ref().map(|of| of.status(head.date, head.version)),
        emotion: annotations.as_ref().and_then(|of| of.emotion(head.date)),
        date: head.date,
        title: head.title,
        version: head.version,
        is_archived: head.is_archived,
        updated_at: head.updated_at,
    };
    let message = match annotations {
        Some(_) => Message { ko: "일기 목록입니다.", en: "The diaries of the range." },
        None => Message {
            ko: "일기 목록입니다. 요약 상태와 감정은 지금 확인할 수 없습니다.",
            en: "The diaries of the range. Summary status and emotion are temporarily unavailable.",
        },
    };
    Ok(Reply::ok(message, heads.into_iter().map(entry).collect()))
}

#[derive(Deserialize)]
struct VersionParam {
    version: Option<Version>,
}

errors!(DeleteErrors: ANY | AUTHENTICATED, NotFound, DiaryConflict, InvalidDate, InvalidRequest);

/// Delete a day's diary.
///
/// Its text remains in the revisions of the day until it expires or the revisions are deleted.
#[utoipa::path(
    delete, path = "/api/diary/{date}", tag = "diary", security(("access_token" = [])),
    params(
        ("date" = Date, Path, description = "The day.", example = "20260216"),
        ("version" = Version, Query, description = "The expected current version.", example = 1),
    ),
    responses(
        (status = 200, description = "The diary was deleted.", body = Done,
         example = json!({"code": 200, "message": "The diary was deleted.", "data": null})),
        DeleteErrors,
    )
)]
async fn delete_diary(
    State(app): State<App>,
    caller: Caller,
    DateInPath(date): DateInPath,
    Params(VersionParam { version }): Params<VersionParam>,
) -> Result<Reply<()>, ApiError> {
    let version = version.ok_or_else(|| ApiError::invalid_field("version", "required"))?;
    let (history, now) = (app.limits.history, app.clock.now());
    let deleted = app.diary_writes().delete(caller.user, date, version, history, now);
    match deleted.await? {
        DeleteOutcome::Deleted => Ok(Reply::done(Message {
            ko: "일기를 삭제했습니다.",
            en: "The diary was deleted.",
        })),
        DeleteOutcome::NotFound => Err(ApiError::new(ErrorCode::NotFound)),
        DeleteOutcome::Conflict(current) => {
            Err(conflict(&app, caller.user, date, Some(current)).await)
        }
    }
}

errors!(ArchiveErrors: ANY | AUTHENTICATED | BODY, NotFound, DiaryConflict, InvalidDate);

/// Archive a day's diary, or restore it.
#[utoipa::path(
    post, path = "/api/diary/{date}/archive", tag = "diary", security(("access_token" = [])),
    params(("date" = Date, Path, description = "The day.", example = "20260216")),
    request_body(content = ArchiveRequest, example = json!({"archived": true, "version": 1})),
    responses(
        (status = 200, description = "The archive state is as requested.", body = ArchiveResponse,
         example = json!({"code": 200, "message": "The archive state was changed.", "data": {"version": 2}})),
        ArchiveErrors,
    )
)]
async fn archive_diary(
    State(app): State<App>,
    caller: Caller,
    DateInPath(date): DateInPath,
    Body(body): Body<ArchiveRequest>,
) -> Result<Reply<ArchiveReceipt>, ApiError> {
    let now = app.clock.now();
    let (user, ArchiveRequest { archived, version, .. }) = (caller.user, body);
    let changed = app.diary_writes().archive(user, date, version, archived, now);
    match changed.await? {
        ArchiveOutcome::Archived(version) => Ok(Reply::ok(
            Message {
                ko: "보관 상태를 변경했습니다.", en: "The archive state was changed."
            },
            ArchiveReceipt { version },
        )),
        ArchiveOutcome::NotFound => Err(ApiError::new(ErrorCode::NotFound)),
        ArchiveOutcome::Conflict(current) => {
            Err(conflict(&app, caller.user, date, Some(current)).await)
        }
    }
}

/// A diary, for the description of the API.
pub(super) fn example() -> Value {
    json!({
        "id": "0197f3a1-0000-7000-8000-000000000001",
        "date": "20260216",
        "title": "할머니 집",
        "content": {"type": "doc", "content": [
            {"type": "paragraph", "content": [{"type": "text", "text": "감나무에 인사했다."}]},
        ]},
        "version": 1,
        "is_archived": false,
        "updated_at": "2026-02-16T21:04:05.678Z",
        "emotion": "행복",
        "summary_status": "completed",
        "etag": "\"jgCrgw4pH6pSpnuNOQ0QSQ\"",
    })
}

/// 409 with the current diary.
async fn conflict(app: &App, user: UserId, date: Date, current: Option<DiaryRecord>) -> ApiError {
    tracing::debug!(%date, "diary conflict");
    let current = match current {
        None => None,
        Some(record) => {
            let annotations = app.days.annotations(user, one_day(date)).await;
            Some(view(record, annotations.as_ref()))
        }
    };
    ApiError::conflict(ConflictBody { current })
}

/// The diary; without summary status, emotion and tag if the annotations cannot be read.
pub(super) fn view(record: DiaryRecord, annotations: Option<&Annotations>) -> Diary {
    let DiaryHead { id, date, version, .. } = record.head;
    let summary_status = annotations.map(|of| of.status(date, version));
    let emotion = annotations.and_then(|of| of.emotion(date));
    Diary {
        summary_status,
        emotion,
        etag: summary_status.map(|status| etag(id, version, status, emotion)),
        id,
        date,
        title: record.head.title,
        content: record.content,
        version,
        is_archived: record.head.is_archived,
        updated_at: record.head.updated_at,
    }
}
