use std::{borrow::Cow, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The body of every response.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Envelope<T> {
    /// The HTTP status.
    pub code: u16,
    /// A message for people, in Korean or English. Programs match on `error`.
    pub message: String,
    /// The payload; for an error, details that help to recover.
    pub data: Option<T>,
    /// The stable machine name of an error; absent on success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorCode>,
}

macro_rules! error_codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// The stable machine name of an error.
        #[derive(Clone, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(#[$doc])* $variant,)*
            /// A name that is unknown to this version of the crate.
            Other(String),
        }

        impl ErrorCode {
            /// Every code of this version of the crate.
            pub const KNOWN: &'static [ErrorCode] = &[$(ErrorCode::$variant),*];

            /// The name on the wire.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $name,)*
                    Self::Other(name) => name,
                }
            }
        }

        impl From<&str> for ErrorCode {
            fn from(name: &str) -> Self {
                match name {
                    $($name => Self::$variant,)*
                    other => Self::Other(other.to_owned()),
                }
            }
        }
    };
}

error_codes! {
    /// 400: the request is not valid HTTP, for example because it has no host or several.
    MalformedRequest = "malformed_request",
    /// 408: the body of the request did not arrive in time; retryable.
    RequestTimeout = "request_timeout",
    /// 422: a field is missing, has the wrong type or breaks its rule, or an object repeats a key;
    /// `data` names the field.
    InvalidRequest = "invalid_request",
    /// 415: the body is not JSON in UTF-8, or has a content coding such as gzip.
    UnsupportedMediaType = "unsupported_media_type",
    /// 422: a number in the body, such as `1e400`, is beyond the range of a 64-bit float; `data`
    /// names the field that contains it.
    NumberOutOfRange = "number_out_of_range",
    /// 413: the body is larger than the server accepts.
    BodyTooLarge = "body_too_large",
    /// 422: not a calendar date of the form `YYYYMMDD`.
    InvalidDate = "invalid_date",
    /// 400: the start is after the end, the range is too long, or a week is not seven days.
    InvalidRange = "invalid_range",
    /// 400: the title has more characters than the server accepts.
    TitleTooLong = "title_too_long",
    /// 422: the content is not a document.
    InvalidDocument = "invalid_document",
    /// 422: the document is nested deeper than the server accepts.
    DocumentTooDeep = "document_too_deep",
    /// 422: the document has more nodes than the server accepts.
    DocumentTooLarge = "document_too_large",
    /// 409: an account with this e-mail address exists.
    EmailTaken = "email_taken",
    /// 401: the e-mail address or the password is wrong.
    BadCredentials = "bad_credentials",
    /// 403: the password in the body is not that of the caller's account.
    WrongPassword = "wrong_password",
    /// 403: the server accepts no new accounts.
    SignupClosed = "signup_closed",
    /// 403: the server accepts new accounts only with an invitation code, and it is missing or wrong.
    InvalidInvitation = "invalid_invitation",
    /// 429: too many sign-ups, or attempts with a wrong password; retry after `Retry-After`.
    TooManyAttempts = "too_many_attempts",
    /// 401: the access token is missing, expired or invalid.
    Unauthorized = "unauthorized",
    /// 400: the access token in the body is invalid.
    TokenDecodeError = "token_decode_error",
    /// 401: the session has ended; sign in again.
    SessionExpired = "session_expired",
    /// 401: a refresh token was used twice, so the session was revoked; sign in again.
    RefreshReused = "refresh_reused",
    /// 404: not found, or it belongs to another user.
    NotFound = "not_found",
    /// 405: the route exists, but not with this method.
    MethodNotAllowed = "method_not_allowed",
    /// 409: the expected version is not the current one; `data.current` is the current diary.
    DiaryConflict = "diary_conflict",
    /// 422: days of the week have no diary; `data.missing_dates` lists them.
    WeekIncomplete = "week_incomplete",
    /// 429: too many unfinished summaries; retry after `Retry-After`.
    TooManySummaries = "too_many_summaries",
    /// 403: the request would exceed a quota of the user; `data` has the quota and its limit.
    QuotaExceeded = "quota_exceeded",
    /// 429: too many exports of the user are in progress; retry after `Retry-After`.
    TooManyExports = "too_many_exports",
    /// 429: too many long-polls and event streams of the user are in progress; retry after
    /// `Retry-After`.
    TooManyWaits = "too_many_waits",
    /// 409: the status of the summary is final.
    SummaryFinal = "summary_final",
    /// 409: another worker has the lease of the summary, its status is final, or its next attempt
    /// is not due yet.
    NotClaimable = "not_claimable",
    /// 409: the lease has expired or belongs to another worker.
    LeaseLost = "lease_lost",
    /// 503: a part of the service is unavailable; retry after `Retry-After`.
    Unavailable = "unavailable",
    /// 500: an internal error of the server.
    Internal = "internal_error",
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ErrorCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::from(&*Cow::<'de, str>::deserialize(deserializer)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_code_is_parsed_from_its_name() {
        for code in ErrorCode::KNOWN {
            assert_eq!(&ErrorCode::from(code.as_str()), code);
            assert!(!matches!(code, ErrorCode::Other(_)));
        }
    }

    #[test]
    fn an_envelope_of_a_newer_server_decodes() {
        let body =
            r#"{"code": 409, "message": "", "data": null, "error": "added_later", "trace": {}}"#;
        let envelope: Envelope<u32> = serde_json::from_str(body).expect("an envelope");
        assert_eq!(envelope.error, Some(ErrorCode::Other("added_later".to_owned())));
    }
}
