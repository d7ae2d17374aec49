use std::{borrow::Cow, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The one shape of every answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Envelope<T> {
    /// The HTTP status, repeated.
    pub code: u16,
    /// A sentence for people, in Korean or English. Programs match on `error`.
    pub message: String,
    /// What was asked for; of an error, what helps to recover from it.
    pub data: Option<T>,
    /// The stable machine name of an error; absent on success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, examples("diary_conflict")))]
    pub error: Option<ErrorCode>,
}

macro_rules! error_codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// The stable machine name of an error.
        #[derive(Clone, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(#[$doc])* $variant,)*
            /// A name that this version of the crate does not know.
            Other(String),
        }

        impl ErrorCode {
            /// Every name that this version knows.
            pub const KNOWN: &'static [ErrorCode] = &[$(ErrorCode::$variant),*];

            /// The name as it stands on the wire.
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
    /// 422: a field is missing, of the wrong type or breaks its rule; `data` names it.
    InvalidRequest = "invalid_request",
    /// 415: the body is not declared as JSON.
    UnsupportedMediaType = "unsupported_media_type",
    /// 413: the body is larger than the server takes.
    BodyTooLarge = "body_too_large",
    /// 422: not a calendar date of the form `YYYYMMDD`.
    InvalidDate = "invalid_date",
    /// 400: the start is after the end, the range is too long, or a week is not seven days.
    InvalidRange = "invalid_range",
    /// 400: the title has more characters than the server takes.
    TitleTooLong = "title_too_long",
    /// 422: the content is not a document.
    InvalidDocument = "invalid_document",
    /// 422: the document nests deeper than the server takes.
    DocumentTooDeep = "document_too_deep",
    /// 422: the document has more nodes than the server takes.
    DocumentTooLarge = "document_too_large",
    /// 409: somebody has an account with this e-mail address.
    EmailTaken = "email_taken",
    /// 401: no account has this e-mail address and password.
    BadCredentials = "bad_credentials",
    /// 429: too many failed logins; wait as long as `Retry-After` says.
    TooManyAttempts = "too_many_attempts",
    /// 401: no access token, or one that is expired or not ours.
    Unauthorized = "unauthorized",
    /// 400: the access token in the body is not one of ours.
    TokenDecodeError = "token_decode_error",
    /// 401: the session has ended; sign in again.
    SessionExpired = "session_expired",
    /// 401: a refresh token was used twice, so the session was ended; sign in again.
    RefreshReused = "refresh_reused",
    /// 404: there is none, or it is not the caller's.
    NotFound = "not_found",
    /// 405: the route exists, but not with this method.
    MethodNotAllowed = "method_not_allowed",
    /// 409: another save was first; `data.current` is the diary as it stands.
    DiaryConflict = "diary_conflict",
    /// 422: days of the week have no diary; `data.missing_dates` names them.
    WeekIncomplete = "week_incomplete",
    /// 429: too many unfinished summaries; wait as long as `Retry-After` says.
    TooManySummaries = "too_many_summaries",
    /// 409: the summary has already ended.
    SummaryFinal = "summary_final",
    /// 409: another worker holds the summary, it has ended, or it is not due yet.
    NotClaimable = "not_claimable",
    /// 409: the lease has run out or been given to another worker.
    LeaseLost = "lease_lost",
    /// 503: a part of the service does not answer; try again as `Retry-After` says.
    Unavailable = "unavailable",
    /// 500: a fault of the server's own.
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
    fn every_name_is_read_back() {
        for code in ErrorCode::KNOWN {
            assert_eq!(&ErrorCode::from(code.as_str()), code);
        }
        assert_eq!(ErrorCode::from("from_the_future").as_str(), "from_the_future");
    }
}
