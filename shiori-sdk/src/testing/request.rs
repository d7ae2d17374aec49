//! A request to the fake server, and the parsing of its parts.

use std::str::FromStr;

use hyper::{
    HeaderMap,
    body::Bytes,
    header::{AsHeaderName, CONTENT_ENCODING, CONTENT_TYPE, COOKIE, IF_NONE_MATCH},
};
use reqwest::Url;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::{response::ApiError, route::Route};
use crate::{
    strict_json::{self, BodyFault},
    types::{Date, DateRange, ErrorCode, Version, limits::MAX_RANGE_DAYS},
};

/// A request to a known route.
pub(super) struct ApiRequest {
    pub(super) route: Route,
    /// The date or id in the path.
    pub(super) parameter: String,
    pub(super) query: Option<String>,
    pub(super) headers: HeaderMap,
    /// `None` if it exceeds the limit.
    pub(super) body: Option<Bytes>,
}

impl ApiRequest {
    pub(super) fn header(&self, name: impl AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The value of a cookie.
    pub(super) fn cookie(&self, name: &str) -> Option<&str> {
        let cookies = self.headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        cookies
            .flat_map(|cookies| cookies.split(';'))
            .find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
    }

    pub(super) fn body<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        if !self.is_plain_json() {
            return Err(ApiError::new(415, ErrorCode::UnsupportedMediaType));
        }
        let body = self.body.as_ref();
        let body = body.ok_or_else(|| ApiError::new(413, ErrorCode::BodyTooLarge))?;
        strict_json::parse(body).map_err(|error| match error.kind {
            BodyFault::NumberOutOfRange => {
                let data = json!({ "field": error.field });
                ApiError::new(422, ErrorCode::NumberOutOfRange).with_data(&data)
            }
            kind => ApiError::invalid_field(&error.field, kind.rule()),
        })
    }

    /// Whether the body is JSON in UTF-8, and not encoded.
    fn is_plain_json(&self) -> bool {
        let values =
            |name| self.headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("?"));
        let mut types = values(CONTENT_TYPE);
        types.next().is_some_and(strict_json::is_json)
            && types.next().is_none()
            && values(CONTENT_ENCODING).all(strict_json::is_identity)
    }

    /// The date in the path.
    pub(super) fn date(&self) -> Result<Date, ApiError> {
        parse_date(&self.parameter)
    }

    /// The date and the version of a revision in the path. An invalid version is not found.
    pub(super) fn revision(&self) -> Result<(Date, Version), ApiError> {
        let mut parts = self.parameter.split('/');
        let date = parse_date(parts.next().unwrap_or_default())?;
        let version = parts.next_back().and_then(|version| version.parse().ok());
        Ok((date, Version::new(version.ok_or_else(ApiError::not_found)?)))
    }

    /// The id in the path. An invalid id is not found.
    pub(super) fn id<T: FromStr>(&self) -> Result<T, ApiError> {
        self.parameter.parse().map_err(|_| ApiError::not_found())
    }

    /// A parameter of the query.
    pub(super) fn query_parameter<T: FromStr>(&self, name: &str) -> Result<Option<T>, ApiError> {
        let Ok(url) = Url::parse(&format!("http://fake/?{}", self.query.as_deref().unwrap_or("")))
        else {
            return Err(ApiError::invalid_field("query", "type"));
        };
        let mut found = url.query_pairs().filter(|(key, _)| key == name);
        let value = found.next().map(|(_, value)| value.parse()).transpose();
        match (value, found.next()) {
            (Ok(value), None) => Ok(value),
            _ => Err(ApiError::invalid_field("query", "type")),
        }
    }

    /// The range `?start&end`, at most [`MAX_RANGE_DAYS`] long.
    pub(super) fn range(&self) -> Result<DateRange, ApiError> {
        self.range_of(MAX_RANGE_DAYS)
    }

    /// The range `?start&end` of at most this many days.
    pub(super) fn range_of(&self, max_days: u32) -> Result<DateRange, ApiError> {
        let range = Some(self.any_range()?).filter(|range| range.days() <= max_days);
        range.ok_or_else(|| ApiError::new(400, ErrorCode::InvalidRange))
    }

    /// Whether `If-None-Match` contains this tag or `*`.
    pub(super) fn knows(&self, etag: Option<&str>) -> bool {
        let lines = self.headers.get_all(IF_NONE_MATCH).iter();
        lines.filter_map(|line| line.to_str().ok()).any(|line| {
            let mut tags = line.split(',').map(|tag| tag.trim().trim_start_matches("W/"));
            line.trim() == "*" || tags.any(|tag| etag == Some(tag))
        })
    }

    /// The range `?start&end` of any length.
    pub(super) fn any_range(&self) -> Result<DateRange, ApiError> {
        let date = |name: &str| match self.query_parameter::<String>(name)? {
            Some(text) => parse_date(&text),
            None => Err(ApiError::invalid_field(name, "required")),
        };
        let range = DateRange::new(date("start")?, date("end")?).ok();
        range.ok_or_else(|| ApiError::new(400, ErrorCode::InvalidRange))
    }
}

pub(super) fn parse_date(text: &str) -> Result<Date, ApiError> {
    text.parse().map_err(|_| ApiError::new(422, ErrorCode::InvalidDate))
}
