//! A request to the fake server, and the parsing of its parts.

use std::str::FromStr;

use hyper::{
    HeaderMap,
    body::Bytes,
    header::{AsHeaderName, CONTENT_TYPE},
};
use reqwest::Url;
use serde::de::DeserializeOwned;

use super::{response::ApiError, route::Route};
use crate::types::{Date, DateRange, ErrorCode, limits::MAX_RANGE_DAYS};

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

    pub(super) fn body<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        let essence = self.header(CONTENT_TYPE).and_then(|value| value.split(';').next());
        if !essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json")) {
            return Err(ApiError::new(415, ErrorCode::UnsupportedMediaType));
        }
        let body = self.body.as_ref();
        let body = body.ok_or_else(|| ApiError::new(413, ErrorCode::BodyTooLarge))?;
        let mut deserializer = serde_json::Deserializer::from_slice(body);
        let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
            let rule = if error.inner().is_data() { "type" } else { "json" };
            ApiError::invalid_field(&error.path().to_string(), rule)
        })?;
        deserializer.end().map_err(|_| ApiError::invalid_field("body", "json"))?;
        Ok(value)
    }

    /// The date in the path.
    pub(super) fn date(&self) -> Result<Date, ApiError> {
        parse_date(&self.parameter)
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
        let found = url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.parse());
        found.transpose().map_err(|_| ApiError::invalid_field("query", "type"))
    }

    /// The range `?start&end`.
    pub(super) fn range(&self) -> Result<DateRange, ApiError> {
        let date = |name: &str| match self.query_parameter::<String>(name)? {
            Some(text) => parse_date(&text),
            None => Err(ApiError::invalid_field(name, "required")),
        };
        let range = DateRange::new(date("start")?, date("end")?).ok();
        let range = range.filter(|range| range.days() <= MAX_RANGE_DAYS);
        range.ok_or_else(|| ApiError::new(400, ErrorCode::InvalidRange))
    }
}

pub(super) fn parse_date(text: &str) -> Result<Date, ApiError> {
    text.parse().map_err(|_| ApiError::new(422, ErrorCode::InvalidDate))
}
