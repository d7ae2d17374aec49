//! Revisions: texts of diaries that a save or a deletion has replaced.

use axum::extract::State;
use shiori_sdk::{Date, DiaryRevision, ErrorCode, RevisionEntry, Version};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    caller::Caller,
    error::ApiError,
    extract::{DateInPath, RevisionInPath},
    openapi::{Done, List, Success, errors},
    reply::{Message, Reply},
};
use crate::{
    app::App,
    store::{RevisionHead, RevisionRecord},
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_revisions, purge_day))
        .routes(routes!(get_revision))
        .routes(routes!(purge_all))
}

type RevisionsResponse = List<RevisionEntry>;
type RevisionResponse = Success<DiaryRevision>;

/// Revisions that one step of a purge deletes. Few, because saves of other users wait for it.
const PURGE_BATCH: u32 = 100;

const PURGED: Message =
    Message { ko: "이전 글을 삭제했습니다.", en: "The revisions were deleted." };

errors!(ListErrors: ANY | AUTHENTICATED, InvalidDate);

/// The revisions of a day, without their contents.
///
/// A revision is a text that a save or a deletion has replaced. A save keeps the replaced text if another
/// session has saved it, if it is older than 10 minutes, or if the request asks for it. A deletion always
/// keeps it. At most 50 revisions of a day are kept, for 30 days.
#[utoipa::path(
    get, path = "/api/diary/{date}/revisions", tag = "diary", security(("access_token" = [])),
    params(("date" = Date, Path, description = "The day. It may have no diary.", example = "20260216")),
    responses(
        (status = 200, description = "The revisions, newest first.", body = RevisionsResponse, example = json!({
            "code": 200, "message": "The revisions of the date.",
            "data": [{
                "version": 1, "title": "할머니 집", "bytes": 131,
                "saved_at": "2026-02-16T21:04:05.678Z", "replaced_at": "2026-02-17T08:30:00.000Z",
            }],
        })),
        ListErrors,
    )
)]
async fn list_revisions(
    State(app): State<App>,
    caller: Caller,
    DateInPath(date): DateInPath,
) -> Result<Reply<Vec<RevisionEntry>>, ApiError> {
    let replaced_after = app.limits.history.expired_until(app.clock.now());
    let revisions = app.diaries.revisions(caller.user, date, replaced_after).await?;
    let message = Message { ko: "이전 글 목록입니다.", en: "The revisions of the date." };
    let entry = |RevisionHead { version, title, bytes, saved_at, replaced_at }| RevisionEntry {
        version,
        title,
        bytes,
        saved_at,
        replaced_at,
    };
    Ok(Reply::ok(message, revisions.into_iter().map(entry).collect()))
}

errors!(GetErrors: ANY | AUTHENTICATED, NotFound, InvalidDate);

/// A revision of a day.
///
/// To restore it, save its title and content.
#[utoipa::path(
    get, path = "/api/diary/{date}/revisions/{version}", tag = "diary",
    security(("access_token" = [])),
    params(
        ("date" = Date, Path, description = "The day. It may have no diary.", example = "20260216"),
        ("version" = Version, Path, description = "The version of the revision.", example = 1),
    ),
    responses(
        (status = 200, description = "The revision.", body = RevisionResponse, example = json!({
            "code": 200, "message": "The revision.",
            "data": {
                "date": "20260216", "version": 1, "title": "할머니 집",
                "content": {"type": "doc", "content": [
                    {"type": "paragraph", "content": [{"type": "text", "text": "감나무에 인사했다."}]},
                ]},
                "saved_at": "2026-02-16T21:04:05.678Z", "replaced_at": "2026-02-17T08:30:00.000Z",
            },
        })),
        GetErrors,
    )
)]
async fn get_revision(
    State(app): State<App>,
    caller: Caller,
    RevisionInPath(date, version): RevisionInPath,
) -> Result<Reply<DiaryRevision>, ApiError> {
    let replaced_after = app.limits.history.expired_until(app.clock.now());
    let found = app.diaries.revision(caller.user, date, version, replaced_after).await?;
    let RevisionRecord { head, content } =
        found.ok_or_else(|| ApiError::new(ErrorCode::NotFound))?;
    let RevisionHead { version, title, saved_at, replaced_at, .. } = head;
    let revision = DiaryRevision { date, version, title, content, saved_at, replaced_at };
    Ok(Reply::ok(Message { ko: "이전 글입니다.", en: "The revision." }, revision))
}

errors!(PurgeDayErrors: ANY | AUTHENTICATED, InvalidDate);

/// Delete the revisions of a day.
///
/// The diary does not change.
#[utoipa::path(
    delete, path = "/api/diary/{date}/revisions", tag = "diary", security(("access_token" = [])),
    params(("date" = Date, Path, description = "The day.", example = "20260216")),
    responses(
        (status = 200, description = "The day has no revisions.", body = Done,
         example = json!({"code": 200, "message": "The revisions were deleted.", "data": null})),
        PurgeDayErrors,
    )
)]
async fn purge_day(
    State(app): State<App>,
    caller: Caller,
    DateInPath(date): DateInPath,
) -> Result<Reply<()>, ApiError> {
    purge(&app, caller, Some(date)).await
}

errors!(PurgeErrors: ANY | AUTHENTICATED);

/// Delete the revisions of all days.
///
/// The diaries do not change. If the response is 503, some revisions may be left; repeat the request.
#[utoipa::path(
    delete, path = "/api/diary/revisions", tag = "diary", security(("access_token" = [])),
    responses(
        (status = 200, description = "The user has no revisions.", body = Done,
         example = json!({"code": 200, "message": "The revisions were deleted.", "data": null})),
        PurgeErrors,
    )
)]
async fn purge_all(State(app): State<App>, caller: Caller) -> Result<Reply<()>, ApiError> {
    purge(&app, caller, None).await
}

/// Deletes in batches, within the timeout of the request.
async fn purge(app: &App, caller: Caller, date: Option<Date>) -> Result<Reply<()>, ApiError> {
    while app.diaries.purge_revisions(caller.user, date, PURGE_BATCH).await?
        >= u64::from(PURGE_BATCH)
    {}
    Ok(Reply::done(PURGED))
}
