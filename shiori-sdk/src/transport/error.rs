//! The error type of the client, and the details that it carries.

use std::{error, fmt, time::Duration};

use crate::types::{Date, Diary, Draft, ErrorCode, QuotaExceeded, SummaryId, Version};

/// The result of an SDK call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A call failed.
///
/// It has the size of a pointer and contains neither diary text nor secrets in its output. Its
/// methods return the kind of failure, whether the request may have been applied, and whether a
/// retry may succeed.
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
    exceeded_quota: Option<QuotaExceeded>,
    summary_id: Option<SummaryId>,
    source: Option<Box<dyn error::Error + Send + Sync>>,
}

/// The kind of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The client was configured with an invalid value.
    Config,
    /// No connection could be made.
    Connect,
    /// The connection was closed before the response was complete.
    Disconnected,
    /// The response, or the awaited event, did not arrive in time.
    Timeout,
    /// The request could not be serialised. Nothing was sent.
    InvalidRequest,
    /// The response is not a valid Shiori response.
    InvalidResponse,
    /// An export is incomplete, or has a format that this version of the crate cannot read.
    InvalidExport,
    /// No session, or the session has ended.
    SignedOut,
    /// The diary was changed by another save; [`Error::as_conflict`] has the current diary.
    Conflict,
    /// The resource does not exist, or it belongs to another user.
    NotFound,
    /// Some days of the week have no diary; [`Error::missing_dates`] lists them.
    WeekIncomplete,
    /// The request would exceed a quota of the user, such as the number of diaries;
    /// [`Error::exceeded_quota`] has the quota. A retry fails, too.
    QuotaExceeded,
    /// Too many requests; [`Error::retry_after`] is the time to wait.
    RateLimited,
    /// The server, or a part of it, is temporarily unavailable.
    Unavailable,
    /// The server rejected the request; [`Error::code`] is the reason.
    Rejected,
    /// The [`TokenStore`](crate::TokenStore) failed.
    TokenStore,
    /// The store of a replica failed.
    ReplicaStore,
    /// The store of a replica is open in another process, or a second time in this one.
    ReplicaInUse,
    /// The stored data of a replica are damaged, or of a later version of the crate. They are not
    /// changed.
    ReplicaDamaged,
    /// The replica belongs to another account or to another server.
    ReplicaMismatch,
    /// The replica has changes that the server does not have.
    UnsentChanges,
    /// The text is not stored on this device, and could not be read from the server. The source is
    /// the reason.
    NotOnDevice,
}

/// Whether the server received the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum WasSent {
    /// The server did not receive it, so it was not applied.
    #[default]
    No,
    /// The server may have received it; whether it was applied is unknown.
    Maybe,
    /// The server received it and responded.
    Yes,
}

