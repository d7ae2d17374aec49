//! The errors of the API. The mapping of internal errors to HTTP is only here.

use std::time::Duration;

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{
    HeaderValue, StatusCode,
    header::{
        ACCEPT, ACCEPT_ENCODING, CONNECTION, InvalidHeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
    },
};
use serde::Serialize;
use serde_json::Value;
use shiori_sdk::{
    ConflictBody, DocumentError, Envelope, ErrorCode, MissingDates, Quota, QuotaExceeded,
};
use utoipa::ToSchema;

use super::reply::Message;
use crate::{
    auth::{PasswordError, TokenError},
    store::StoreError,
    summary::SummaryError,
    throttle::Throttled,
};

/// An error response with its stable error code.
#[derive(Debug)]
pub(crate) struct ApiError {
    code: ErrorCode,
    data: Option<Data>,
    retry_after: Option<Duration>,
    /// Whether the request had an access token, which is invalid.
    had_token: bool,
}

/// The extension of a response with 429, for the metrics.
#[derive(Debug, Clone)]
pub(super) struct Throttle(pub(super) ErrorCode);

/// Details that help to recover. A conflict keeps its type, because a [`Value`] would not preserve
/// the bytes of the document.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Data {
    Value(Value),
    Conflict(Box<ConflictBody>),
}

/// `data` of `invalid_request`: the field and the rule that it violates.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FieldFault {
    /// The path of the field in the body, or the name of a parameter. `.` is the whole body, and
    /// `?` an unknown field.
    field: String,
    /// The rule, e.g. `type`, `json`, `unique_keys` or `a_digit`.
    rule: String,
}

/// `data` of `number_out_of_range`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NumberFault {
    /// The field with the number.
    pub(super) field: String,
}

/// `data` of `title_too_long`: one of the two limits.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum TitleLimit {
    /// The maximum number of characters (extended grapheme clusters after NFC).
    Limit(usize),
    /// The maximum number of bytes in UTF-8.
    LimitBytes(usize),
}

/// `data` of `document_too_deep` and `document_too_large`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DocumentLimit {
    /// The maximum number of nodes.
    limit: usize,
}

/// `Retry-After` if a store is unavailable.
const STORE_RETRY_AFTER: Duration = Duration::from_secs(1);

/// `Retry-After` if a user has too many unfinished summaries.
const QUEUE_RETRY_AFTER: Duration = Duration::from_secs(10);

/// The challenges of a 401 (RFC 6750, section 3).
const NO_TOKEN: &str = "Bearer realm=\"shiori\"";
const INVALID_TOKEN: &str = "Bearer realm=\"shiori\", error=\"invalid_token\"";

impl ApiError {
    /// The error with this code.
    pub(crate) fn new(code: ErrorCode) -> Self {
        Self { code, data: None, retry_after: None, had_token: false }
    }

    /// The access token of the request is invalid, or its session has ended.
    pub(crate) fn invalid_token(code: ErrorCode) -> Self {
        Self { had_token: true, ..Self::new(code) }
    }

    /// 503 for a request that may succeed when it is repeated.
    pub(super) fn unavailable() -> Self {
        Self::new(ErrorCode::Unavailable).with_retry_after(STORE_RETRY_AFTER)
    }

    /// For a request that the listener rejects.
    pub(super) fn refused(code: ErrorCode) -> Self {
        if code == ErrorCode::Unavailable { Self::unavailable() } else { Self::new(code) }
    }

    /// A field of the request violates a rule.
    pub(crate) fn invalid_field(field: &str, rule: &str) -> Self {
        let (field, rule) = (field.to_owned(), rule.to_owned());
        Self::new(ErrorCode::InvalidRequest).with_data(&FieldFault { field, rule })
    }

    /// The same error with details.
    pub(crate) fn with_data(mut self, data: &impl Serialize) -> Self {
        self.data = serde_json::to_value(data).ok().map(Data::Value);
        self
    }

    /// 409 for a save, a deletion or an archive request with a stale version.
    pub(crate) fn conflict(body: ConflictBody) -> Self {
        Self { data: Some(Data::Conflict(Box::new(body))), ..Self::new(ErrorCode::DiaryConflict) }
    }

