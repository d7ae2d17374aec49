//! The store traits, one per kind of data, and their implementations.
//!
//! Every method is one complete step of the domain, and atomic. No step spans two stores.

#[doc(hidden)]
pub mod contract;
#[cfg(feature = "distributed")]
pub mod mongodb;
#[cfg(feature = "distributed")]
pub mod mysql;
#[cfg(feature = "distributed")]
pub mod redis;
#[cfg(feature = "embedded")]
pub mod sqlite;

mod account;
mod day;
mod diary;
mod session;
#[cfg(any(feature = "embedded", feature = "distributed"))]
mod sql;
mod summary;

pub use account::{Account, AccountStore, CreateOutcome};
pub(crate) use day::one_day;
pub use day::{Day, DayStore, Days, SeparateStores};
pub use diary::{
    AppliedSave, ArchiveOutcome, DeleteOutcome, DiaryHead, DiaryRecord, DiaryStore, NewVersion,
    SaveOutcome,
};
pub use session::{LoginAttempt, RotateOutcome, Session, SessionKey, SessionStore, ThrottlePolicy};
pub use summary::{
    CompletedSummary, DueJobs, DueKind, InsertOutcome, ResultRecord, RowId, SummaryStore,
    WeekStatus,
};

/// A step failed. It was not applied, or the caller cannot know.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The engine does not answer in time; retryable.
    #[error("the store does not answer")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Too many steps wait; nothing of this one happened. Retryable.
    #[error("too many steps wait for the store")]
    Overloaded,
    /// The engine returned data that this version cannot have written.
    #[error("the store holds {what} that cannot be read")]
    Corrupt {
        /// What cannot be read; never its content.
        what: &'static str,
    },
}
