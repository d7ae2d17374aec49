//! The wire types: what client, server and worker say to each other.
//!
//! They need no HTTP client and no runtime; with `default-features = false` they are all there
//! is of this crate.

mod account;
mod date;
mod diary;
mod document;
mod emotion;
mod envelope;
mod id;
mod summary;
mod timestamp;

pub use account::{
    AccessToken, Credentials, NewAccount, Password, RefreshRequest, SessionInfo, SignedUp,
    VerifyRequest,
};
pub use date::{Date, DateRange, InvalidDate, InvalidRange, Week};
pub use diary::{
    ArchiveRequest, ConflictBody, DayView, Diary, DiaryEntry, DiarySummaryStatus, Draft,
    MAX_TITLE_CHARS, REMEMBERED_SAVES, SaveReceipt, SaveRequest, Title, Version,
};
pub use document::{Document, DocumentError, DocumentLimits};
pub use emotion::{DayEmotion, Distribution, Emotion, UnknownEmotion};
pub use envelope::{Envelope, ErrorCode};
pub use id::{DiaryId, InvalidId, SaveId, SessionId, SummaryId, UserId};
pub use summary::{
    FailureKind, MissingDates, Progress, ProgressPhase, Reflection, Revision, Summary,
    SummaryFailure, SummaryReceipt, SummaryRequest, SummaryStatus,
};
pub use timestamp::{InvalidTimestamp, Timestamp};