    /// The same error with a Retry-After header.
    pub(crate) fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// The body of the response.
    pub(super) fn into_json(self) -> String {
        serde_json::to_string(&self.into_envelope()).unwrap_or_default()
    }

    fn into_envelope(self) -> Envelope<Data> {
        Envelope {
            code: self.status().as_u16(),
            message: self.message().text(),
            data: self.data,
            error: Some(self.code),
        }
    }

    pub(super) fn status(&self) -> StatusCode {
        match self.code {
            ErrorCode::MalformedRequest
            | ErrorCode::InvalidRange
            | ErrorCode::TitleTooLong
            | ErrorCode::TokenDecodeError => StatusCode::BAD_REQUEST,
            ErrorCode::BadCredentials
            | ErrorCode::Unauthorized
            | ErrorCode::SessionExpired
            | ErrorCode::RefreshReused => StatusCode::UNAUTHORIZED,
            ErrorCode::WrongPassword
            | ErrorCode::QuotaExceeded
            | ErrorCode::SignupClosed
            | ErrorCode::InvalidInvitation => StatusCode::FORBIDDEN,
            ErrorCode::NotFound => StatusCode::NOT_FOUND,
            ErrorCode::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            ErrorCode::EmailTaken
            | ErrorCode::DiaryConflict
            | ErrorCode::SummaryFinal
            | ErrorCode::NotClaimable
            | ErrorCode::LeaseLost => StatusCode::CONFLICT,
            ErrorCode::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            ErrorCode::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            ErrorCode::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ErrorCode::InvalidRequest
            | ErrorCode::NumberOutOfRange
            | ErrorCode::InvalidDate
            | ErrorCode::InvalidDocument
            | ErrorCode::DocumentTooDeep
            | ErrorCode::DocumentTooLarge
            | ErrorCode::WeekIncomplete => StatusCode::UNPROCESSABLE_ENTITY,
            ErrorCode::TooManyAttempts
            | ErrorCode::TooManySummaries
            | ErrorCode::TooManyExports
            | ErrorCode::TooManyWaits => StatusCode::TOO_MANY_REQUESTS,
            ErrorCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The message for the error code.
    #[allow(clippy::too_many_lines)] // one arm per code
    pub(super) fn message(&self) -> Message {
        let (ko, en) = match self.code {
            ErrorCode::InvalidRequest => {
                ("요청 값이 올바르지 않습니다.", "A field of the request is missing or invalid.")
            }
            ErrorCode::UnsupportedMediaType => (
                "본문은 압축하지 않은 UTF-8 application/json이어야 합니다.",
                "The body must be application/json in UTF-8, without a content coding.",
            ),
            ErrorCode::NumberOutOfRange => {
                ("본문에 너무 큰 수가 있습니다.", "A number in the body is out of range.")
            }
            ErrorCode::MalformedRequest => {
                ("HTTP 요청의 형식이 올바르지 않습니다.", "The request is not valid HTTP.")
            }
            ErrorCode::RequestTimeout => (
                "요청이 제때 도착하지 않았습니다. 다시 시도해 주세요.",
                "The request was not received in time. Send it again.",
            ),
            ErrorCode::BodyTooLarge => ("본문이 너무 큽니다.", "The body is too large."),
            ErrorCode::InvalidDate => (
                "올바른 날짜가 아닙니다. YYYYMMDD 형식으로 입력해 주세요.",
                "Not a calendar date of the form YYYYMMDD.",
            ),
            ErrorCode::InvalidRange => ("날짜 범위가 올바르지 않습니다.", "Invalid date range."),
            ErrorCode::TitleTooLong => ("제목이 너무 깁니다.", "The title is too long."),
            ErrorCode::InvalidDocument => {
                ("내용이 올바른 문서가 아닙니다.", "The content is not a valid document.")
            }
            ErrorCode::DocumentTooDeep => {
                ("내용의 중첩이 너무 깊습니다.", "The content is nested too deeply.")
            }
            ErrorCode::DocumentTooLarge => {
                ("내용의 노드가 너무 많습니다.", "The content has too many nodes.")
            }
            ErrorCode::EmailTaken => {
                ("이미 가입된 이메일입니다.", "An account with this e-mail address already exists.")
            }
            ErrorCode::BadCredentials => (
                "이메일 또는 비밀번호가 올바르지 않습니다.",
                "The e-mail address or the password is wrong.",
            ),
            ErrorCode::WrongPassword => {
                ("비밀번호가 올바르지 않습니다.", "The password of the account is wrong.")
            }
            ErrorCode::SignupClosed => {
                ("지금은 가입을 받지 않습니다.", "This server accepts no new accounts.")
            }
            ErrorCode::InvalidInvitation => {
                ("올바른 초대 코드가 필요합니다.", "A valid invitation code is required.")
            }
            ErrorCode::TooManyAttempts => (
                "시도가 너무 많습니다. 잠시 후 다시 시도해 주세요.",
                "Too many attempts. Try again later.",
            ),
            ErrorCode::Unauthorized => ("로그인이 필요합니다.", "Sign in first."),
            ErrorCode::TokenDecodeError => ("유효하지 않은 토큰입니다.", "Invalid token."),
            ErrorCode::SessionExpired => (
                "세션이 만료되었습니다. 다시 로그인해 주세요.",
                "The session has ended. Sign in again.",
            ),
            ErrorCode::RefreshReused => (
                "갱신 토큰이 다시 사용되어 세션을 종료했습니다. 다시 로그인해 주세요.",
                "The refresh token was already used, so the session was revoked. Sign in again.",
            ),
            ErrorCode::NotFound => ("찾을 수 없습니다.", "Not found."),
            ErrorCode::MethodNotAllowed => ("허용되지 않는 메서드입니다.", "Method not allowed."),
            ErrorCode::DiaryConflict => (
                "다른 기기에서 먼저 저장했습니다.",
                "Version conflict: the diary was changed by another save.",
            ),
            ErrorCode::WeekIncomplete => (
                "일기가 없는 날이 있어 요약할 수 없습니다.",
                "Some days of the week have no diary.",
            ),
            ErrorCode::TooManySummaries => (
                "진행 중인 요약이 너무 많습니다. 잠시 후 다시 시도해 주세요.",
                "Too many unfinished summaries. Try again later.",
            ),
            ErrorCode::QuotaExceeded => {
                ("사용 한도를 초과했습니다.", "The request would exceed a quota of the user.")
            }
            ErrorCode::TooManyExports => (
                "이미 내보내는 중입니다. 잠시 후 다시 시도해 주세요.",
                "Too many exports are in progress. Try again later.",
            ),
            ErrorCode::TooManyWaits => (
                "동시에 기다리는 요청이 너무 많습니다. 잠시 후 다시 시도해 주세요.",
                "Too many requests are waiting for summaries. Try again later.",
            ),
            ErrorCode::SummaryFinal => {
                ("이미 끝난 요약입니다.", "The summary already has a final status.")
            }
            ErrorCode::NotClaimable => {
                ("지금은 처리를 시작할 수 없는 요약입니다.", "The summary cannot be claimed now.")
            }
            ErrorCode::LeaseLost => ("요약의 리스가 만료되었습니다.", "The lease is lost."),
            ErrorCode::Unavailable => (
                "일시적으로 사용할 수 없습니다. 잠시 후 다시 시도해 주세요.",
                "The service is temporarily unavailable. Try again later.",
            ),
            _ => ("서버에 문제가 생겼습니다.", "Internal server error."),
        };
        Message { ko, en }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.status();
        let (retry_after, had_token) = (self.retry_after, self.had_token);
        let throttled =
            (status == StatusCode::TOO_MANY_REQUESTS).then(|| Throttle(self.code.clone()));
        let envelope = self.into_envelope();
        let mut response = (status, Json(envelope)).into_response();
        if status == StatusCode::REQUEST_TIMEOUT {
            // RFC 9110, section 15.5.9. In HTTP/2, the lower layer removes it.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if status == StatusCode::UNSUPPORTED_MEDIA_TYPE {
            // RFC 9110, section 15.5.16.
            let headers = response.headers_mut();
            headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        if status == StatusCode::UNAUTHORIZED {
            // RFC 9110, section 15.5.2. A request without a token gets no error code (RFC 6750,
            // section 3.1).
            let challenge = if had_token { INVALID_TOKEN } else { NO_TOKEN };
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Some(throttled) = throttled {
            response.extensions_mut().insert(throttled);
        }
        if let Some(wait) = retry_after {
            // Whole seconds (RFC 9110, section 10.2.3), rounded up so that no retry is too early.
            let seconds = wait.as_millis().div_ceil(1000).max(1);
            if let Ok(value) = HeaderValue::from_str(&seconds.to_string()) {
                response.headers_mut().insert(RETRY_AFTER, value);
            }
        }
        response
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Unavailable(source) => {
                tracing::warn!(error = %error, source = %source, "store unavailable");
                Self::unavailable()
            }
            StoreError::Overloaded => {
                tracing::warn!(error = %error, "store overloaded");
                Self::unavailable()
            }
            StoreError::Corrupt { .. } => {
                tracing::error!(error = %error, "corrupt data in the store");
                Self::new(ErrorCode::Internal)
            }
        }
    }
}

impl From<Throttled> for ApiError {
    fn from(error: Throttled) -> Self {
        match error {
            Throttled::For(wait) => Self::new(ErrorCode::TooManyAttempts).with_retry_after(wait),
            Throttled::Store(error) => error.into(),
        }
    }
}

impl From<SummaryError> for ApiError {
    fn from(error: SummaryError) -> Self {
        match error {
            SummaryError::Store(error) => error.into(),
            SummaryError::Contended | SummaryError::UnknownStatus => Self::unavailable(),
            SummaryError::Incomplete(missing_dates) => {
                Self::new(ErrorCode::WeekIncomplete).with_data(&MissingDates { missing_dates })
            }
            SummaryError::TooMany => {
                Self::new(ErrorCode::TooManySummaries).with_retry_after(QUEUE_RETRY_AFTER)
            }
            SummaryError::TooManyOnDay(limit) => {
                let (quota, limit) = (Quota::SummariesPerDay, limit.into());
                QuotaExceeded { quota, limit }.into()
            }
            SummaryError::SessionEnded => Self::invalid_token(ErrorCode::SessionExpired),
            SummaryError::NotFound => Self::new(ErrorCode::NotFound),
            SummaryError::Final => Self::new(ErrorCode::SummaryFinal),
            SummaryError::NotClaimable => Self::new(ErrorCode::NotClaimable),
            SummaryError::LeaseLost => Self::new(ErrorCode::LeaseLost),
        }
    }
}

impl From<QuotaExceeded> for ApiError {
    fn from(exceeded: QuotaExceeded) -> Self {
        Self::new(ErrorCode::QuotaExceeded).with_data(&exceeded)
    }
}

impl From<DocumentError> for ApiError {
    fn from(error: DocumentError) -> Self {
        match error {
            DocumentError::TooDeep { limit } => {
                Self::new(ErrorCode::DocumentTooDeep).with_data(&DocumentLimit { limit })
            }
            DocumentError::TooManyNodes { limit } => {
                Self::new(ErrorCode::DocumentTooLarge).with_data(&DocumentLimit { limit })
            }
            _ => Self::new(ErrorCode::InvalidDocument),
        }
    }
}

impl From<PasswordError> for ApiError {
    fn from(error: PasswordError) -> Self {
        if let PasswordError::Busy = error {
            return Self::unavailable();
        }
        tracing::error!(error = %error, "password hashing failed");
        Self::new(ErrorCode::Internal)
    }
}

impl From<InvalidHeaderValue> for ApiError {
    fn from(error: InvalidHeaderValue) -> Self {
        tracing::error!(error = %error, "invalid response header");
        Self::new(ErrorCode::Internal)
    }
}

impl From<TokenError> for ApiError {
    fn from(error: TokenError) -> Self {
        tracing::error!(error = %error, "could not sign a token");
        Self::new(ErrorCode::Internal)
    }
}
