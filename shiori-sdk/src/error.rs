use std::{error, fmt, time::Duration};

use crate::{Conflict, Date, ErrorCode, SummaryId};

/// The result of an SDK call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A call failed.
///
/// It is as large as a pointer, shows neither diary text nor secrets, and answers questions: what
/// kind of failure it was, whether the request may have been applied, whether another try may
/// succeed.
pub struct Error(Box<Inner>);

#[derive(Default)]
struct Inner {
    kind: Option<ErrorKind>,
    code: Option<ErrorCode>,
    status: Option<u16>,
    sent: WasSent,
    retryable: bool,
    request_id: Option<String>,
    retry_after: Option<Duration>,
    attempts: u32,
    conflict: Option<Conflict>,
    missing: Vec<Date>,
    summary_id: Option<SummaryId>,
    source: Option<Box<dyn error::Error + Send + Sync>>,
}

/// What kind of failure it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The client was set up with something that cannot work.
    Config,
    /// No connection could be made.
    Connect,
    /// The connection broke before the answer was whole.
    Disconnected,
    /// The answer, or what was waited for, did not come in time.
    Timeout,
    /// The answer is not one that a Shiori server gives.
    InvalidAnswer,
    /// Nobody is signed in, or the session has ended.
    SignedOut,
    /// Another save was first; [`Error::as_conflict`] has the diary as it stands.
    Conflict,
    /// There is none, or it is not the caller's.
    NotFound,
    /// Days of the week have no diary; [`Error::missing_dates`] names them.
    WeekIncomplete,
    /// Too many requests; [`Error::retry_after`] says how long to wait.
    RateLimited,
    /// The server, or a part of it, is not available now.
    Unavailable,
    /// The server refuses the request; [`Error::code`] says why.
    Refused,
    /// The [`TokenStore`](crate::TokenStore) failed.
    TokenStore,
}

