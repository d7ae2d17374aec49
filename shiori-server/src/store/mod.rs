//! The store traits, one per kind of data, and their implementations.
//!
//! Every method is one complete step of the domain, and atomic. No step spans two stores.

#[doc(hidden)]
pub mod contract;
#[cfg(all(test, feature = "embedded"))]
pub(crate) mod memory;
#[cfg(feature = "distributed")]
pub mod mongodb;
#[cfg(feature = "distributed")]
pub mod mysql;
#[cfg(feature = "distributed")]
pub mod redis;
#[cfg(feature = "embedded")]
pub mod sqlite;

mod account;
#[cfg(feature = "embedded")]
mod attempts;
mod day;
mod diary;
mod engine;
mod page;
#[cfg(feature = "distributed")]
mod redis_mark;
mod revision;
mod session;
#[cfg(any(feature = "embedded", feature = "distributed"))]
mod sql;
mod summary;

pub use account::{Account, AccountStore, AccountTask, AccountWork, CreateOutcome};
pub(crate) use day::one_day;
pub use day::{Day, DayStore, Days, SeparateStores};
pub(crate) use diary::DiaryUsage;
pub use diary::{
    AppliedSave, ArchiveOutcome, DeleteOutcome, DiaryHead, DiaryQuota, DiaryRecord, DiaryStore,
    ManyDiaries, NewVersion, SaveOutcome,
};
pub(crate) use engine::Engine;
pub use page::{
    DiaryPlace, PAGE_BYTES, PAGE_DIARIES, PAGE_RESULTS, Page, ResultPlace, StoredResult,
};
pub use revision::{HistoryPolicy, RevisionHead, RevisionRecord, RevisionStore};
pub(crate) use revision::{TextSource, keeps};
pub use session::{
    Attempts, RepeatPolicy, RotateOutcome, Session, SessionKey, SessionStore, ThrottlePolicy,
};
pub use summary::{
    CompletedSummary, DueJobs, DueKind, InsertOutcome, QueuedRow, ResultRecord, RowId,
    SummaryQuota, SummaryStore, Unfinished, WeekStatus,
};

/// A step failed. Unless stated otherwise, it may have been applied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The engine is unavailable or timed out; retryable.
    #[error("the store is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Too many steps are waiting; this one was not executed. Retryable.
    #[error("too many steps are waiting for the store")]
    Overloaded,
    /// The engine returned data that this version cannot read.
    #[error("the store contains {what} that cannot be read")]
    Corrupt {
        /// The kind of data, never its content.
        what: &'static str,
    },
}
