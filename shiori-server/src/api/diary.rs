//! Diaries: get, save, list, delete, archive.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::{json, value::RawValue};
use shiori_sdk::{
    ArchiveReceipt, ArchiveRequest, ConflictBody, Date, DayView, Diary, DiaryEntry, Document,
    Envelope, ErrorCode, InvalidTitle, SaveReceipt, SaveRequest, UserId, Version, check_title,
    limits,
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    caching::{etag, is_known},
    caller::{Bearer, Caller},
    error::ApiError,
    extract::{Body, DateInPath, Params, RangeInQuery},
    reply::{Message, Reply},
};
use crate::{
    app::App,
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

/// Save a day's diary: a compare-and-swap on its version.
#[utoipa::path(
    post, path = "/api/diary/{date}", tag = "diary", security(("access_token" = [])),
    params(("date" = Date, Path)), request_body = SaveRequest,
    responses(
        (status = 200, description = "saved over the version that was named", body = Envelope<SaveReceipt>),
        (status = 201, description = "saved; there was none yet", body = Envelope<SaveReceipt>),
        (status = 400, description = "title_too_long"),
        (status = 409, description = "diary_conflict: another save was first", body = Envelope<ConflictBody>),
        (status = 413, description = "body_too_large"),
        (status = 415, description = "unsupported_media_type: not JSON in UTF-8, or encoded"),
        (status = 422, description = "invalid_date, invalid_request, number_out_of_range, invalid_document, document_too_deep or document_too_large"),
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
            ApiError::new(ErrorCode::TitleTooLong).with_data(&json!({ "limit": limit }))
        }
        InvalidTitle::TooManyBytes => {
            let limit = limit.saturating_mul(limits::MAX_BYTES_PER_CHAR);
            ApiError::new(ErrorCode::TitleTooLong).with_data(&json!({ "limit_bytes": limit }))
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
        now: app.clock.now(),
    };
    let (saved, replayed) = match app.diaries.save(&save).await? {
        SaveOutcome::Saved(saved) => (saved, false),
        SaveOutcome::Replayed(saved) => (saved, true),
        SaveOutcome::Conflict(current) => {
            app.metrics.save("conflict");
            return Err(conflict(&app, caller.user, date, current).await);
        }
    };
    app.metrics.save(if replayed { "replayed" } else { "saved" });
    let receipt = SaveReceipt {
        id: saved.id,
        version: saved.version,
        updated_at: saved.updated_at,
        replayed,
    };
    let message = Message { ko: "일기를 저장했습니다.", en: "The diary is saved." };
    let status = if saved.created { StatusCode::CREATED } else { StatusCode::OK };
    // Without an ETag: what was saved is not all of what a read returns.
    Ok(Reply::ok(message, receipt).with_status(status))
}

/// A day's diary. While the store of the summaries does not answer, `summary_status` and `emotion` are
/// null, and there is no `ETag`.
#[utoipa::path(
    get, path = "/api/diary/{date}", tag = "diary", security(("access_token" = [])),
    params(("date" = Date, Path), ("If-None-Match" = Option<String>, Header)),
    responses(
        (status = 200, description = "the diary, or nulls where there is none", body = Envelope<DayView>,
         headers(("ETag" = String, description = "opaque; changes with version, summary status and emotion"))),
        (status = 304, description = "nothing of it has changed"),
        (status = 422, description = "invalid_date"),
    )
)]
async fn get_diary(
    State(app): State<App>,
    bearer: Bearer,
    DateInPath(date): DateInPath,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let message = Message { ko: "일기를 불러왔습니다.", en: "The diary is here." };
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

/// A diary is here, but not what the summaries say of its day.
const NOT_ANNOTATED: Message = Message {
    ko: "일기를 불러왔습니다. 요약 상태와 감정은 지금 확인할 수 없습니다.",
    en: "The diary is here; its summary status and emotion are not available now.",
};

/// The diaries of a range of dates, without their contents. While the store of the summaries does not
/// answer, `summary_status` and `emotion` are null.
#[utoipa::path(
    get, path = "/api/diary", tag = "diary", security(("access_token" = [])),
    params(("start" = Date, Query), ("end" = Date, Query)),
    responses(
        (status = 200, description = "by date", body = Envelope<Vec<DiaryEntry>>),
        (status = 400, description = "invalid_range"),
        (status = 422, description = "invalid_date or invalid_request"),
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
            en: "The diaries of the range; their summary status and emotion are not available now.",
        },
    };
    Ok(Reply::ok(message, heads.into_iter().map(entry).collect()))
}

#[derive(Deserialize)]
struct VersionParam {
    version: Option<Version>,
}

/// Delete a day's diary.
#[utoipa::path(
    delete, path = "/api/diary/{date}", tag = "diary", security(("access_token" = [])),
    params(("date" = Date, Path), ("version" = u64, Query)),
    responses(
        (status = 200, description = "deleted"),
        (status = 404, description = "not_found"),
        (status = 409, description = "diary_conflict", body = Envelope<ConflictBody>),
        (status = 422, description = "invalid_date or invalid_request"),
    )
)]
async fn delete_diary(
    State(app): State<App>,
    caller: Caller,
    DateInPath(date): DateInPath,
    Params(VersionParam { version }): Params<VersionParam>,
) -> Result<Reply<()>, ApiError> {
    let version = version.ok_or_else(|| ApiError::invalid_field("version", "required"))?;
    match app.diaries.delete(caller.user, date, version, app.clock.now()).await? {
        DeleteOutcome::Deleted => Ok(Reply::done(Message {
            ko: "일기를 삭제했습니다.",
            en: "The diary is deleted.",
        })),
        DeleteOutcome::NotFound => Err(ApiError::new(ErrorCode::NotFound)),
        DeleteOutcome::Conflict(current) => {
            Err(conflict(&app, caller.user, date, Some(current)).await)
        }
    }
}

/// Archive a day's diary, or undo it.
#[utoipa::path(
    post, path = "/api/diary/{date}/archive", tag = "diary", security(("access_token" = [])),
    params(("date" = Date, Path)), request_body = ArchiveRequest,
    responses(
        (status = 200, description = "done", body = Envelope<ArchiveReceipt>),
        (status = 404, description = "not_found"),
        (status = 409, description = "diary_conflict", body = Envelope<ConflictBody>),
        (status = 422, description = "invalid_date or invalid_request"),
    )
)]
async fn archive_diary(
    State(app): State<App>,
    caller: Caller,
    DateInPath(date): DateInPath,
    Body(body): Body<ArchiveRequest>,
) -> Result<Reply<ArchiveReceipt>, ApiError> {
    let now = app.clock.now();
    match app.diaries.archive(caller.user, date, body.version, body.archived, now).await? {
        ArchiveOutcome::Archived(version) => Ok(Reply::ok(
            Message {
                ko: "보관 상태를 바꿨습니다.", en: "The archive state is changed."
            },
            ArchiveReceipt { version },
        )),
        ArchiveOutcome::NotFound => Err(ApiError::new(ErrorCode::NotFound)),
        ArchiveOutcome::Conflict(current) => {
            Err(conflict(&app, caller.user, date, Some(current)).await)
        }
    }
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
fn view(record: DiaryRecord, annotations: Option<&Annotations>) -> Diary {
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