/// The details of a version conflict: the rejected draft and the current diary. `Debug` shows no
/// text.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Conflict {
    /// The draft that was rejected.
    pub ours: Draft,
    /// The common base of `ours` and `current`, if it was set by
    /// [`Save::with_base`](crate::Save::with_base).
    pub base: Option<Draft>,
    /// The version that the save was to replace; `None` if no diary was expected.
    pub expected: Option<Version>,
    /// The current diary; `None` if it was deleted or does not exist.
    pub current: Option<Diary>,
    /// The number of conflicts so far, counted from 1.
    pub attempt: u32,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind) -> Self {
        Self(Box::new(Inner { kind: Some(kind), ..Inner::default() }))
    }

    /// The error for an error response.
    pub(crate) fn from_response(status: u16, code: Option<ErrorCode>) -> Self {
        let kind = match (&code, status) {
            (Some(ErrorCode::DiaryConflict), _) => ErrorKind::Conflict,
            (Some(ErrorCode::WeekIncomplete), _) => ErrorKind::WeekIncomplete,
            (Some(ErrorCode::QuotaExceeded), _) => ErrorKind::QuotaExceeded,
            (
                Some(
                    ErrorCode::Unauthorized | ErrorCode::SessionExpired | ErrorCode::RefreshReused,
                ),
                _,
            ) => ErrorKind::SignedOut,
            (_, 404) => ErrorKind::NotFound,
            (_, 429) => ErrorKind::RateLimited,
            (_, 408 | 502..=504) => ErrorKind::Unavailable,
            (Some(_), _) => ErrorKind::Rejected,
            (None, _) => ErrorKind::InvalidResponse,
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

    pub(crate) fn week_incomplete(missing: Vec<Date>) -> Self {
        let mut error = Self::from_response(422, Some(ErrorCode::WeekIncomplete));
        error.0.missing = missing;
        error
    }

    pub(crate) fn with_exceeded_quota(mut self, exceeded: Option<QuotaExceeded>) -> Self {
        self.0.exceeded_quota = exceeded;
        self
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

    /// A copy without the source, for each caller that awaited the same operation.
    pub(crate) fn to_shared(&self) -> Self {
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

    /// The kind of the failure.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind.unwrap_or(ErrorKind::InvalidResponse)
    }

    /// The error code in the server's response, if it has one.
    pub fn code(&self) -> Option<&ErrorCode> {
        self.0.code.as_ref()
    }

    /// The HTTP status, if the server responded.
    pub fn status_code(&self) -> Option<u16> {
        self.0.status
    }

    /// Whether the diary was changed by another save.
    pub fn is_conflict(&self) -> bool {
        self.kind() == ErrorKind::Conflict
    }

    /// Whether the same call may succeed later. The SDK has already made the retries that its
    /// policy allows.
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// Whether the server received the request.
    pub fn was_sent(&self) -> WasSent {
        self.0.sent
    }

    /// The `x-request-id` of the last attempt, as in the server's log.
    pub fn request_id(&self) -> Option<&str> {
        self.0.request_id.as_deref()
    }

    /// The time to wait before a retry, if the server sent one; at most 24 hours.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The number of attempts of the last request.
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// The details of a conflict: the rejected draft and the current diary.
    pub fn as_conflict(&self) -> Option<&Conflict> {
        self.0.conflict.as_ref()
    }

    /// The days without a diary, if the error is of kind [`ErrorKind::WeekIncomplete`].
    pub fn missing_dates(&self) -> &[Date] {
        &self.0.missing
    }

    /// The quota that the request would exceed, if the error is of kind
    /// [`ErrorKind::QuotaExceeded`].
    pub fn exceeded_quota(&self) -> Option<&QuotaExceeded> {
        self.0.exceeded_quota.as_ref()
    }

    /// The id of the awaited summary; use it to resume waiting.
    pub fn summary_id(&self) -> Option<SummaryId> {
        self.0.summary_id
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind() {
            ErrorKind::Config => "invalid client configuration",
            ErrorKind::Connect => "could not connect to the server",
            ErrorKind::Disconnected => "the connection was closed before the response was complete",
            ErrorKind::Timeout => "timed out",
            ErrorKind::InvalidRequest => "the request could not be serialised",
            ErrorKind::InvalidResponse => "the response is not a valid Shiori response",
            ErrorKind::InvalidExport => "the export is incomplete or cannot be read",
            ErrorKind::SignedOut => "not signed in",
            ErrorKind::Conflict => "version conflict: the diary was changed by another save",
            ErrorKind::NotFound => "not found",
            ErrorKind::WeekIncomplete => "some days of the week have no diary",
            ErrorKind::QuotaExceeded => "the request would exceed a quota of the user",
            ErrorKind::RateLimited => "too many requests",
            ErrorKind::Unavailable => "the server is unavailable",
            ErrorKind::Rejected => "the server rejected the request",
            ErrorKind::TokenStore => "could not load or store the session",
            ErrorKind::ReplicaStore => "the store of the replica failed",
            ErrorKind::ReplicaInUse => "the store of the replica is already open",
            ErrorKind::ReplicaDamaged => "the store of the replica is damaged",
            ErrorKind::ReplicaMismatch => "the replica belongs to another account or server",
            ErrorKind::UnsentChanges => "the replica has changes that the server does not have",
            ErrorKind::NotOnDevice => "the text is not on this device and could not be read",
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
    fn an_error_has_the_size_of_a_pointer() {
        fn is_send_and_sync<T: Send + Sync + 'static>() {}

        assert_eq!(size_of::<Error>(), size_of::<usize>());
        is_send_and_sync::<Error>();
    }

    #[test]
    fn the_kind_follows_from_status_and_code() {
        let kind = |status, name: &str| Error::from_response(status, Some(name.into())).kind();
        assert_eq!(kind(409, "diary_conflict"), ErrorKind::Conflict);
        assert_eq!(kind(409, "summary_final"), ErrorKind::Rejected);
        assert_eq!(kind(401, "session_expired"), ErrorKind::SignedOut);
        assert_eq!(kind(401, "bad_credentials"), ErrorKind::Rejected);
        assert_eq!(kind(429, "too_many_attempts"), ErrorKind::RateLimited);
        assert_eq!(kind(503, "unavailable"), ErrorKind::Unavailable);
        assert_eq!(kind(403, "quota_exceeded"), ErrorKind::QuotaExceeded);
        assert!(!Error::from_response(403, Some(ErrorCode::QuotaExceeded)).is_retryable());
        assert_eq!(kind(418, "from_the_future"), ErrorKind::Rejected);
        assert_eq!(Error::from_response(500, None).kind(), ErrorKind::InvalidResponse);
    }
}
