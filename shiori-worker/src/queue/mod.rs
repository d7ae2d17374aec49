//! The queue of hints from servers to workers.

#[cfg(test)]
mod contract;
mod in_process;
#[cfg(feature = "redis")]
mod redis;

use std::time::Duration;

use async_trait::async_trait;
use shiori_sdk::{SummaryId, Timestamp};
use uuid::Uuid;

pub use in_process::InProcessQueue;
#[cfg(feature = "redis")]
pub use redis::RedisQueue;

/// The name of the queue that servers and workers share in Redis.
pub const QUEUE_NAME: &str = "queue";

/// The maximum number of hints in one step, so that a step takes a few milliseconds.
pub const MAX_BATCH: usize = 1000;

/// A queue of hints that a summary is ready to be claimed. A hint is only the id of the summary; the
/// claim returns everything else.
///
/// The queue is not authoritative. A lost hint is offered again by a server's dispatcher, and a
/// duplicate is harmless, because the second claim is rejected.
///
/// Workers offer and take hints. The other methods are for the dispatchers, which compare the queue
/// with the rows of the summaries. One dispatcher at a time has the lease of this check.
#[async_trait]
pub trait JobQueue: Send + Sync + std::fmt::Debug {
    /// Adds a hint that can be taken when it is `due`, by the queue's clock. Idempotent: if the
    /// queue already has a hint for the summary, nothing changes.
    ///
    /// # Errors
    ///
    /// [`QueueError`] if the queue is unavailable or full. The dispatcher offers the hint again.
    async fn offer(&self, id: SummaryId, due: Timestamp) -> Result<(), QueueError>;

    /// Offers many hints in one step; each as [`offer`](Self::offer) does. At most
    /// [`MAX_BATCH`] hints.
    ///
    /// # Errors
    ///
    /// [`QueueError`] if the queue is unavailable or became full; some hints may have been added.
    async fn offer_all(&self, hints: &[(SummaryId, Timestamp)]) -> Result<(), QueueError>;

    /// Those of the summaries that have no hint in the queue, in their order. At most [`MAX_BATCH`]
    /// summaries.
    ///
    /// # Errors
    ///
    /// [`QueueError`] if the queue is unavailable.
    async fn missing(&self, ids: &[SummaryId]) -> Result<Vec<SummaryId>, QueueError>;

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

    /// How far the queue's clock is ahead of the system clock of this machine, in seconds, if this
    /// queue measures it. Default `None`.
    fn clock_offset_seconds(&self) -> Option<f64> {
        None
    }

    /// The number of hints in the queue, due or not.
    ///
    /// # Errors
    ///
    /// [`QueueError`] if the queue is unavailable.
    async fn depth(&self) -> Result<usize, QueueError>;

    /// Acquires the lease of the check for this holder, or extends it. The lease expires after
    /// `duration`, and is lost together with the hints, so that a new lease also means that all
    /// hints may have been lost.
    ///
    /// # Errors
    ///
    /// [`QueueError`] if the queue is unavailable.
    async fn lease_check(&self, holder: Uuid, duration: Duration)
    -> Result<CheckLease, QueueError>;

    /// Releases the lease of the check, if this holder has it.
    ///
    /// # Errors
    ///
    /// [`QueueError`] if the queue is unavailable. The lease expires.
    async fn release_check(&self, holder: Uuid) -> Result<(), QueueError>;
}

/// Who has the lease of the check after [`JobQueue::lease_check`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckLease {
    /// The caller, who did not have it before: nobody had it, it had expired, or the queue has lost
    /// its data.
    Acquired,
    /// The caller, who extended it. The queue has not lost its data in between.
    Extended,
    /// Another holder.
    Taken,
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
