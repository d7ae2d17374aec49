//! The queue of hints from servers to workers.

#[doc(hidden)]
pub mod contract;
mod in_process;
#[cfg(feature = "redis")]
mod redis;

use async_trait::async_trait;
use shiori_sdk::{SummaryId, Timestamp};

pub use in_process::InProcessQueue;
#[cfg(feature = "redis")]
pub use redis::RedisQueue;

/// The name of the queue that servers and workers share in Redis.
pub const QUEUE_NAME: &str = "queue";

/// Carries hints that a summary waits for a worker. A hint is the summary's id and nothing else:
/// the diaries' texts, the attempt and the trace are had by claiming the summary.
///
/// A queue holds no truth. A hint may be lost, for the server's dispatcher offers it again; and it
/// may be delivered twice, for the second claim is refused.
#[async_trait]
pub trait JobQueue: Send + Sync + std::fmt::Debug {
    /// Puts a hint in, to be taken when it is `due`. A hint for the same summary that waits
    /// already stays as it is, so repeating an offer is harmless.
    ///
    /// # Errors
    ///
    /// [`QueueError`] when the queue cannot be reached or is full. The dispatcher will offer the
    /// hint again.
    async fn offer(&self, id: SummaryId, due: Timestamp) -> Result<(), QueueError>;

    /// Waits for a hint that is due, and takes it out. Dropping the future before it ends loses
    /// no more than one hint.
    ///
    /// # Errors
    ///
    /// [`QueueError`] when the queue cannot be reached; call again after a pause.
    async fn take(&self) -> Result<SummaryId, QueueError>;

    /// How many hints wait.
    ///
    /// # Errors
    ///
    /// [`QueueError`] when the queue cannot be reached.
    async fn depth(&self) -> Result<usize, QueueError>;
}

/// The queue did not take or give a hint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// As many hints wait as the queue holds.
    #[error("the queue is full")]
    Full,
    /// The queue cannot be reached.
    #[error("the queue cannot be reached")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}
