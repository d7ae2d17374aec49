//! The emotions of the days, over time.

use axum::extract::State;
use shiori_sdk::{Date, EmotionHistory};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    caller::Bearer,
    error::ApiError,
    extract::LongRangeInQuery,
    openapi::{Success, errors},
    reply::{Message, Reply},
};
use crate::app::App;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(emotions))
}

type EmotionsResponse = Success<EmotionHistory>;

errors!(EmotionsErrors: ANY | AUTHENTICATED | RANGE);

/// The emotions of a range of days.
///
/// Contains the days that have a diary and an emotion, with the emotion that `GET /api/diary/{date}`
/// returns, and how many of them have each emotion in each week (Monday to Sunday) and month.
#[utoipa::path(
    get, path = "/api/diary/emotions", tag = "diary", security(("access_token" = [])),
    params(
        ("start" = Date, Query, description = "The first day.", example = "20260101"),
        ("end" = Date, Query, description = "The last day. The range has at most 3653 days, including both.", example = "20261231"),
    ),
    responses(
        (status = 200, description = "The emotions, ordered by date.", body = EmotionsResponse, example = json!({
            "code": 200, "message": "The emotions of the range.",
            "data": {
                "days": [{
                    "date": "20260216", "label": "행복", "confidence": 0.62,
                    "distribution": {
                        "공포": 0.03, "놀람": 0.05, "분노": 0.02, "슬픔": 0.08, "중립": 0.19, "행복": 0.62, "혐오": 0.01,
                    },
                }],
                "weeks": [{
                    "start": "20260216",
                    "counts": {"공포": 0, "놀람": 0, "분노": 0, "슬픔": 0, "중립": 0, "행복": 1, "혐오": 0},
                }],
                "months": [{
                    "start": "20260201",
                    "counts": {"공포": 0, "놀람": 0, "분노": 0, "슬픔": 0, "중립": 0, "행복": 1, "혐오": 0},
                }],
            },
        })),
        EmotionsErrors,
    )
)]
async fn emotions(
    State(app): State<App>,
    bearer: Bearer,
    LongRangeInQuery(range): LongRangeInQuery,
) -> Result<Reply<EmotionHistory>, ApiError> {
    let days = bearer.read(&app, async |session| app.days.days(session, range).await);
    let (heads, annotations) = days.await?;
    // Without the summaries, an empty list would be wrong.
    let annotations = annotations.ok_or_else(ApiError::unavailable)?;
    let tags = heads.iter().filter_map(|head| annotations.tags.get(&head.date).copied());
    let message = Message { ko: "감정 기록입니다.", en: "The emotions of the range." };
    Ok(Reply::ok(message, EmotionHistory::of(tags.collect())))
}
