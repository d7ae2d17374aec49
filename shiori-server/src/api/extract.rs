//! Extractors that parse requests into validated types, before any store is called.

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
};
use http::{
    HeaderMap,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
    request::Parts,
};
use serde::{Deserialize, de::DeserializeOwned};
use shiori_sdk::{
    Date, DateRange, ErrorCode, Version,
    limits::MAX_EMOTION_DAYS,
    strict_json::{self, BodyFault},
};

use super::error::{ApiError, NumberFault};
use crate::app::App;

/// A JSON body, parsed strictly.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<App> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        if !is_plain_json(request.headers()) {
            return Err(ApiError::new(ErrorCode::UnsupportedMediaType));
        }
        let bytes = Bytes::from_request(request, app).await.map_err(|rejection| match rejection
            .status()
        {
            http::StatusCode::PAYLOAD_TOO_LARGE => ApiError::new(ErrorCode::BodyTooLarge),
            _ => ApiError::invalid_field("body", "whole"),
        })?;
        parse(&bytes).map(Self)
    }
}

/// Parses a body. The error names the field, never its value.
fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    strict_json::parse(bytes).map_err(|error| match error.kind {
        BodyFault::NumberOutOfRange => ApiError::new(ErrorCode::NumberOutOfRange)
            .with_data(&NumberFault { field: error.field }),
        kind => ApiError::invalid_field(&error.field, kind.rule()),
    })
}

/// Whether the body is JSON in UTF-8 without a content coding.
fn is_plain_json(headers: &HeaderMap) -> bool {
    let values = |name| headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("?"));
    let mut types = values(CONTENT_TYPE);
    types.next().is_some_and(strict_json::is_json)
        && types.next().is_none()
        && values(CONTENT_ENCODING).all(strict_json::is_identity)
}

/// The date in the path.
pub(crate) struct DateInPath(pub(crate) Date);

impl FromRequestParts<App> for DateInPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let text = path(parts, app).await?;
        text.parse().map(Self).map_err(|_| ApiError::new(ErrorCode::InvalidDate))
    }
}

/// The date and the version of a revision in the path. A malformed version is not found.
pub(crate) struct RevisionInPath(pub(crate) Date, pub(crate) Version);

impl FromRequestParts<App> for RevisionInPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let not_found = || ApiError::new(ErrorCode::NotFound);
        let extracted = Path::<(String, String)>::from_request_parts(parts, app).await;
        let Path((date, version)) = extracted.map_err(|_| not_found())?;
        let date = date.parse().map_err(|_| ApiError::new(ErrorCode::InvalidDate))?;
        let version = version.parse().map_err(|_| not_found())?;
        Ok(Self(date, Version::new(version)))
    }
}

/// The id in the path. A malformed id is not found.
pub(crate) struct IdInPath<T>(pub(crate) T);

impl<T: std::str::FromStr> FromRequestParts<App> for IdInPath<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let text = path(parts, app).await?;
        text.parse().map(Self).map_err(|_| ApiError::new(ErrorCode::NotFound))
    }
}

async fn path(parts: &mut Parts, app: &App) -> Result<String, ApiError> {
    let extracted = <Path<String> as FromRequestParts<App>>::from_request_parts(parts, app).await;
    extracted.map(|Path(text)| text).map_err(|_| ApiError::new(ErrorCode::NotFound))
}

/// The query string.
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<App> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let extracted = Query::<T>::from_request_parts(parts, app).await;
        extracted
            .map(|Query(params)| Self(params))
            .map_err(|_| ApiError::invalid_field("query", "type"))
    }
}

/// The range `?start&end`, at most [`Limits::range_days`](crate::Limits::range_days) long.
pub(crate) struct RangeInQuery(pub(crate) DateRange);

impl FromRequestParts<App> for RangeInQuery {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let AnyRangeInQuery(range) = AnyRangeInQuery::from_request_parts(parts, app).await?;
        if range.days() > app.limits.range_days {
            return Err(ApiError::new(ErrorCode::InvalidRange));
        }
        Ok(Self(range))
    }
}

/// The range `?start&end` of any length.
pub(crate) struct AnyRangeInQuery(pub(crate) DateRange);

impl FromRequestParts<App> for AnyRangeInQuery {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        #[derive(Deserialize)]
        struct Ends {
            start: Option<String>,
            end: Option<String>,
        }

        let Params(Ends { start, end }) = Params::from_request_parts(parts, app).await?;
        let date = |name: &str, text: Option<String>| -> Result<Date, ApiError> {
            let text = text.ok_or_else(|| ApiError::invalid_field(name, "required"))?;
            text.parse().map_err(|_| ApiError::new(ErrorCode::InvalidDate))
        };
        let range = DateRange::new(date("start", start)?, date("end", end)?)
            .map_err(|_| ApiError::new(ErrorCode::InvalidRange))?;
        Ok(Self(range))
    }
}

/// The range `?start&end`, at most [`MAX_EMOTION_DAYS`] long.
pub(crate) struct LongRangeInQuery(pub(crate) DateRange);

impl FromRequestParts<App> for LongRangeInQuery {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let AnyRangeInQuery(range) = AnyRangeInQuery::from_request_parts(parts, app).await?;
        if range.days() > MAX_EMOTION_DAYS {
            return Err(ApiError::new(ErrorCode::InvalidRange));
        }
        Ok(Self(range))
    }
}

/// The User-Agent header, truncated.
pub(crate) struct UserAgent(pub(crate) Option<String>);

impl FromRequestParts<App> for UserAgent {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Self::Rejection> {
        const MAX_CHARS: usize = 200;
        let header = parts.headers.get(http::header::USER_AGENT);
        let text = header.and_then(|value| value.to_str().ok());
        Ok(Self(text.map(|text| text.chars().take(MAX_CHARS).collect())))
    }
}
