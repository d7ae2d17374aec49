//! Successful responses, in the common envelope.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header::HeaderName};
use serde::Serialize;
use shiori_sdk::Envelope;

use super::language::Language;

/// A successful response.
#[derive(Debug)]
pub(crate) struct Reply<T> {
    status: StatusCode,
    headers: HeaderMap,
    message: Message,
    data: Option<T>,
}

/// A message for users in both languages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message {
    /// Korean.
    pub(crate) ko: &'static str,
    /// English.
    pub(crate) en: &'static str,
}

impl Message {
    /// The message in the language of the current request.
    pub(crate) fn text(self) -> String {
        match Language::current() {
            Language::Korean => self.ko.to_owned(),
            Language::English => self.en.to_owned(),
        }
    }
}

impl<T> Reply<T> {
    /// 200 with data.
    pub(crate) fn ok(message: Message, data: T) -> Self {
        Self { status: StatusCode::OK, headers: HeaderMap::new(), message, data: Some(data) }
    }

    /// The same response with another status.
    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// The same response with one more header.
    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }
}

impl Reply<()> {
    /// 200 without data.
    pub(crate) fn done(message: Message) -> Self {
        Self { status: StatusCode::OK, headers: HeaderMap::new(), message, data: None }
    }
}

impl<T: Serialize> IntoResponse for Reply<T> {
    fn into_response(self) -> Response {
        let envelope = Envelope {
            code: self.status.as_u16(),
            message: self.message.text(),
            data: self.data,
            error: None,
        };
        (self.status, self.headers, Json(envelope)).into_response()
    }
}
