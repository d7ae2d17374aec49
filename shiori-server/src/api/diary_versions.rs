//! The versions of many dates, so that clients find what has changed.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use shiori_sdk::{Date, VersionPage, limits::MAX_VERSIONS};
use tokio::join;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    caching::{is_known, versions_etag},
    caller::Bearer,
    error::ApiError,
    extract::AnyRangeInQuery,
    openapi::{Success, errors},
    reply::{Message, Reply},
};
use crate::{app::App, store::SessionKey};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_versions))
}

type VersionsResponse = Success<VersionPage>;

errors!(VersionErrors: ANY | AUTHENTICATED | RANGE);

/// The versions of a range of dates.
///
/// It contains every date of the range that has or had a diary, also if the diary was deleted. So a
/// client that compares the versions with those that it knows finds every change. The range may have any
/// length; a response has at most 4,096 dates, and names the date from which to continue.
#[utoipa::path(
    get, path = "/api/diary/versions", tag = "diary", security(("access_token" = [])),
    params(
        ("start" = Date, Query, description = "The first day.", example = "20160101"),
        ("end" = Date, Query, description = "The last day.", example = "20261231"),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of an earlier response for this range."),
    ),
    responses(
        (status = 200, description = "The versions, ordered by date.", body = VersionsResponse,
         headers(("ETag" = String, description = "It changes with each version of the response.")),
         example = json!({
            "code": 200, "message": "The versions of the range.",
            "data": {"versions": [[20_260_216, 3], [20_260_217, 5, 1], [20_260_218, 2, 2]], "next": null},
         })),
        (status = 304, description = "None of the versions has changed.",
         headers(("ETag" = String, description = "That of the request."))),
        VersionErrors,
    )
)]
async fn list_versions(
    State(app): State<App>,
    bearer: Bearer,
    headers: HeaderMap,
    AnyRangeInQuery(range): AnyRangeInQuery,
) -> Result<Response, ApiError> {
    let read = bearer.read(&app, async |SessionKey { user, id, now }| {
        let (session, versions) = join!(
            app.sessions.get(user, id, now),
            // One more, to find whether others follow.
            app.diaries.versions(user, range, MAX_VERSIONS + 1),
        );
        let Some(session) = session? else { return Ok(None) };
        Ok(Some((session, versions?)))
    });
    let mut versions = read.await?;
    let next: Option<Date> = versions.get(MAX_VERSIONS as usize).map(|first| first.date);
    versions.truncate(MAX_VERSIONS as usize);
    let page = VersionPage { versions, next };
    let etag = versions_etag(&page);
    let mut response = if is_known(&headers, Some(&etag)) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let message =
            Message { ko: "일기의 버전 목록입니다.", en: "The versions of the range." };
        Reply::ok(message, page).into_response()
    };
    response.headers_mut().insert(header::ETAG, HeaderValue::from_str(&etag)?);
    Ok(response)
}
