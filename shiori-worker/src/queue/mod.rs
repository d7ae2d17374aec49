//! The queue of hints from servers to workers.

#[cfg(test)]
mod contract;
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

/// A queue of hints that a summary is ready to be claimed. A hint is only the id of the summary; the
/// claim returns everything else.
///
/// The queue is not authoritative. A lost hint is offered again by the server's dispatcher, and a
/// duplicate is harmless, because the second claim is rejected.
#[async_trait]
pub trait JobQueue: Send + Sync + std::fmt::Debug {
    /// Adds a hint that can be taken when it is `due`, by the queue's clock. Idempotent: if the
    /// queue already has a hint for the summary, nothing changes.
    ///
    /// # Errors
    ///
    /// [`QueueError`] if the queue is unavailable or full. The dispatcher offers the hint again.
    async fn offer(&self, id: SummaryId, due: Timestamp) -> Result<(), QueueError>;

    /// Waits for a hint that is due and removes it. Cancelling the future loses at most one hint.
    ///
    /// # Errors
    ///
    /// [`QueueError`] if the queue is unavailable; retry after a pause.
    async fn take(&self) -> Result<SummaryId, QueueError>;

    /// The current time of the queue's clock, which due times refer to. Default: the system clock.
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    /// The number of hints in the queue, due or not.
    ///
    /// # Errors
    ///
    /// [`QueueError`] if the queue is unavailable.
    async fn depth(&self) -> Result<usize, QueueError>;
}

/// An operation of the queue failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// The queue has reached its capacity.
    #[error("the queue is full")]
    Full,
    /// The queue is unavailable.
    #[error("the queue is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}