/// Whether the server may have seen the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum WasSent {
    /// It has not: nothing has happened.
    #[default]
    No,
    /// It may have; whether it was applied is not known.
    Maybe,
    /// It has, and has answered.
    Yes,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind) -> Self {
        Self(Box::new(Inner { kind: Some(kind), ..Inner::default() }))
    }

    /// An error that the server told.
    pub(crate) fn told(status: u16, code: Option<ErrorCode>) -> Self {
        let kind = match (&code, status) {
            (Some(ErrorCode::DiaryConflict), _) => ErrorKind::Conflict,
            (Some(ErrorCode::WeekIncomplete), _) => ErrorKind::WeekIncomplete,
            (
                Some(
                    ErrorCode::Unauthorized | ErrorCode::SessionExpired | ErrorCode::RefreshReused,
                ),
                _,
            ) => ErrorKind::SignedOut,
            (_, 404) => ErrorKind::NotFound,
            (_, 429) => ErrorKind::RateLimited,
            (_, 502..=504) => ErrorKind::Unavailable,
            (Some(_), _) => ErrorKind::Refused,
            (None, _) => ErrorKind::InvalidAnswer,
        };
        let retryable = matches!(kind, ErrorKind::RateLimited | ErrorKind::Unavailable);
        let mut error = Self::new(kind);
        error.0.status = Some(status);
        error.0.code = code;
        error.0.sent = WasSent::Yes;
        error.0.retryable = retryable;
        error
    }

    pub(crate) fn with_conflict(mut self, conflict: Conflict) -> Self {
        self.0.conflict = Some(conflict);
        self
    }

    pub(crate) fn incomplete(missing: Vec<Date>) -> Self {
        let mut error = Self::told(422, Some(ErrorCode::WeekIncomplete));
        error.0.missing = missing;
        error
    }

    pub(crate) fn with_source(
        mut self,
        source: impl Into<Box<dyn error::Error + Send + Sync>>,
    ) -> Self {
        self.0.source = Some(source.into());
        self
    }

    pub(crate) fn with_sent(mut self, sent: WasSent) -> Self {
        self.0.sent = sent;
        self
    }

    pub(crate) fn with_retryable(mut self) -> Self {
        self.0.retryable = true;
        self
    }

    pub(crate) fn with_retry_after(mut self, wait: Option<Duration>) -> Self {
        self.0.retry_after = wait;
        self
    }

    pub(crate) fn with_request_id(mut self, id: &str) -> Self {
        self.0.request_id = Some(id.to_owned());
        self
    }

    pub(crate) fn with_attempts(mut self, attempts: u32) -> Self {
        self.0.attempts = attempts;
        self
    }

    pub(crate) fn with_summary_id(mut self, id: SummaryId) -> Self {
        self.0.summary_id = Some(id);
        self
    }

    /// The same error for another who waited for the same thing, without the source.
    pub(crate) fn share(&self) -> Self {
        let inner = &*self.0;
        Self(Box::new(Inner {
            kind: inner.kind,
            code: inner.code.clone(),
            status: inner.status,
            sent: inner.sent,
            retryable: inner.retryable,
            request_id: inner.request_id.clone(),
            retry_after: inner.retry_after,
            attempts: inner.attempts,
            ..Inner::default()
        }))
    }

    /// What kind of failure it was.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind.unwrap_or(ErrorKind::InvalidAnswer)
    }

    /// The stable name that the server gave the error, if it did.
    pub fn code(&self) -> Option<&ErrorCode> {
        self.0.code.as_ref()
    }

    /// The HTTP status, if there was an answer.
    pub fn status_code(&self) -> Option<u16> {
        self.0.status
    }

    /// Whether another save was first.
    pub fn is_conflict(&self) -> bool {
        self.kind() == ErrorKind::Conflict
    }

    /// Whether the same call may succeed later. The SDK has then tried as often as its policy
    /// allows.
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// Whether the server may have seen the request.
    pub fn was_sent(&self) -> WasSent {
        self.0.sent
    }

    /// The `x-request-id` of the last attempt, for the server's log.
    pub fn request_id(&self) -> Option<&str> {
        self.0.request_id.as_deref()
    }

    /// How long the server asks to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// How often the last request was sent.
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// The conflict, if it was one: one's own draft and the diary as it stands.
    pub fn as_conflict(&self) -> Option<&Conflict> {
        self.0.conflict.as_ref()
    }

    /// The days without a diary, if that was the reason.
    pub fn missing_dates(&self) -> &[Date] {
        &self.0.missing
    }

    /// The summary that was waited for, so that the wait can be resumed.
    pub fn summary_id(&self) -> Option<SummaryId> {
        self.0.summary_id
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind() {
            ErrorKind::Config => "the client is not set up right",
            ErrorKind::Connect => "the server cannot be reached",
            ErrorKind::Disconnected => "the connection broke",
            ErrorKind::Timeout => "it took too long",
            ErrorKind::InvalidAnswer => "the answer is not a Shiori server's",
            ErrorKind::SignedOut => "not signed in",
            ErrorKind::Conflict => "another save was first",
            ErrorKind::NotFound => "there is none",
            ErrorKind::WeekIncomplete => "days of the week have no diary",
            ErrorKind::RateLimited => "too many requests",
            ErrorKind::Unavailable => "the server is not available",
            ErrorKind::Refused => "the server refused the request",
            ErrorKind::TokenStore => "the session could not be kept",
        })?;
        if let Some(code) = self.code() {
            write!(f, " ({code})")?;
        }
        if let Some(id) = self.request_id() {
            write!(f, " [request {id}]")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.kind())
            .field("code", &self.0.code)
            .field("status", &self.0.status)
            .field("sent", &self.0.sent)
            .field("retryable", &self.0.retryable)
            .field("attempts", &self.0.attempts)
            .field("request_id", &self.0.request_id)
            .field("conflict", &self.0.conflict)
            .field("summary_id", &self.0.summary_id)
            .field("source", &self.0.source)
            .finish_non_exhaustive()
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        let source = self.0.source.as_deref()?;
        Some(source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_a_pointer() {
        fn is_send_and_sync<T: Send + Sync + 'static>() {}

        assert_eq!(size_of::<Error>(), size_of::<usize>());
        is_send_and_sync::<Error>();
    }

    #[test]
    fn kinds_follow_from_what_the_server_says() {
        let kind = |status, name: &str| Error::told(status, Some(name.into())).kind();
        assert_eq!(kind(409, "diary_conflict"), ErrorKind::Conflict);
        assert_eq!(kind(409, "summary_final"), ErrorKind::Refused);
        assert_eq!(kind(401, "session_expired"), ErrorKind::SignedOut);
        assert_eq!(kind(401, "bad_credentials"), ErrorKind::Refused);
        assert_eq!(kind(429, "too_many_attempts"), ErrorKind::RateLimited);
        assert_eq!(kind(503, "unavailable"), ErrorKind::Unavailable);
        assert_eq!(kind(418, "from_the_future"), ErrorKind::Refused);
        assert_eq!(Error::told(500, None).kind(), ErrorKind::InvalidAnswer);
    }
}
