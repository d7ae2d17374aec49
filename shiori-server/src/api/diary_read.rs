//! Reading the diaries of many dates.

use axum::extract::State;
use shiori_sdk::{Date, DateRange, ErrorCode, ReadDiaries, ReadRequest, limits::MAX_READ_DATES};
use tokio::join;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    caller::Bearer,
    diary,
    error::ApiError,
    extract::Body,
    openapi::{Success, errors},
    reply::{Message, Reply},
};
use crate::{
    app::App,
    store::{SessionKey, StoreError},
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(read_diaries))
}

type ReadResponse = Success<ReadDiaries>;

errors!(ReadErrors: ANY | AUTHENTICATED | BODY, InvalidDate);

/// Read the diaries of many dates.
///
/// A response ends when its documents have 1 MiB, and has at least one diary. It names the dates that
/// were not read, for the next request. Dates without a diary are absent.
///
/// While the store of the summaries is unavailable, `summary_status` and `emotion` are null, and
/// the diaries have no `etag`.
#[utoipa::path(
    post, path = "/api/diary/read", tag = "diary", security(("access_token" = [])),
    request_body(content = ReadRequest, example = json!({"dates": ["20260216", "20260217"]})),
    responses(
        (status = 200, description = "The diaries, ordered by date.", body = ReadResponse, example = json!({
            "code": 200, "message": "The diaries of the dates.",
            "data": {"diaries": [diary::example()], "unreadable": [], "rest": []},
        })),
        ReadErrors,
    )
)]
async fn read_diaries(
    State(app): State<App>,
    bearer: Bearer,
    body: Result<Body<ReadRequest<String>>, ApiError>,
) -> Result<Reply<ReadDiaries>, ApiError> {
    // An error of the body is returned only if the session is active.
    let dates = body.and_then(|Body(body)| distinct_dates(&body.dates));
    let valid = dates.as_deref().unwrap_or_default();
    let read = bearer.read(&app, async |SessionKey { user, id, now }| {
        let many = async {
            // A valid request has at least one date.
            let (Some(first), Some(last)) = (valid.first(), valid.last()) else {
                return Ok(None);
            };
            let range = DateRange::new(*first, *last).expect("the dates are ordered");
            let (many, annotations) =
                join!(app.diaries.read_many(user, valid), app.days.annotations(user, range));
            Ok::<_, StoreError>(Some((many?, annotations)))
        };
        let (session, many) = join!(app.sessions.get(user, id, now), many);
        let Some(session) = session? else { return Ok(None) };
        Ok(Some((session, many?)))
    });
    let read = read.await?;
    dates?;
    let (many, annotations) = read.ok_or_else(|| ApiError::new(ErrorCode::Internal))?;
    let diaries = many.diaries.into_iter();
    let diaries = diaries.map(|record| diary::view(record, annotations.as_ref())).collect();
    let message = match annotations {
        Some(_) => {
            Message { ko: "일기들을 불러왔습니다.", en: "The diaries of the dates." }
        }
        None => Message {
            ko: "일기들을 불러왔습니다. 요약 상태와 감정은 지금 확인할 수 없습니다.",
            en: "The diaries of the dates. Summary status and emotion are temporarily unavailable.",
        },
    };
    Ok(Reply::ok(message, ReadDiaries { diaries, unreadable: many.unreadable, rest: many.rest }))
}

/// The dates of a request, ordered.
fn distinct_dates(texts: &[String]) -> Result<Vec<Date>, ApiError> {
    if !(1..=MAX_READ_DATES).contains(&texts.len()) {
        return Err(ApiError::invalid_field("dates", "1 to 100 dates"));
    }
    let dates: Result<Vec<Date>, _> = texts.iter().map(|text| text.parse()).collect();
    let mut dates = dates.map_err(|_| ApiError::new(ErrorCode::InvalidDate))?;
    dates.sort_unstable();
    if dates.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(ApiError::invalid_field("dates", "distinct"));
    }
    Ok(dates)
}
