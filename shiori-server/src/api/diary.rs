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
    Envelope, ErrorCode, SaveReceipt, SaveRequest, UserId, Version,
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    caller::Caller,
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
        (status = 422, description = "invalid_date, invalid_request, invalid_document, document_too_deep or document_too_large"),
    )
)]
async fn save_diary(
    State(app): State<App>,
    caller: Caller,
    DateInPath(date): DateInPath,
    Body(body): Body<SaveRequest<Box<RawValue>>>,
) -> Result<Reply<SaveReceipt>, ApiError> {
    let limit = app.limits.title_chars;
    if body.title.0.chars().count() > limit {
        return Err(ApiError::new(ErrorCode::TitleTooLong).with_data(&json!({ "limit": limit })));
    }
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
    Ok(Reply::ok(message, receipt)
        .with_status(status)
        .with_header(header::ETAG, etag(saved.version)?))
}

/// A day's diary.
#[utoipa::path(
    get, path = "/api/diary/{date}", tag = "diary", security(("access_token" = [])),
    params(("date" = Date, Path), ("If-None-Match" = Option<String>, Header)),
    responses(
        (status = 200, description = "the diary, or nulls where there is none", body = Envelope<DayView>),
        (status = 304, description = "the version is the one named"),
        (status = 422, description = "invalid_date"),
    )
)]
async fn get_diary(
    State(app): State<App>,
    caller: Caller,
    DateInPath(date): DateInPath,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let message = Message { ko: "일기를 불러왔습니다.", en: "The diary is here." };
    let Some((record, annotations)) = app.days.day(caller.user, date).await? else {
        return Ok(Reply::ok(message, DayView::absent(date)).into_response());
    };
    let etag = etag(record.head.version)?;
    if headers.get_all(header::IF_NONE_MATCH).iter().any(|value| matches_etag(value, &etag)) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }
    let reply = Reply::ok(message, DayView::from(view(record, &annotations)))
        .with_header(header::ETAG, etag);
    Ok(reply.into_response())
}

/// The diaries of a range of dates, without their contents.
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
    caller: Caller,
    RangeInQuery(range): RangeInQuery,
) -> Result<Reply<Vec<DiaryEntry>>, ApiError> {
    let (heads, annotations) = app.days.days(caller.user, range).await?;
    let entry = |head: DiaryHead| DiaryEntry {
        summary_status: annotations.status(head.date, head.version),
        emotion: annotations.emotion(head.date),
        date: head.date,
        title: head.title,
        version: head.version,
        is_archived: head.is_archived,
        updated_at: head.updated_at,
    };
    let message = Message { ko: "일기 목록입니다.", en: "The diaries of the range." };
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
        Some(record) => match app.summaries.annotations(user, one_day(date)).await {
            Ok(annotations) => Some(view(record, &annotations)),
            Err(error) => return error.into(),
        },
    };
    ApiError::conflict(ConflictBody { current })
}

fn view(record: DiaryRecord, annotations: &Annotations) -> Diary {
    let date = record.head.date;
    Diary {
        summary_status: annotations.status(date, record.head.version),
        emotion: annotations.emotion(date),
        id: record.head.id,
        date,
        title: record.head.title,
        content: record.content,
        version: record.head.version,
        is_archived: record.head.is_archived,
        updated_at: record.head.updated_at,
    }
}

fn etag(version: Version) -> Result<HeaderValue, ApiError> {
    Ok(HeaderValue::from_str(&format!("\"{version}\""))?)
}

/// Whether a value of If-None-Match matches the tag, by weak comparison (RFC 9110, section 13.1.2).
fn matches_etag(value: &HeaderValue, etag: &HeaderValue) -> bool {
    let tags = value.to_str().unwrap_or_default().split(',').map(str::trim);
    let opaque = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag).as_bytes() == etag.as_bytes();
    tags.into_iter().any(|tag| tag == "*" || opaque(tag))
}
