//! The store traits, cut by who owns the data, and their implementations.
//!
//! Every method is one whole step of the domain, and every step is atomic: it happened or it did
//! not. No step spans two stores.

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
mod diary;
mod session;
mod sql;
mod summary;

pub use account::{Account, AccountStore, CreateOutcome};
pub use diary::{
    ArchiveOutcome, DeleteOutcome, DiaryHead, DiaryRecord, DiaryStore, Save, SaveOutcome, Stored,
};
pub use session::{LoginAttempt, RotateOutcome, Session, SessionStore, ThrottlePolicy};
pub use summary::{
    CompletedSummary, DueKind, InsertOutcome, ResultRecord, SummaryStore, WeekStatus,
};

/// A store could not do its step. Nothing of it happened, or the caller cannot know.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The engine does not answer, or not in time; another try may succeed.
    #[error("the store does not answer")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The engine answered with something that this version cannot have written.
    #[error("the store holds {what} that cannot be read")]
    Corrupt {
        /// What cannot be read; never its content.
        what: &'static str,
    },
}
